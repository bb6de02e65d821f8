"""The command `translate`. It may import everything of ours, and nothing imports it.

Each subcommand is a module with `add_parser` and `run`; only the one that is asked for is imported, so that --help is
quick.
"""

import argparse
import importlib
import logging
import os
import sys
import traceback
from collections.abc import Sequence

import translate

COMMANDS = {
    "preprocess": "stage 1: make a data set for training from folders of images",
    "train": "stage 2: train a model from a recipe, or go on with a run that stopped",
    "diagnose": "say how a training goes: what is wrong, since when, and what to try",
    "infer": "stage 3: translate an image or a folder of images",
    "export": "write a model as ONNX or torch.export, compared with PyTorch on real images",
    "evaluate": "measure a model on images whose translation is known",
    "app": "open a web page on which models are used: draw, upload, compare, download",
    "demo": "see all of it happen on real pictures, in a few minutes on a CPU",
}


class CommandError(ValueError):
    """A command line that cannot be carried out."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code: 0, 1 if something failed, 2 if it could not be started."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    logging.basicConfig(format="%(message)s", level=_level(), stream=sys.stderr)
    if not given or given[0] not in COMMANDS:
        _overview().parse_args(given or ["--help"])
        return 0
    command = importlib.import_module(f"translate.cli.{given[0]}")
    parser = argparse.ArgumentParser(
        prog=f"translate {given[0]}",
        description=COMMANDS[given[0]],
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_arguments(parser)
    try:
        code: int = command.run(parser, given[1:])
    except KeyboardInterrupt as interrupt:
        return _fail(str(interrupt) or "interrupted", 130)
    except BrokenPipeError:
        return 1
    except (ValueError, OSError, RuntimeError) as error:
        if not _for_the_user(error):
            raise
        return _fail(_message(error), 1 if isinstance(error, RuntimeError) else 2)
    return code


def _overview() -> argparse.ArgumentParser:
    listed = "\n".join(f"  {name:<12}{purpose}" for name, purpose in COMMANDS.items())
    parser = argparse.ArgumentParser(
        prog="translate",
        usage="translate [--version] COMMAND ...",
        description=f"Image-to-image translation.\n\ncommands:\n{listed}\n\ntranslate COMMAND --help tells more.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"translate {translate.__version__}")
    parser.add_argument("command", choices=list(COMMANDS), metavar="COMMAND", help="one of the commands above")
    return parser


def _for_the_user(error: Exception) -> bool:
    """An error whose message is meant for the user: the system's word on a file, our own types, and our ValueErrors.

    A RuntimeError of torch is none of these, even where a line of ours called it: its traceback is needed.
    """
    raised_in = [frame.f_globals.get("__name__", "") for frame, _ in traceback.walk_tb(error.__traceback__)][-1]
    ours = [type(error).__module__, raised_in] if isinstance(error, ValueError) else [type(error).__module__]
    return isinstance(error, OSError) or any(name.partition(".")[0] == "translate" for name in ours)


def _message(error: Exception) -> str:
    """The message; of an error that a loader process handed over only its own words."""
    text = str(error)
    if text.startswith("Caught ") and "\n" in text:
        return text.strip().splitlines()[-1].split(": ", 1)[-1]
    return text


def _fail(message: str, code: int) -> int:
    sys.stderr.write(f"translate: {message}\n")
    return code


def _level() -> int:
    """Information from the main process, warnings from all."""
    return logging.INFO if os.environ.get("RANK", "0") == "0" else logging.WARNING
