"""translate app MODEL..."""

import argparse
import logging
import signal
import sys
from typing import Any

from translate.cli import infer_backends

logger = logging.getLogger(__name__)
EPILOG = """
MODEL is a model folder, a hub id (owner/name), a model that ships, or a folder that holds model folders, one or two
levels deep (runs/): all are in a list on the page. A model for drawings gets a drawing pad, upload and camera; one that
enlarges, a slider between before and after; one for scans, a viewer of slices with windows and residual.
The page opens on this machine only, unless --host says otherwise; it fetches nothing from elsewhere, and what was
uploaded is deleted after an hour, or when the server ends (Ctrl-C).
Needs the extra app: pip install "translate-images[app]"
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("models", metavar="MODEL", nargs="+", help="a model, or a folder of models")
    parser.add_argument("--host", metavar="ADDRESS", default="127.0.0.1", help="address to listen at (127.0.0.1)")
    parser.add_argument("--port", metavar="N", type=int, default=7860, help="port to listen at, 0: a free one (7860)")
    parser.add_argument(
        "--max-pixels", metavar="N", type=int, default=16_000_000, help="largest width x height (16 million)"
    )
    parser.add_argument("--max-mb", metavar="N", type=int, default=50, help="largest file in megabytes (50)")
    parser.add_argument("--queue", metavar="N", type=int, default=64, help="requests that may wait (64)")
    parser.add_argument("--open", action="store_true", help="open the page in a browser")
    parser.add_argument("--device", metavar="NAME", help="cpu, cuda, cuda:1, mps; by default a GPU if there is one")
    infer_backends.add_arguments(parser)
    parser.epilog = EPILOG


def run(parser: argparse.ArgumentParser, given: list[str]) -> int:
    options = parser.parse_args(given)
    from translate.cli.infer import check_device
    from translate.pipelines.app.models import Shelf, find_models
    from translate.pipelines.app.server import LOCAL, Address, Service, serve
    from translate.pipelines.app.uploads import Limits
    from translate.pipelines.inference.sketch_to_photo import SketchToPhoto

    service = Service(Limits(options.max_pixels, options.max_mb), options.queue, options.open)
    address = Address(options.host, options.port)
    check_device(options.device)
    shelf = Shelf(find_models(options.models), options.device, options.backend)
    first = shelf.pipeline(next(iter(shelf.entries)))  # a damaged one is told now
    if isinstance(first, SketchToPhoto):
        first([[(8, 8), (24, 24)]])  # the first drawing takes a second more: nobody need wait for it
    if options.host not in LOCAL:
        logger.warning("anybody who can reach %s in the network can open this page and use the models", options.host)
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        serve(shelf, address, service, _say)
    except KeyboardInterrupt:
        return 0
    return 0


def _say(url: str) -> None:
    sys.stdout.write(f"The page is at {url}  (Ctrl-C ends it)\n")
    sys.stdout.flush()


def _interrupt(*_: Any) -> None:
    raise KeyboardInterrupt
