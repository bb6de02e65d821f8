"""How quick the page of `translate app` is: first paint, one translation of 256 x 256, ten people at once.

    python benchmarks/app.py [MODEL] [--people 10] [--threads 2]

Without MODEL an untrained U-Net of 256 x 256 is taken, as large as a model that ships. The page runs as a process of
its own. First paint and drawing pad are measured in a headless Chromium from the start of the navigation, translations
from the press of the button to the picture on the page; the people at once are clients without a browser.
Needs the extra test.
"""

import argparse
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import torch
from gradio_client import Client
from playwright.sync_api import Page, sync_playwright

from translate.data.drawing_style import DrawingStyle
from translate.model_folder import ModelConfig, build_network, save_model
from translate.networks import GENERATORS

LINES = [[[60, 60], [128, 30], [196, 60], [128, 220], [60, 60]], [[90, 100], [110, 100]], [[146, 100], [166, 100]]]
PAINT = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime"


def untrained(folder: Path) -> Path:
    arguments = {"in_channels": 1, "out_channels": 3, "width": 20, "depth": 7, "dropout": True, "upsample": "resize"}
    entry = {"name": "unet", "arguments": arguments, "input": {"channels": 1}, "output": {"channels": 3}}
    drawing = DrawingStyle(width=256, height=256).model_dump()
    values = {"task": "sketch_to_photo", "generators": {"generator": entry}, "drawing": drawing}
    config = ModelConfig.model_validate(values)
    save_model(folder, config, {"generator": build_network(config.generators["generator"], GENERATORS)})
    return folder


@contextmanager
def served(model: str, threads: int) -> Iterator[tuple[str, float]]:
    """The page's URL, and the seconds until it could be opened."""
    started = time.perf_counter()
    command = [sys.executable, "-m", "translate", "app", model, "--port", "0"]
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as server:
        try:
            assert server.stdout is not None
            found = re.search(r"http://\S+/", server.stdout.readline())
            if found is None:
                raise RuntimeError("the page did not start")
            yield found[0], time.perf_counter() - started
        finally:
            server.terminate()


def opened(page: Page, url: str) -> tuple[float, float]:
    """Seconds from the start of the navigation to the first paint, and to the pad."""
    page.goto(url)
    page.locator("#pad canvas").wait_for()
    pad = float(page.evaluate("performance.now()"))
    return float(page.evaluate(PAINT)) / 1000, pad / 1000


def pressed(page: Page) -> float:
    """Seconds from the press to another picture on the page, after one more line."""
    pad = page.locator("#pad canvas").bounding_box()
    assert pad is not None
    known = page.evaluate("document.querySelector('#results img')?.src || ''")
    page.mouse.move(pad["x"] + 40, pad["y"] + 40)
    page.mouse.down()
    page.mouse.move(pad["x"] + 200, pad["y"] + 90 + 10 * (len(known) % 7), steps=8)
    page.mouse.up()
    started = time.perf_counter()
    page.locator("#draw-go").click()
    page.wait_for_function(
        "known => { const image = document.querySelector('#results img');"
        " return image && image.src != known && image.naturalWidth }",
        arg=known,
    )
    return time.perf_counter() - started


def at_once(url: str, name: str, people: int) -> list[float]:
    """Seconds that each of several people waits who press at the same time. Raises what one of them gets as error."""
    clients = [Client(url, verbose=False) for _ in range(people)]

    def translate(client: Client) -> float:
        started = time.perf_counter()
        client.predict(name, {"lines": LINES}, 1, 0, api_name="/strokes")
        return time.perf_counter() - started

    with ThreadPoolExecutor(people) as pool:
        return list(pool.map(translate, clients))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", metavar="MODEL", nargs="?")
    parser.add_argument("--people", metavar="N", type=int, default=10)
    parser.add_argument("--threads", metavar="N", type=int, default=torch.get_num_threads())
    parser.add_argument("--runs", metavar="N", type=int, default=5)
    options = parser.parse_args()
    print(f"{platform.machine()}, {os.cpu_count()} cores, {options.threads} of torch, load {os.getloadavg()[0]:.1f}")
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as driver:
        model = options.model or str(untrained(Path(folder) / "sketch"))
        with served(model, options.threads) as (url, start):
            print(f"start                   {start:.2f} s until the page can be opened")
            browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
            times = [opened(browser.new_context().new_page(), url) for _ in range(options.runs)]  # with empty caches
            paints, pads = zip(*times, strict=True)
            print(f"first contentful paint  {paints[0]:.2f} s the first time, median {statistics.median(paints):.2f} s")
            print(f"drawing pad there       {pads[0]:.2f} s the first time, median {statistics.median(pads):.2f} s")
            page = browser.new_page(viewport={"width": 1200, "height": 900})
            opened(page, url)
            waits = [pressed(page) for _ in range(options.runs)]
            print(f"press to picture        {waits[0]:.2f} s the first time, median {statistics.median(waits):.2f} s")
            browser.close()
            components = Client(url, verbose=False).config["components"]
            name = next(c["props"]["value"] for c in components if c["props"].get("elem_id") == "model")
            waits = at_once(url, name, options.people)
            print(f"{options.people} at once, no error     {min(waits):.2f} to {max(waits):.2f} s")


if __name__ == "__main__":
    main()
