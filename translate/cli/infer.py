"""translate infer MODEL INPUT OUTPUT"""

import argparse
import json
import logging
import sys
from dataclasses import asdict
from importlib import resources
from pathlib import Path
from typing import Any

from translate.cli import CommandError, infer_backends, infer_drawings, infer_scans, infer_tiles

logger = logging.getLogger(__name__)
EPILOG = """
OUTPUT of a folder is a folder with the same tree; its report.jsonl says for each file what became of it. Files that are
done are skipped when the command is given again; a bad file is reported, and the others go on. JPEG is written as PNG,
WebP lossless, everything else as it is, unless --format says otherwise; grey, 16-bit, alpha and metadata are kept.
Models that enlarge (super-resolution) make every image as many times larger as they were trained for; --scale, or
--width and --height (one alone keeps the aspect), give another size.
Models that take drawings (sketch to photo) take a .json file of strokes too: {"width": 256, "height": 256, "strokes":
[[[10, 20], [30, 40]], ...]}. Drawings of another size than the training's are resized for the network, and back.
Scans (DICOM series, NIfTI, TIFF with --units) are found wherever they lie in INPUT; OUTPUT/NAME/ gets a derived series
or volume of each, in its units, and evidence/ with a page that shows what was changed. A file gives a file where OUTPUT
is the name of one. Research only: what comes out is AI-processed and marked so.
An image that does not fit on the device runs in tiles, with the same result. Images larger than memory (.zarr, slides
such as .svs, OME-TIFF, TIFF of more than 67 megapixels) are read and written by windows.
Several processes share a folder, and each image that is read by windows:
accelerate launch --multi_gpu --num_processes 2 -m translate infer MODEL INPUT OUTPUT
Exit code: 0, 1 if a file of the folder failed, 2 if nothing could be started or the one file failed.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "model", metavar="MODEL", help=f"model folder, hub id (owner/name), or a model that ships: {_shipped()}"
    )
    parser.add_argument("input", metavar="INPUT", type=Path, help="an image or a scan, or a folder of them")
    parser.add_argument("output", metavar="OUTPUT", type=Path, help="a file for a file, a folder for a folder")
    parser.add_argument("--direction", metavar="NAME", help="generator of a model with several: a_to_b, b_to_a")
    parser.add_argument(
        "--size", metavar="PIXELS", type=int, help="first reduce images to this shorter side, the scale of the training"
    )
    enlarge = parser.add_argument_group("only for models that enlarge")
    enlarge.add_argument(
        "--scale", metavar="X", type=float, help="make images this many times as wide and high: 3, 1.5"
    )
    enlarge.add_argument("--width", metavar="PIXELS", type=int, help="make them this wide")
    enlarge.add_argument("--height", metavar="PIXELS", type=int, help="make them this high")
    enlarge.add_argument(
        "--self-ensemble", action="store_true", help="a little better, 8 times slower: mean over mirrored, turned views"
    )
    infer_drawings.add_arguments(parser)
    parser.add_argument("--format", metavar="SUFFIX", help="write all as .png, .tif, .webp, .jpg or .bmp")
    parser.add_argument("--quality", metavar="N", type=int, help="1 to 100, for .jpg (95) and lossy .webp")
    parser.add_argument(
        "--compression",
        metavar="HOW",
        help="of .png, .tif and .webp: fast (default), small (15 times as long), or, only for .tif, none",
    )
    parser.add_argument("--batch-size", metavar="N", type=int, default=1, help="images of one size that run together")
    parser.add_argument("--workers", metavar="N", type=int, help="threads that decode, and that encode (2)")
    parser.add_argument(
        "--max-pixels", metavar="N", type=int, help="largest width x height read or made as a whole (300 million)"
    )
    parser.add_argument("--device", metavar="NAME", help="cpu, cuda, cuda:1, mps; by default a GPU if there is one")
    infer_tiles.add_arguments(parser)
    infer_backends.add_arguments(parser)
    parser.add_argument("--precision", choices=["fp32", "bf16", "fp16"], default="fp32", help="of the computation")
    infer_scans.add_arguments(parser)
    parser.add_argument("--json", action="store_true", help="print one line of JSON with the summary, and nothing else")
    parser.epilog = EPILOG


def run(parser: argparse.ArgumentParser, given: list[str]) -> int:
    options = parser.parse_args(given)
    summary = infer(options)
    from translate.processes import process_state

    state = process_state()
    if state.is_main_process:
        sys.stdout.write(json.dumps(summary) + "\n" if options.json else _in_words(summary))
        sys.stdout.flush()
    state.wait_for_everyone()  # a launcher ends all processes when the first one fails
    return 1 if summary["failed"] else 0


def infer(options: argparse.Namespace) -> dict[str, Any]:
    """Translate what the options name, and return the summary."""
    from translate.data.images import MAX_PIXELS, ImageError
    from translate.data.large import is_large
    from translate.pipelines.inference.folder import translate_file, translate_folder
    from translate.pipelines.inference.plan import Options
    from translate.pipelines.inference.sketch_to_photo import SketchToPhoto
    from translate.pipelines.inference.super_resolution import OutputSize
    from translate.pipelines.inference.tiles import TileWatch
    from translate.processes import process_state

    format = options.format and "." + options.format.lower().lstrip(".")
    largest = MAX_PIXELS if options.max_pixels is None else options.max_pixels
    workers = 2 if options.workers is None else options.workers
    how = Options(
        format=format,
        quality=options.quality,
        compression=options.compression or "fast",
        batch_size=options.batch_size,
        workers=workers,
        max_pixels=largest,
        size=options.size,
    )
    size = OutputSize(options.scale, options.width, options.height, largest)
    if not options.input.exists():
        raise ImageError(f"{options.input} does not exist: give an image or a folder of images")
    if infer_scans.holds(options):
        return infer_scans.infer_scans(options, infer_scans.scan_options(options), _load_for_scans(options))
    infer_scans.refuse_given(options, infer_scans.FOR_SCANS, "it holds no scans, and this is for scans")
    pipeline = load(options).with_tiling(infer_tiles.tiling_of(options))
    pipeline = infer_drawings.drawing_pipeline(_enlarging(pipeline, options, size), options)
    hint_at_scale(pipeline, options.size)
    if options.input.is_dir() and not is_large(options.input):
        if options.output.is_file():
            raise ImageError(f"{options.output} is a file, but {options.input} is a folder: give an output folder")
        return translate_folder(pipeline, options.input, options.output, how, show_progress=not options.json)
    with TileWatch(show=not options.json and process_state().is_main_process) as watch:
        pipeline = pipeline.with_tiling(pipeline.tiled.tiling, watch)
        if isinstance(pipeline, SketchToPhoto) and not options.input.is_dir():
            summary = infer_drawings.infer_drawing(pipeline, options, how)
        else:
            written = translate_file(pipeline, options.input, options.output, how)
            summary = {"files": 1, "done": 1, "skipped": 0, "failed": 0, "output": str(written)}
    tiles = watch.take()
    return summary | ({"tiles": asdict(tiles)} if tiles else {})


def load(options: argparse.Namespace) -> Any:
    """The pipeline of the options' model, direction, device, precision and back end."""
    from translate.pipelines.inference.load import load_pipeline

    check_device(options.device)
    pipe = load_pipeline(options.model, direction=options.direction, device=options.device, dtype=dtype_of(options))
    return infer_backends.with_backend(pipe, options)


