"""translate infer MODEL INPUT OUTPUT, where the model takes drawings"""

import argparse
from typing import Any

from translate.cli import CommandError
from translate.cli.infer_scans import is_given

OPTIONS = ("clean", "variations", "seed")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    drawings = parser.add_argument_group("only for models that take drawings (sketch to photo)")
    drawings.add_argument(
        "--clean",
        action="store_true",
        help="first clean photographs and scans of drawings on paper: light, specks, line weight, place; writes "
        "NAME.cleaned.png beside the result",
    )
    drawings.add_argument(
        "--variations", metavar="N", type=int, help="of one drawing, by noise: NAME-1.png to NAME-N.png, N up to 64"
    )
    drawings.add_argument("--seed", metavar="S", type=int, help="of the variations (0)")


def drawing_pipeline(pipeline: Any, options: argparse.Namespace) -> Any:
    """The pipeline with the settings that only models for drawings have.

    Raises:
        CommandError: options of drawings for another model, or options that do not go together.
    """
    from translate.pipelines.inference.sketch_to_photo import SketchToPhoto

    if not isinstance(pipeline, SketchToPhoto):
        _refuse(pipeline, options)
        return pipeline
    if options.seed is not None and options.variations is None:
        raise CommandError("--seed is of the variations: give --variations N too, or leave it out")
    if options.variations is not None and options.input.is_dir():
        raise CommandError(
            f"--variations are of one drawing, and {options.input} is a folder: give one file of it, or leave it out"
        )
    return pipeline.with_settings(clean=options.clean)


def infer_drawing(pipeline: Any, options: argparse.Namespace, how: Any) -> dict[str, Any]:
    """Translate the one file that the options name, with a SketchToPhoto and Options, and return the summary."""
    from translate.pipelines.inference.drawing_file import translate_drawing

    seed = options.seed or 0
    written = translate_drawing(pipeline, options.input, options.output, how, variations=options.variations, seed=seed)
    summary = {"files": 1, "done": 1, "skipped": 0, "failed": 0, "output": str(written[0])}
    return summary | ({"outputs": [str(path) for path in written]} if len(written) > 1 else {})


def _refuse(pipeline: Any, options: argparse.Namespace) -> None:
    wanted = ["--" + name for name in OPTIONS if is_given(options, name)]
    if options.input.suffix.lower() == ".json" and options.input.is_file():
        wanted.append(f"strokes as in {options.input}")
    if wanted:
        raise CommandError(
            f"{', '.join(wanted)} cannot be used with {options.model}: its task is {pipeline.config.task!r}, and only "
            "models of the task 'sketch_to_photo' take drawings: leave it out, or give another model"
        )
