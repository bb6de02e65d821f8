"""translate export MODEL OUT"""

import argparse
import json
import sys
from pathlib import Path

EPILOG = """
OUT is a folder: NAME.onnx (or NAME.pt2) takes float32 (batch, channels, height, width) in [-1, 1], of any batch, height
and width that the network allows; config.json, whose entries are in the ONNX file's metadata too, tells which those are
and what the values mean. Before anything is there, it is run on real images of several sizes and compared with PyTorch:
more than 1e-4 apart, nothing is written.
Needs the extra onnx: pip install "translate-images[onnx]"
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help="model folder, hub id (owner/name), or a model that ships")
    parser.add_argument("output", metavar="OUT", type=Path, help="new folder, or an earlier export, which is replaced")
    parser.add_argument("--format", choices=["onnx", "torch"], default="onnx", help="ONNX (default), or torch.export")
    parser.add_argument("--direction", metavar="NAME", help="generator of a model with several: a_to_b, b_to_a")
    parser.add_argument("--opset", metavar="N", type=int, help="of ONNX, 18 to 23 (20)")
    parser.add_argument("--json", action="store_true", help="print config.json as one line, and nothing else")
    parser.epilog = EPILOG


def run(parser: argparse.ArgumentParser, given: list[str]) -> int:
    options = parser.parse_args(given)
    from translate.backends.export import export_model
    from translate.backends.exported import OPSET
    from translate.cli import CommandError
    from translate.model_folder import load_generator
    from translate.model_sources import find_model
    from translate.pipelines.inference.samples import sample_images

    if options.opset is not None and options.format != "onnx":
        raise CommandError("--opset is of ONNX: leave it out, or give --format onnx")
    generator, name, config = load_generator(find_model(options.model), options.direction)
    generator.eval().requires_grad_(False)
    told = export_model(
        generator,
        config,
        name,
        options.output,
        samples=sample_images(generator, scans=config.contract is not None),
        format=options.format,
        opset=OPSET if options.opset is None else options.opset,
    )
    check = told["check"]
    words = (
        f"written: {options.output / told['file']}, which differs from PyTorch by at most "
        f"{check['largest_difference']:.1e} on {sum(size[0] for size in check['images'])} real images\n"
    )
    sys.stdout.write(json.dumps(told) + "\n" if options.json else words)
    return 0
