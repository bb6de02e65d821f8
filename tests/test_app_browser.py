"""The page of `translate app` as people use it: a real server process, and a real Chromium that draws and presses."""

import base64
import io
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT
from PIL import Image
from skimage import data as skimage_data
from test_app import FACE, ct_slices, sketch_model

from translate.data.images import from_array, read_picture, write_picture

CHROMIUM = shutil.which("chromium")
if CHROMIUM is None and not os.environ.get("CI"):
    pytest.skip("chromium is not installed", allow_module_level=True)

playwright = pytest.importorskip("playwright.sync_api") if not os.environ.get("CI") else None
if playwright is None:
    from playwright import sync_api as playwright

WAIT = 120_000  # milliseconds; nothing takes that long, on a busy machine it may
MAX_PIXELS = 200_000


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a page with a model of each kind. When it ends, nothing that was uploaded is left."""
    folder = tmp_path_factory.mktemp("app")
    sketch_model(folder / "runs" / "sketcher" / "model")
    (folder / "temporary").mkdir()
    models = [str(folder / "runs"), "super-resolution-x2", "ct-denoising"]
    command = [sys.executable, "-m", "translate", "app", *models, "--port", "0", "--max-pixels", str(MAX_PIXELS)]
    environment = {**os.environ, "TMPDIR": str(folder / "temporary")}
    with (folder / "log").open("w+") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
        try:
            yield _url(server, folder / "log")
        finally:
            server.send_signal(signal.SIGTERM)
            code = server.wait(60)
        assert code == 0, (folder / "log").read_text()
        assert "Traceback" not in (folder / "log").read_text()
        assert not list((folder / "temporary").glob("translate-app-*"))


def _url(server: subprocess.Popen, log: Path) -> str:
    until = time.monotonic() + 120
    while time.monotonic() < until and server.poll() is None:
        if found := re.search(r"http://\S+/", log.read_text()):
            return found[0]
        time.sleep(0.2)
    raise AssertionError(f"the server did not start: {log.read_text()}")


@pytest.fixture(scope="module")
def browser() -> Iterator[playwright.Browser]:
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


@pytest.fixture
def open_page(site: str, browser: playwright.Browser) -> Iterator:
    """Open the page with a model of the list; no request may go to another server, and no script may fail."""
    contexts, asked, failed = [], [], []

    def open_model(model: str, width: int = 1200) -> playwright.Page:
        context = browser.new_context(viewport={"width": width, "height": 900})
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(WAIT)
        page.on("request", lambda request: asked.append(request.url))
        page.on("pageerror", lambda error: failed.append(str(error)))
        page.goto(site)
        page.locator("#pad canvas").wait_for()  # the first model's
        if model != "sketcher":
            page.locator("#model input").click()
            page.get_by_role("option", name=model, exact=True).click()
            page.locator("#pad canvas").wait_for(state="hidden")
        return page

    yield open_model
    for context in contexts:
        context.close()
    assert len(asked) > 5
    assert [url for url in asked if not url.startswith((site, "data:", "blob:"))] == []
    assert failed == []


def draw(page: playwright.Page, *points: tuple[float, float]) -> None:
    """One line, in parts of the pad's sides."""
    pad = page.locator("#pad canvas").bounding_box()
    places = [(pad["x"] + x * pad["width"], pad["y"] + y * pad["height"]) for x, y in points]
    page.mouse.move(*places[0])
    page.mouse.down()
    for x, y in places[1:]:
        page.mouse.move(x, y, steps=4)
    page.mouse.up()


def new_picture(page: playwright.Page, area: str, known: str = "") -> tuple[str, np.ndarray]:
    """The address and the pixels of the picture in an area, when there is one that is not known yet."""
    page.wait_for_function(
        "([area, known]) => { const image = document.querySelector(area + ' img');"
        " return image && image.src && image.src != known && image.naturalWidth }",
        arg=[area, known],
    )
    source = page.locator(f"{area} img").first.get_attribute("src")
    assert source is not None
    inline = source.startswith("data:")
    content = base64.b64decode(source.partition(",")[2]) if inline else page.request.get(source).body()
    return source, np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))


def message(page: playwright.Page) -> str:
    """What an error says, which is closed then."""
    toast = page.locator(".toast-body").first
    toast.wait_for()
    text = toast.inner_text()
    toast.locator(".toast-close").click()
    toast.wait_for(state="detached")
    return text


def downloaded(page: playwright.Page, button: str) -> Path:
    with page.expect_download() as waiting:
        page.locator(button).click()
    return Path(waiting.value.path())


def test_a_drawing_becomes_a_picture_and_another_drawing_another_picture(open_page):
    page = open_page("sketcher")
    page.locator("#draw-go").click()
    assert "Nothing has been drawn yet" in message(page)
    draw(page, (0.2, 0.3), (0.5, 0.1), (0.8, 0.3), (0.5, 0.9), (0.2, 0.3))
    page.locator("#draw-go").click()
    source, first = new_picture(page, "#results")
    assert first.shape == (128, 128, 3)
    draw(page, (0.3, 0.5), (0.7, 0.5))
    page.locator("#draw-go").click()
    source, second = new_picture(page, "#results", source)
    change = np.abs(first.astype(int) - second).mean(axis=(1, 2))  # by row
    assert change[60:68].mean() > 3 * np.delete(change, slice(56, 72)).mean()  # where the second line was drawn
    page.locator("#pad .undo").click()
    page.locator("#draw-go").click()
    _, third = new_picture(page, "#results", source)
    np.testing.assert_array_equal(third, first)
    np.testing.assert_array_equal(np.asarray(Image.open(downloaded(page, "#drawing-download"))), first)
    page.locator("#pad .clear").click()
    page.locator("#draw-go").click()
    assert "Nothing has been drawn yet" in message(page)


