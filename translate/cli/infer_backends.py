"""translate infer MODEL INPUT OUTPUT: what computes the network"""

import argparse
from pathlib import Path
from typing import Any

NAMES = (
    "auto",
    "torch",
    "compile",
    "onnxruntime",
    "openvino",
    "tensorrt",
)  # as BACKENDS, without torch: --help is quick
LEAST_PIXELS = 2**16  # of a file whose size is not known


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--backend",
        choices=NAMES,
        default="torch",
        help="what computes the network, in fp32, at most 1e-4 from torch: made once for a model and machine (5 to 60 "
        "s), then kept; auto: the soonest done of those that are made, for these images",
    )


def with_backend(pipeline: Any, options: argparse.Namespace) -> Any:
    """The pipeline on the back end of --backend. Raises BackendError."""
    if options.backend == "torch":
        return pipeline
    given = getattr(options, "input", None)
    return pipeline.with_backend(options.backend, pixels=LEAST_PIXELS if given is None else _pixels(given))


def _pixels(given: Path) -> int:
    """How many an image or a folder has at least."""
    if given.is_dir():
        return LEAST_PIXELS * sum(1 for path in given.rglob("*") if path.is_file())
    from PIL import Image

    try:
        with Image.open(given) as image:
            return image.width * image.height
    except (OSError, ValueError, Image.DecompressionBombError):
        return LEAST_PIXELS
