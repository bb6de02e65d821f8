"""A run while it runs."""

from dataclasses import dataclass

from accelerate import Accelerator

from translate.contract import IntensityContract
from translate.data.drawing_style import DrawingStyle
from translate.recipe import Recipe
from translate.training.precision import Precision
from translate.training.probe import Probe
from translate.training.run_folder import RunFolder
from translate.training.setup import Splits, Trained
from translate.training.state import Progress
from translate.training.validation import Dataset


class TrainingError(RuntimeError):
    """A run that cannot go on."""


@dataclass(frozen=True)
class Run:
    """What the parts of the loop share. Only `trained` and `progress` change."""

    recipe: Recipe
    folder: RunFolder
    splits: Splits
    accelerator: Accelerator
    precision: Precision
    trained: Trained
    progress: Progress
    training_set: Dataset
    shown_set: Dataset
    contract: IntensityContract | None  # of a model for scans, by the data set as it was at the start
    style: DrawingStyle | None  # of a model for drawings, likewise
    probe: Probe | None = None  # validation images that the discriminators are shown now and then