def test_a_drawing_on_paper_is_cleaned_and_the_page_says_how(open_page, tmp_path):
    drawing = read_picture(sorted((ROOT / "pipelines" / "pictures" / "sketch").iterdir())[3])
    write_picture(from_array((drawing.pixels * 0.7).astype(np.uint8)), tmp_path / "paper.png")
    page = open_page("sketcher")
    page.get_by_role("tab", name="Upload").click()
    page.locator("#drawing-upload input[type=file]").set_input_files(tmp_path / "paper.png")
    page.locator("#upload-go").click()
    new_picture(page, "#results")
    assert page.locator("#steps li").count() >= 1
    assert page.get_by_text("What the model saw").is_visible()


def test_a_broken_picture_gets_a_message_and_a_good_one_after_it_is_made_twice_as_wide(open_page, tmp_path):
    deep = skimage_data.camera()[100:160, 200:280].astype(np.uint16) * 257
    write_picture(from_array(deep), tmp_path / "deep.png")
    (tmp_path / "broken.png").write_bytes((tmp_path / "deep.png").read_bytes()[:2000])
    page = open_page("super-resolution-x2")
    upload = page.locator("#picture-upload input[type=file]")
    upload.set_input_files(tmp_path / "broken.png")
    text = message(page)
    assert "Cannot read broken.png: it is truncated or damaged" in text
    assert "/" not in text
    page.locator("#picture-go").click()
    assert "Cannot read broken.png" in message(page)
    page.get_by_label("Clear").first.click()
    upload.set_input_files(tmp_path / "deep.png")
    page.locator("#picture-go").click()
    _, shown = new_picture(page, "#picture-slider")
    assert shown.shape == (120, 160, 3)
    assert "80 x 60 → 160 x 120 pixels, 16 bits, grey, PNG" in page.locator("#picture-summary").inner_text()
    made = read_picture(downloaded(page, "#picture-download"))
    assert (made.pixels.shape, made.pixels.dtype) == ((120, 160, 1), np.uint16)


def test_a_picture_with_too_many_pixels_is_refused(open_page, tmp_path):
    write_picture(from_array(np.zeros((500, 500, 3), np.uint8)), tmp_path / "large.png")
    page = open_page("super-resolution-x2")
    page.locator("#picture-upload input[type=file]").set_input_files(tmp_path / "large.png")
    assert "Large.png has 500 x 500 pixels, 0.2 megapixels, and this page takes up to 0.2" in message(page)


def test_a_series_can_be_leafed_through_windowed_and_downloaded(open_page, tmp_path):
    page = open_page("ct-denoising")
    assert "Research only" in page.locator("#notice").inner_text()
    page.locator("#scan-upload input[type=file]").set_input_files(sorted(ct_slices(tmp_path / "ct").iterdir()))
    page.locator("#scan-upload [aria-label='1.dcm']").wait_for()
    page.locator("#scan-go").click()
    known, second = new_picture(page, "#scan-slices")
    assert page.locator("#scan-slices img").count() == 3
    number = page.locator("#scan-slice input[type=number]")
    assert number.input_value() == "2"
    page.locator("#scan-slice input[type=range]").press("ArrowLeft")
    known, first = new_picture(page, "#scan-slices", known)
    assert (first != second).any()
    page.get_by_label("brain").click()
    _, narrow = new_picture(page, "#scan-slices", known)
    assert page.locator("#scan-centre input").input_value() == "40"
    assert page.locator("#scan-width input").input_value() == "80"
    extreme = [np.isin(picture, (0, 255)).mean() for picture in (first, narrow)]
    assert extreme[1] > extreme[0]  # a narrow window has more black and white
    assert "Zanzibar" not in page.content()
    with zipfile.ZipFile(downloaded(page, "#scan-download")) as packed:
        assert sum("/denoised/" in name for name in packed.namelist()) == 2


def test_a_file_that_is_no_scan_gets_a_message(open_page, tmp_path):
    (tmp_path / "notes.dcm").write_text("not DICOM")
    page = open_page("ct-denoising")
    page.locator("#scan-go").click()
    assert "No scan has been given yet" in message(page)
    page.locator("#scan-upload input[type=file]").set_input_files(tmp_path / "notes.dcm")
    page.locator("#scan-upload [aria-label='notes.dcm']").wait_for()
    page.locator("#scan-go").click()
    text = message(page)
    assert "is no DICOM file" in text
    assert "/" not in text


def test_the_page_fits_a_phone(open_page):
    page = open_page("sketcher", width=390)
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    pad = page.locator("#pad canvas").bounding_box()
    assert 250 < pad["width"] < 390
    assert pad["x"] + pad["width"] <= 390


@pytest.mark.parametrize("path", ["/etc/passwd", str(ROOT / "README.md"), "..%2f..%2fetc%2fpasswd"])
def test_files_of_the_server_are_not_served(site, browser, path):
    answer = browser.new_context().request.get(f"{site}gradio_api/file={path}")
    assert answer.status in (400, 403, 404)


def test_ten_at_once_all_get_their_own_result(site):
    from gradio_client import Client

    clients = [Client(site, verbose=False) for _ in range(10)]

    def translate(index: int) -> np.ndarray:
        lines = [[[x + index, y] for x, y in line] for line in FACE]
        gallery = clients[index].predict("sketcher", {"lines": lines}, 1, 0, api_name="/strokes")[0]
        return np.asarray(Image.open(gallery[0]["image"]).convert("RGB"))

    with ThreadPoolExecutor(10) as pool:
        results = list(pool.map(translate, range(10)))
    assert len({result.tobytes() for result in results}) == 10
