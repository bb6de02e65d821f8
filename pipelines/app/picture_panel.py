"""The part of the page for models that enlarge or translate pictures: before and after, and the download."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import gradio as gr
import numpy as np

from translate.data.images import IMAGE_SUFFIXES, ImageError
from translate.pipelines.app.handlers import PICTURES, explained, reporting
from translate.pipelines.app.models import Entry, Shelf
from translate.pipelines.app.pictures import Order, preview, translate_upload
from translate.pipelines.app.uploads import Limits, Workspace
from translate.pipelines.inference.pipeline import Pipeline

SCALES = [("model's own", ""), *((f"{scale} x", scale) for scale in ("1.5", "2", "3", "4"))]


@dataclass(frozen=True)
class PicturePanel:
    """What of the panel depends on the model."""

    group: gr.Column
    scale: gr.Radio
    direction: gr.Radio
    reduce: gr.Checkbox

    @property
    def outputs(self) -> list[Any]:
        return [self.group, self.scale, self.direction, self.reduce]


def picture_settings(entry: Entry) -> list[dict[str, Any]]:
    """Of the panel's `outputs`, for a model."""
    size, shown = entry.trained_size, entry.kind == "picture"
    return [
        {"visible": shown},
        {"value": "", "visible": entry.enlarges},
        {
            "choices": list(entry.directions),
            "value": entry.directions[0],
            "visible": shown and len(entry.directions) > 1,
        },
        {
            "label": f"First reduce to the scale of the training (shorter side {size} pixels)",
            "value": size is not None,
            "visible": size is not None and not entry.enlarges,
        },
    ]


def picture_panel(model: gr.Dropdown, entry: Entry, shelf: Shelf, place: tuple[Limits, Workspace]) -> PicturePanel:
    """Build the panel as it is for `entry`."""
    limits, _ = place
    of_group, of_scale, of_direction, of_reduce = picture_settings(entry)
    with gr.Column(**of_group) as group, gr.Row():
        with gr.Column(scale=2, min_width=300):
            upload = picture_upload(limits, "picture-upload")
            given = gr.Image(label="Given", visible=False, height=220, buttons=[], interactive=False, format="jpeg")
            scale = gr.Radio(SCALES, label="Size", **of_scale)
            direction = gr.Radio(label="Direction", **of_direction)
            reduce = gr.Checkbox(**of_reduce)
            button = gr.Button("Translate", variant="primary", elem_id="picture-go")
        with gr.Column(scale=3, min_width=300):
            slider = gr.ImageSlider(
                label="Before and after", format="png", max_height=560, elem_id="picture-slider", buttons=["fullscreen"]
            )
            summary = gr.Markdown(elem_classes="quiet", elem_id="picture-summary")
            download = gr.DownloadButton("Download", visible=False, elem_id="picture-download")
    show_upload(upload, given, limits)
    button.click(
        _translate(shelf, place),
        [model, upload, scale, direction, reduce],
        [slider, summary, download],
        concurrency_id=PICTURES,
        api_name="picture",
        show_progress_on=slider,
    )
    return PicturePanel(group, scale, direction, reduce)


def picture_upload(limits: Limits, elem_id: str) -> gr.File:
    """Where one picture is dropped. Not gr.Image, which fails on broken files, TIFF and 16 bits before we see them."""
    return gr.File(
        label=f"Picture, up to {limits.max_mb} MB, {limits.max_pixels / 1e6:g} megapixels",
        file_types=list(IMAGE_SUFFIXES),
        height=140,
        elem_id=elem_id,
    )


def show_upload(upload: gr.File, given: gr.Image, limits: Limits) -> None:
    """Show what was uploaded, or say at once what is wrong with it."""

    @explained
    def show(path: str | None) -> dict[str, Any]:
        if path is None:
            return gr.update(value=None, visible=False)
        return gr.update(value=preview(Path(path), limits), visible=True)

    upload.change(show, upload, given, api_visibility="private", show_progress="hidden")


def _translate(shelf: Shelf, place: tuple[Limits, Workspace]) -> Any:
    @explained
    def translate(
        name: str,
        path: str | None,
        scale: str,
        direction: str,
        reduce: bool,
        progress: gr.Progress = gr.Progress(),  # noqa: B008  Gradio looks for it there
    ) -> tuple[tuple[np.ndarray, np.ndarray], str, dict[str, Any]]:
        if path is None:
            raise ImageError("no picture has been given yet: upload one first")
        entry = shelf.entry(name)
        pipeline = cast(Pipeline, shelf.pipeline(name, direction if direction in entry.directions else None))
        order = Order(
            scale=float(scale) if scale and entry.enlarges else None,
            size=entry.trained_size if reduce and not entry.enlarges else None,
        )
        done = translate_upload(pipeline, Path(path), order, place, reporting(progress))
        return (done.before, done.after), done.summary, gr.update(value=str(done.file), visible=True)

    return translate
