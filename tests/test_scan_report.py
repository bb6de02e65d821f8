"""The evidence of a processed scan: strict JSON, and a page that is whole, harmless, complete and opens offline."""

import base64
import io
import json
import math
import os
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import cv2
import data_store
import numpy as np
import pydicom
import pytest
from PIL import Image

from translate.data.scans import ScanHeader
from translate.pipelines.page import footer, heading, table
from translate.pipelines.scan_entries import Entries, describe
from translate.pipelines.scan_pictures import (
    SliceView,
    Window,
    change_png,
    choose_limits,
    detail,
    grey_png,
    uncertainty_png,
    whole,
)
from translate.pipelines.scan_report import choose_views, write_evidence_page, write_json
from translate.scan_evidence import DEFINITIONS, Evidence

CHROMIUM = shutil.which("chromium")
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update", "--window-size=400,800", "--dump-dom"),
)
VOID = {"meta", "img", "br"}


class Page(HTMLParser):
    """What a page holds, and whether its tags are balanced."""

    def __init__(self, path):
        super().__init__()
        self.open, self.tags, self.words = [], [], []
        self.feed(path.read_text(encoding="utf-8"))
        assert not self.open

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.words.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())

    def all(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


def header(name="head", units="HU", shape=(9, 128, 128), **more):
    return ScanHeader(name, "CT", units, shape, shape[0], (5.0, 0.5, 0.5), 5.0, "H30s", **more)


@pytest.fixture(scope="module")
def source():
    """A slice through a real head, 128 x 128 of its pixels."""
    dataset = pydicom.dcmread(Path(data_store.__file__).parent / "data" / "693_UNCR.dcm")
    values = dataset.pixel_array * float(dataset.RescaleSlope) + float(dataset.RescaleIntercept)
    return values[60:188, 180:308].astype(np.float32)


@pytest.fixture(scope="module")
def view(source):
    output = cv2.GaussianBlur(source, (0, 0), 1.0)
    return SliceView(4, source, output, np.abs(output - source) / 2)


@pytest.fixture(scope="module")
def evidence(view):
    measured = Evidence("HU", (0.5, 0.5))
    measured.add(3, view.source, view.source)
    measured.add(4, view.source, view.output)
    return {
        "tool": "translate",
        "version": "1.2.3",
        "model": {"name": "ct_denoiser", "fingerprint": "5eed" * 16},
        "contract": {"modality": "CT", "neighbours": 1, "kernels": None},
        "settings": {"precision": "float32"},
        "input": {"name": "head", "sha256": "c0de" * 16},
        "clipped": 3,
        "warnings": ["the kernel is another one"],
        "seconds": 12.34,
        **measured.result(),
    }


@pytest.fixture(scope="module")
def made(tmp_path_factory, evidence, view):
    return write_evidence_page(tmp_path_factory.mktemp("page"), evidence, [view], header())


# JSON


def test_json_holds_null_where_a_number_is_not_finite(tmp_path):
    write_json(tmp_path / "e.json", {"a": math.nan, "b": [math.inf, 1.5], "c": {"d": np.float32(-math.inf), "e": 2}})
    text = (tmp_path / "e.json").read_text()
    assert json.loads(text) == {"a": None, "b": [None, 1.5], "c": {"d": None, "e": 2}}
    assert "NaN" not in text
    assert "Infinity" not in text


def test_json_takes_arrays_tuples_and_paths_and_keeps_the_order(tmp_path):
    write_json(tmp_path / "e.json", {"z": np.array([1, 2]), "a": (True, None), "m": Path("x"), "n": np.int16(3)})
    text = (tmp_path / "e.json").read_text()
    assert json.loads(text) == {"z": [1, 2], "a": [True, None], "m": "x", "n": 3}
    assert text.index('"z"') < text.index('"a"') < text.index('"m"')


def test_a_name_that_is_not_unicode_can_be_written(tmp_path, view):
    name = "ct-\udcff"  # what Python makes of the byte 0xff in a file name
    write_json(tmp_path / "e.json", {"name": name})
    assert json.loads((tmp_path / "e.json").read_text()) == {"name": name}
    assert write_evidence_page(tmp_path, {}, [view], header(name)).is_file()


def test_an_error_leaves_the_old_file_and_nothing_aside(tmp_path, evidence, view, monkeypatch):
    page = write_evidence_page(tmp_path, evidence, [view], header())
    write_json(tmp_path / "evidence.json", evidence)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupted)
    for write in (
        lambda: write_json(tmp_path / "evidence.json", {"other": 1}),
        lambda: write_evidence_page(tmp_path, {}, [view], header("other")),
    ):
        with pytest.raises(KeyboardInterrupt):
            write()
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    assert page.name in before


