"""What every handler of the page does with an error: a person reads what was wrong, and no more of the server."""

import functools
import logging
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import gradio as gr

from translate.pipelines.app.uploads import without_places

logger = logging.getLogger(__name__)
Given = ParamSpec("Given")
Result = TypeVar("Result")
PICTURES, SCANS = "pictures", "scans"  # concurrency groups: one of each computes at a time, the others wait
UNEXPECTED = "This did not work, for a reason that the page does not know. The log of the server has the details."


def explained(function: Callable[Given, Result]) -> Callable[Given, Result]:
    """Show our own errors to the person; log every other one, and say only that it happened."""

    @functools.wraps(function)
    def handler(*args: Given.args, **kwargs: Given.kwargs) -> Result:
        try:
            return function(*args, **kwargs)
        except gr.Error:
            raise
        except Exception as error:
            raise _shown(error) from None

    return handler


def _shown(error: Exception) -> gr.Error:
    ours = isinstance(error, ValueError) and type(error).__module__.partition(".")[0] == "translate"
    if not ours:
        logger.error("a request of the page failed", exc_info=error)
    message = without_places(str(error)) if ours else UNEXPECTED
    return gr.Error(message[:1].upper() + message[1:], duration=None, print_exception=False)


def reporting(progress: gr.Progress) -> Callable[[float, str], object]:
    """What the work calls with the share that is done and with what is done now."""
    return lambda share, text: progress(share, desc=text)
