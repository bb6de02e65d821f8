"""What the drawings that a model was trained on look like, so that others can be brought to it."""

from pydantic import BaseModel, ConfigDict, Field


class DrawingStyle(BaseModel):
    """Measured on training drawings as the network saw them; travels in the model folder.

    paper, ink: grey level of empty paper and of the darkest strokes, 0 is black and 1 white. Of a chalk drawing paper
        is the darker one.
    line_weight: usual width of a stroke in pixels.
    width, height: the frame: usual size of a drawing in pixels.
    coverage: usual share of the frame that the drawing takes: of its bounding box's width in the frame's width and its
        height in the frame's height the larger one.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    paper: float = Field(1.0, ge=0, le=1)
    ink: float = Field(0.0, ge=0, le=1)
    line_weight: float = Field(2.0, gt=0)
    width: int = Field(256, gt=0)
    height: int = Field(256, gt=0)
    coverage: float = Field(1.0, gt=0, le=1)