# the page


def test_the_page_says_first_that_it_is_for_research(made):
    text = Page(made).text
    body = text.index("Research only: AI-processed, not for diagnosis")
    assert body < text.index("What was done")
    assert made.name == "evidence.html"


def test_the_page_shows_who_did_what_with_what(made):
    text = Page(made).text
    for words in ("ct_denoiser", "5eed" * 16, "1.2.3", "c0de" * 16, "float32", "9 x 128 x 128", "H30s", "12.3"):
        assert words in text
    assert "the kernel is another one" in text
    assert "neighbours 1" in text
    assert "kernels" not in text


def test_measures_have_units_a_meaning_and_a_reference(made, evidence):
    text = Page(made).text
    residual = evidence["residual"]
    assert f"Standard deviation of the residual {residual['sd']:.2f} HU" in text or residual["sd"] >= 10
    assert f"Structure in the residual {describe(evidence['structure'])}" in text
    assert "Gaussian filter 0.69 to 0.86" in text
    largest = residual["largest"]
    place = f"slice 5, row {largest['row'] + 1}, column {largest['column'] + 1}"
    assert f"Largest change {describe(largest['value'], 'HU', sign=True)} The voxel that changed most: {place}." in text
    assert f"Mean noise frequency of the input {describe(evidence['noise']['mean_frequency_before'], 'per mm')}" in text
    assert f"Voxels changed {100 * residual['changed']:.1f} % " in text
    assert "Clipped voxels 3 New values" in text
    bias = evidence["bands"]["soft tissue"]["bias"]
    assert f"soft tissue -30 to 200 {evidence['bands']['soft tissue']['pixels']:,} {bias:+.2f}" in text
    assert "bone 200 and more" in text
    assert "air below -900" in text


def test_everything_that_was_measured_is_on_the_page(made):
    assert "Further entries" not in Page(made).text


def test_entries_that_nobody_knows_are_shown_as_they_are(tmp_path, evidence, view):
    more = {"residual": {**evidence["residual"], "kurtosis": 3.25}, "uncertainty_summary": {"mean": 0.5, "flips": True}}
    more |= {"list": list(range(20)), "steps": [{"a": 1}, {"a": 2}], "nothing": None}
    text = Page(write_evidence_page(tmp_path, evidence | more, [view], header())).text
    assert "Further entries" in text
    assert "residual, kurtosis 3.25" in text
    assert "uncertainty summary, mean 0.500" in text
    assert "uncertainty summary, flips yes" in text
    assert "list 0, 1, 2, 3, 4, 5, 6, 7 ... (20 values)" in text
    assert "steps 1, a 1" in text
    assert "steps 2, a 2" in text
    assert "nothing not known" in text


def test_a_page_without_evidence_or_slices_is_still_a_page(tmp_path):
    page = Page(write_evidence_page(tmp_path, {}, [], header()))
    assert "Research only" in page.text
    assert "head" in page.text
    assert not page.all("img")
    assert "Measures" not in page.text
    assert "Slice 5" not in page.text


def test_the_page_says_how_it_was_measured(made, tmp_path):
    text = Page(made).text
    assert all(words in text for words in DEFINITIONS.values())
    text = Page(write_evidence_page(tmp_path, {"structure": 0.5}, [], header())).text
    assert DEFINITIONS["structure"] in text
    assert DEFINITIONS["noise"] not in text


