"""The intensity contract of a model for scans: which values it was trained on, and how they become model space.

It travels in the model folder. A model reads and writes physical units only through it, and only for scans that it
describes.
"""

from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from translate.checkpoint import CheckpointError
from translate.data.intensity import IntensityRange
from translate.data.scans import ScanError, ScanHeader

Positive = Annotated[float, Field(gt=0)]
Code = Annotated[str, Field(min_length=1)]

# What a user can allow; modality and units never, for no number that comes out would mean anything.
CAN_BE_ALLOWED = frozenset({"spacing", "thickness", "kernel"})
# Trained on pixels or slices from a to b millimetres, a model takes a / SLACK to b * SLACK: the noise of otherwise
# equal scans, inverse to the square root of both, differs by at most an eighth there.
SLACK = 1.25


class Linear(BaseModel):
    """value * scale + offset."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    scale: float
    offset: float

    def __call__(self, value: float) -> float:
        return value * self.scale + self.offset

    def __str__(self) -> str:
        return f"x * {self.scale:.10g} + {self.offset:.10g}"


class IntensityContract(BaseModel):
    """What the numbers of a model for scans mean.

    `forward` and `inverse` are written out, and not only derived from `low` and `high`, so that whoever uses the
    weights elsewhere has the formulas; `check` tells whether they are each other's inverse.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    modality: Code  # DICOM's code: "CT", "MR"
    units: Code  # "HU", "SUV", "stored"
    low: float  # in units, -1 of model space; values outside [low, high] are not the model's to change
    high: float
    forward: Linear  # from units to model space
    inverse: Linear  # from model space to units
    spacing: tuple[Positive, Positive] | None = None  # smallest and largest in-plane mm of the training; None: any
    thickness: tuple[Positive, Positive] | None = None  # of slices, likewise
    kernels: tuple[str, ...] | None = None  # of the reconstruction; None: any
    neighbours: int = Field(0, ge=0)  # slices on each side that the network also sees (2.5D)
    largest_change: Positive | None = None  # bound of the change, in units
    output_modality: Code | None = None  # where it is another one (MR to CT); None: what comes out is what went in

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if not self.low < self.high:
            raise ValueError(f"a contract needs low < high, got {self.low!r} and {self.high!r}")
        for name in ("spacing", "thickness"):
            span = getattr(self, name)
            if span is not None and span[0] > span[1]:
                raise ValueError(f"{name} is from the smallest to the largest, got {span!r}")
        return self

    @classmethod
    def of(
        cls,
        range: IntensityRange,
        *,
        modality: str,
        spacing: tuple[float, float] | None = None,
        thickness: tuple[float, float] | None = None,
        kernels: tuple[str, ...] | None = None,
        neighbours: int = 0,
        largest_change: float | None = None,
        output_modality: str | None = None,
    ) -> Self:
        """The contract of a model trained on this range, whose formulas are those of IntensityRange."""
        half, middle = (range.high - range.low) / 2, (range.high + range.low) / 2
        return cls(
            modality=modality,
            units=range.units,
            low=range.low,
            high=range.high,
            forward=Linear(scale=1 / half, offset=-middle / half),
            inverse=Linear(scale=half, offset=middle),
            spacing=spacing,
            thickness=thickness,
            kernels=kernels,
            neighbours=neighbours,
            largest_change=largest_change,
            output_modality=output_modality,
        )

    @property
    def synthetic(self) -> bool:
        """Whether what comes out is of another modality than what went in."""
        return self.output_modality not in (None, self.modality)

    def intensity(self) -> IntensityRange:
        return IntensityRange(self.low, self.high, self.units)

    def check(self, *, input: IntensityRange | None, output: IntensityRange | None) -> None:
        """Refuse a contract that would move values, whatever the network does.

        Args:
            input, output: what config.json says of the two sides of the generator.

        Raises:
            CheckpointError: the formulas do not map low to -1 and high to 1 and back (within 0.001 units and a
                millionth of the range), or a side of the generator has another range.
        """
        tolerance = min(1e-3, 1e-6 * (self.high - self.low))
        zero = [0.0] if self.low < 0 < self.high else []
        for value in [*zero, self.low, self.high]:
            back = self.inverse(self.forward(value))
            if abs(back - value) > tolerance:
                raise CheckpointError(
                    f"the intensity contract does not come back: {value:g} {self.units} would become {back:.6g} "
                    f"{self.units} without any network, forward is {self.forward} and inverse is {self.inverse}: "
                    "do not use this model, its every value is wrong"
                )
        for value, wanted in ((self.low, -1.0), (self.high, 1.0)):
            if abs(self.forward(value) - wanted) > 1e-6:
                raise CheckpointError(
                    f"the intensity contract maps {value:g} {self.units} to {self.forward(value):.6g}, model space has "
                    f"{wanted:g} there: its formulas and its range are not of one model, copy it again"
                )
        sides = {"input": input} if self.synthetic else {"input": input, "output": output}
        for name, side in sides.items():
            if side != self.intensity():
                raise CheckpointError(
                    f"the intensity contract has the range {_range(self.intensity())}, but the {name} of the generator "
                    f"has {_range(side)}: they must be equal, copy the model again"
                )
        if output is None:
            raise CheckpointError("the output of the generator has no range: a model for scans needs one on both sides")

    def mismatches(self, header: ScanHeader) -> dict[str, str]:
        """What a scan has that the model was not trained on: "modality", "units", "spacing", "thickness", "kernel"
        and a sentence for each. What the scan does not say is no mismatch.
        """
        found = {}
        if header.modality not in ("", self.modality):
            found["modality"] = f"its modality is {header.modality}, the model was trained on {self.modality}"
        if header.units != self.units:
            found["units"] = f"its values are in {header.units}, the model was trained on {self.units}"
        pixels = [side for side in header.spacing[1:] if side is not None]
        if self.spacing and pixels and not all(_near(side, self.spacing) for side in pixels):
            sides = " x ".join(f"{side:.3g}" for side in pixels)
            found["spacing"] = f"its pixels are {sides} mm, the model was trained on {_span(self.spacing)}"
        if self.thickness and header.thickness is not None and not _near(header.thickness, self.thickness):
            span = _span(self.thickness)
            found["thickness"] = f"its slices are {header.thickness:.3g} mm thick, the model was trained on {span}"
        if self.kernels and header.kernel is not None and _folded(header.kernel) not in map(_folded, self.kernels):
            known = ", ".join(self.kernels)
            found["kernel"] = f"its reconstruction kernel is {header.kernel}, the model was trained on {known}"
        return found

    def check_input(self, header: ScanHeader, allow: frozenset[str] = frozenset()) -> list[str]:
        """Refuse a scan that the model was not trained on.

        Args:
            allow: of "spacing", "thickness" and "kernel", which mismatches are warnings only.

        Returns:
            Warnings: what was allowed, and what the scan does not say.

        Raises:
            ScanError: a mismatch that is not allowed.
        """
        found = self.mismatches(header)
        if wrong := [found[name] for name in ("modality", "units") if name in found]:
            advice = "use a model for it"
            if set(found) & {"modality", "units"} == {"units"} and header.modality == "":
                advice = f"if its values are in {self.units}, say so with --units {self.units}"
            raise ScanError(f"{header.name}: {', and '.join(wrong)}: {advice}")
        if refused := [name for name in found if name not in allow]:
            raise ScanError(
                f"{header.name}: {', and '.join(found[name] for name in refused)}: use a model for it, or allow it "
                f"with --allow {','.join(refused)} and look at the evidence"
            )
        return [*found.values(), *self._unknown(header)]

    def _unknown(self, header: ScanHeader) -> list[str]:
        """Sentences about what the scan does not say and the model depends on."""
        unknown = []
        if header.modality == "":
            unknown.append(f"its modality is unknown, the model was trained on {self.modality}")
        if self.spacing and None in header.spacing[1:]:
            unknown.append(f"the size of its pixels is unknown, the model was trained on {_span(self.spacing)}")
        if self.thickness and header.thickness is None:
            unknown.append(f"its slice thickness is unknown, the model was trained on {_span(self.thickness)}")
        if self.kernels and header.kernel is None:
            unknown.append(f"its reconstruction kernel is unknown, the model was trained on {', '.join(self.kernels)}")
        return unknown


def _near(value: float, span: tuple[float, float]) -> bool:
    return span[0] / SLACK <= value <= span[1] * SLACK


def _span(span: tuple[float, float]) -> str:
    return f"{span[0]:.3g} mm" if span[0] == span[1] else f"{span[0]:.3g} to {span[1]:.3g} mm"


def _range(range: IntensityRange | None) -> str:
    return f"{range.low:g} to {range.high:g} {range.units}" if range else "none"


def _folded(kernel: str) -> str:
    return kernel.strip().casefold()