def _load_for_scans(options: argparse.Namespace) -> Any:
    from translate.pipelines.inference.scan_denoising import ScanDenoising

    check_device(options.device)
    pipeline = ScanDenoising.from_pretrained(
        options.model, direction=options.direction, device=options.device, dtype=dtype_of(options)
    )
    return infer_backends.with_backend(pipeline, options).with_tiling(infer_tiles.tiling_of(options))


def dtype_of(options: argparse.Namespace) -> Any:
    """The torch dtype of --precision."""
    import torch

    return {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[options.precision]


def _enlarging(pipeline: Any, options: argparse.Namespace, size: Any) -> Any:
    """The pipeline with the settings that only models that enlarge have. Raises CommandError for other models."""
    from translate.pipelines.inference.super_resolution import SuperResolution

    if isinstance(pipeline, SuperResolution):
        return pipeline.with_settings(size=size, self_ensemble=options.self_ensemble)
    wanted = [name for name in ("scale", "width", "height", "self_ensemble") if getattr(options, name)]
    if wanted:
        flags = ", ".join("--" + name.replace("_", "-") for name in wanted)
        raise CommandError(
            f"{flags} cannot be used with {options.model}: its task is {pipeline.config.task!r}, and only models of "
            "the task 'super_resolution' enlarge: leave it out, or give another model"
        )
    return pipeline


def hint_at_scale(pipeline: Any, size: int | None) -> None:
    """Say that a model was trained on reduced images where nothing was said about the size.

    A model that knows its drawings' frame brings others to it.
    """
    recipe = pipeline.config.recipe
    trained = recipe["data"].get("resize") if recipe else None
    if trained and size is None and pipeline.config.drawing is None:
        logger.info(
            "this model was trained on images with a shorter side of %d pixels: larger ones look different to it, and "
            "--size %d reduces them first",
            trained,
            trained,
        )


def check_device(name: str | None) -> None:
    """Refuse a device that is not there. Raises CommandError with those that are."""
    import torch

    try:
        torch.zeros((), device=name).item()  # a device without memory, such as meta, fails here
    except (RuntimeError, AssertionError, ImportError) as error:
        reason = str(error).splitlines()[0]
        raise CommandError(
            f"--device {name!r} cannot be used ({reason}): leave it out, or give one that is there"
        ) from None


def _shipped() -> str:
    """The models that ship, by name; as `shipped_models`, but without torch: --help must be quick."""
    folders = (resources.files("translate") / "models").iterdir()
    return ", ".join(sorted(folder.name for folder in folders if (folder / "config.json").is_file()))


def _in_words(summary: dict[str, Any]) -> str:
    if "report" not in summary:
        return f"written: {', '.join(summary.get('outputs', [summary['output']]))}\n"
    counts = ", ".join(f"{summary[status]} {status}" for status in ("done", "skipped", "failed"))
    kind = "scans" if "scans" in summary else "files"
    return f"{summary[kind]} {kind} in {summary['seconds']} s: {counts}. Report: {summary['report']}\n"