def test_what_could_not_be_measured_says_so(tmp_path, view):
    evidence = {"structure": None, "noise": {"patches": 0, "sd_before": None, "frequency": None}, "bands": {}}
    text = Page(write_evidence_page(tmp_path, evidence, [view], header())).text
    assert "Structure in the residual not measured" in text
    assert "Noise of the input not measured" in text


def test_a_scan_whose_name_is_html_is_harmless(tmp_path, evidence, view):
    name = "<script>alert(1)</script>\"' onload=x&amp; $x^$"
    hostile = evidence | {
        "warnings": [name],
        name: {name: name},
        "input": {"file": name},
        "bands": {name: {"bias": 1.0}},
    }
    page = Page(write_evidence_page(tmp_path, hostile, [view], header(name, units=name)))
    assert not page.all("script")
    assert page.text.count("<script>alert(1)</script>") >= 4
    assert not any(key.startswith("on") for _, attributes in page.tags for key in attributes)
    assert page.text.count(name) >= 4  # and is read as it is


def test_headings_and_tables_take_text_and_no_html():
    for made in (heading(2, "<i>", "<i>"), table("<i>", "<i>", ["<i>"] * 3, [["<i>"] * 3]), footer("<i>")):
        assert "<i>" not in made
        assert "&lt;i&gt;" in made


def test_nothing_is_loaded_from_elsewhere(made):
    page = Page(made)
    assert not {tag for tag, _ in page.tags} & {"script", "link", "iframe", "object", "form", "base"}
    assert all(image["src"].startswith("data:image/png;base64,") for image in page.all("img"))
    assert all(link["href"].startswith("#") for link in page.all("a"))
    assert "url(" not in made.read_text()
    assert "@import" not in made.read_text()
    assert "://" not in made.read_text()
    policy = next(meta["content"] for meta in page.all("meta") if meta.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'; img-src data:;")


def test_links_lead_to_places_and_names_are_unique(tmp_path, evidence, view):
    views = [view, SliceView(7, view.source, view.output)]
    page = Page(write_evidence_page(tmp_path, evidence, views, header()))
    names = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(names) == len(set(names))
    assert {link["href"] for link in page.all("a")} <= {f"#{name}" for name in names}


def test_the_page_can_be_heard(made):
    page = Page(made)
    assert page.all("html") == [{"lang": "en"}]
    assert page.all("main")
    assert any(meta.get("name") == "viewport" for meta in page.all("meta"))
    assert all(len(image["alt"]) > 15 for image in page.all("img"))
    assert len({image["alt"] for image in page.all("img")}) == len(page.all("img"))
    assert len(page.all("caption")) == len(page.all("table"))
    assert {cell["scope"] for cell in page.all("th")} == {"row", "col"}


def test_the_patient_is_nowhere(tmp_path, evidence, view):
    known = header(patient="Doe^Jane 4711")
    write_evidence_page(tmp_path, evidence, [view], known)
    write_json(tmp_path / "evidence.json", evidence)
    assert all(b"Doe" not in path.read_bytes() and b"4711" not in path.read_bytes() for path in tmp_path.iterdir())


def test_the_same_evidence_makes_the_same_page(tmp_path, made, evidence, view):
    again = tmp_path / "again"
    again.mkdir()
    assert write_evidence_page(again, evidence, [view], header()).read_bytes() == made.read_bytes()


# pictures


def images_of(page):
    """Every picture by its alternative text."""
    data = {image["alt"]: image["src"].partition(",")[2] for image in Page(page).all("img")}
    return {alt: Image.open(io.BytesIO(base64.b64decode(text))) for alt, text in data.items()}


def one(images, *words):
    found = [image for alt, image in images.items() if all(word in alt for word in words)]
    assert len(found) == 1, words
    return found[0]


def test_a_slice_is_shown_in_two_windows_with_residual_and_uncertainty(made, view):
    images = images_of(made)
    for window in ("soft tissue, C 40 W 400 (-160 to 240 HU)", "bone, C 400 W 1800 (-500 to 1300 HU)"):
        shown = [image for alt, image in images.items() if window in alt and "detail" not in alt]
        assert [image.size for image in shown] == [(128, 128), (128, 128)]
    soft = np.asarray(one(images, "Slice 5 of 9: input, soft tissue, C 40 W 400 (-160 to 240 HU)"))
    np.testing.assert_array_equal(soft, ((view.source.clip(-160, 240) + 160) / 400 * 255).round().astype(np.uint8))
    output = np.asarray(one(images, "Slice 5 of 9: output, soft tissue, C 40 W 400 (-160 to 240 HU)"))
    np.testing.assert_array_equal(output, ((view.output.clip(-160, 240) + 160) / 400 * 255).round().astype(np.uint8))
    assert one(images, "signed residual").size == (128, 128)
    assert one(images, "uncertainty of the output").size == (128, 128)
    assert one(images, "Noise power")
    assert one(images, "Residual of each of 2 slices: its mean is between ")
    assert one(images, "Mean change of each band")


def test_other_units_are_shown_between_percentiles_of_the_input():
    values = np.arange(10000, dtype=np.float32).reshape(100, 100)
    (window,) = choose_limits([SliceView(0, values, values)], "stored").windows
    assert window == Window("percentiles 1 to 99.5 of the input", pytest.approx(99.99), pytest.approx(9949, abs=0.1))


def test_a_chest_is_shown_in_the_lung_window():
    chest = np.full((64, 64), 40.0, np.float32)
    chest[16:48, 8:56] = -800
    assert [window.name for window in choose_limits([SliceView(0, chest, chest)], "HU").windows] == [
        "soft tissue, C 40 W 400",
        "lung, C -600 W 1500",
    ]


def test_grey_goes_from_black_to_white_through_its_window():
    shown = Image.open(io.BytesIO(grey_png(np.array([[-500.0, 0.0, 51.0, 255.0, 900.0]]), Window("", 0, 255))))
    assert np.asarray(shown).tolist() == [[0, 0, 51, 255, 255]]


def test_residuals_are_red_where_the_output_is_brighter_and_white_where_it_is_the_same():
    shown = Image.open(io.BytesIO(change_png(np.array([[-20.0, -10.0, 0.0, 10.0, 20.0]]), 10.0))).convert("RGB")
    below, low, same, high, above = np.asarray(shown)[0].astype(int)
    assert low[2] > low[0] + 50
    assert high[0] > high[2] + 50
    assert same.min() > 240
    assert np.ptp(same) <= 2
    assert below.tolist() == low.tolist()
    assert above.tolist() == high.tolist()


def test_uncertainty_is_the_brighter_the_larger_it_is():
    shown = Image.open(io.BytesIO(uncertainty_png(np.array([[0.0, 1.0, 2.0, 4.0, 9.0]]), 4.0))).convert("L")
    levels = np.asarray(shown)[0].astype(int).tolist()
    assert levels == sorted(levels)
    assert levels[0] < levels[1] < levels[2] < levels[3] == levels[4]


def test_all_slices_share_the_limits_of_their_colours():
    flat = np.zeros((50, 50), np.float32)
    weak, strong = SliceView(0, flat, flat + 1, flat + 0.2), SliceView(1, flat, flat - 14, flat + 4)
    limits = choose_limits([weak, strong], "HU")
    assert (limits.change, limits.uncertainty) == (15.0, 5.0)
    assert choose_limits([SliceView(0, flat, flat)], "HU").change == 1.0  # nothing changed


def test_a_large_slice_is_averaged_and_its_detail_is_not():
    values = np.zeros((1000, 1600), np.float32)
    changed = values.copy()
    changed[600:640, 1300:1340] = 30
    large = SliceView(0, values, changed)
    reduced, factor = whole(large)
    assert (factor, reduced.source.shape) == (3, (334, 534))
    assert reduced.change.max() == pytest.approx(30)
    piece, rows, columns = detail(large, Window("", -160, 240))
    assert piece.source.shape == (400, 400)
    assert piece.change.sum() == pytest.approx(30 * 40 * 40)
    assert rows.start <= 600
    assert rows.stop >= 640
    assert columns.start <= 1300
    assert columns.stop >= 1340


def test_the_detail_is_where_the_window_shows_most_change():
    values = np.full((512, 512), 40.0, np.float32)
    values[:100, :100] = 2000  # beyond the window
    changed = values.copy()
    changed[:100, :100] -= 500  # larger, and not seen
    changed[300:428, 350:478] += 5
    _, rows, columns = detail(SliceView(0, values, changed), Window("", -160, 240))
    assert (rows, columns) == (slice(300, 428), slice(350, 478))


def test_odd_sizes_and_missing_uncertainty_are_shown(tmp_path, evidence):
    values = np.random.default_rng(0).normal(100, 9, (20, 33)).astype(np.float32)
    page = write_evidence_page(tmp_path, {}, [SliceView(0, values, values * 0.5)], header(units="stored"))
    images = images_of(page)
    assert one(images, "signed residual").size == (33, 20)
    assert not [alt for alt in images if "uncertainty" in alt]


def test_three_slices_of_512_pixels_stay_below_3_megabytes(tmp_path, evidence, source):
    noisy = np.tile(source, (4, 4)) + np.random.default_rng(0).normal(0, 20, (512, 512)).astype(np.float32)
    smooth = cv2.GaussianBlur(noisy, (0, 0), 1.0)
    views = [SliceView(index, noisy, smooth, np.abs(noisy - smooth)) for index in range(3)]
    page = write_evidence_page(tmp_path, evidence, views, header(shape=(9, 512, 512)))
    assert page.stat().st_size < 3_000_000


# small things


@pytest.mark.parametrize(("count", "views"), [(1, [0]), (2, [0, 1]), (3, [0, 1]), (20, [5, 10]), (101, [25, 50])])
def test_views_are_at_the_first_quarter_and_in_the_middle(count, views):
    assert choose_views(count) == views


@pytest.mark.parametrize(
    ("value", "units", "sign", "text"),
    [
        (0.0, "HU", True, "0 HU"),
        (-0.001, "HU", True, "0 HU"),
        (-0.01234, "", False, "-0.0123"),
        (-0.01234, "HU", False, "-0.01 HU"),
        (9.996, "HU", True, "+10.0 HU"),
        (99.96, "", False, "100"),
        (1839.4, "HU", True, "+1,839 HU"),
        (123456.7, "", False, "123,457"),
        (3e-7, "", False, "3.00e-07"),
        (0.5, "per mm", False, "0.500 per mm"),
    ],
)
def test_numbers_have_three_digits_that_count(value, units, sign, text):
    assert describe(value, units, sign=sign) == text


def test_entries_are_taken_once():
    entries = Entries({"a": {"b": 1, "c": None}, "d": 2})
    assert "a.c" in entries
    assert "a.x" not in entries
    assert "d.x" not in entries
    assert (entries.take("a.b"), entries.take("a.b"), entries.take("x.y"), entries.take("d")) == (1, None, None, 2)
    assert entries.rest() == [("a, c", "not known")]


# a real browser


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
def test_a_browser_shows_all_pictures_without_a_fault_and_the_page_fits_a_phone(tmp_path, made):
    probe = """<script>addEventListener("load", () => {
      const images = [...document.images].map(image => image.naturalWidth)
      const style = getComputedStyle(document.querySelector(".banner")).fontWeight
      const wide = document.documentElement.scrollWidth - innerWidth
      document.body.dataset.probe = JSON.stringify([images, style, wide]) })</script>"""
    text = made.read_text()
    # The page forbids scripts; with this one allowed, its policy for pictures and styles stays as it is.
    text = text.replace("default-src 'none';", "default-src 'none'; script-src 'unsafe-inline';", 1)
    copy = tmp_path / "probed.html"
    copy.write_text(text.replace("</body>", f"{probe}</body>"))
    command = [CHROMIUM, *FLAGS, f"--user-data-dir={tmp_path / 'profile'}", copy.as_uri()]
    shown = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    found = re.search(r'data-probe="([^"]*)"', shown)
    assert found
    assert "Research only: AI-processed, not for diagnosis" in shown
    images, weight, wide = json.loads(found[1].replace("&quot;", '"'))
    assert len(images) == shown.count("<img") >= 10
    assert all(width > 0 for width in images)
    assert weight == "600"  # its own style is allowed
    assert wide <= 0
