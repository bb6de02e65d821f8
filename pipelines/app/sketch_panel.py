"""The part of the page for models that make pictures of drawings: a pad, upload and camera, and the results."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import gradio as gr

from translate.data.images import ImageError
from translate.pipelines.app.drawings import (
    MAX_VARIATIONS,
    Drawn,
    Wish,
    pad_value,
    translate_drawing,
    translate_strokes,
)
from translate.pipelines.app.handlers import PICTURES, explained, reporting
from translate.pipelines.app.models import Entry, Shelf
from translate.pipelines.app.pad import drawing_pad
from translate.pipelines.app.picture_panel import picture_upload, show_upload
from translate.pipelines.app.uploads import Limits, Workspace
from translate.pipelines.inference.sketch_to_photo import SketchToPhoto

CLEAN = "Clean up the drawing: light, paper, specks, line weight"


@dataclass(frozen=True)
class SketchPanel:
    """What of the panel depends on the model."""

    group: gr.Column
    pad: gr.HTML
    variations: gr.Group

    @property
    def outputs(self) -> list[Any]:
        return [self.group, self.pad, self.variations]


def sketch_settings(entry: Entry) -> list[dict[str, Any]]:
    """Of the panel's `outputs`, for a model."""
    return [{"visible": entry.kind == "drawing"}, {"value": pad_value(entry.style)}, {"visible": entry.varies}]


def sketch_panel(model: gr.Dropdown, entry: Entry, shelf: Shelf, place: tuple[Limits, Workspace]) -> SketchPanel:
    """Build the panel as it is for `entry`."""
    limits, workspace = place
    of_group, of_pad, of_variations = sketch_settings(entry)
    with gr.Column(**of_group) as group, gr.Row():
        with gr.Column(scale=1, min_width=300):
            with gr.Tab("Draw"):
                pad = drawing_pad(**of_pad)
                draw = gr.Button("Translate", variant="primary", elem_id="draw-go")
            with gr.Tab("Upload"):
                upload = picture_upload(limits, "drawing-upload")
                given = gr.Image(label="Given", visible=False, height=220, buttons=[], interactive=False, format="jpeg")
                clean_upload = gr.Checkbox(value=True, label=CLEAN)
                go_upload = gr.Button("Translate", variant="primary", elem_id="upload-go")
            with gr.Tab("Camera"):
                camera = gr.Image(
                    label="Drawing on paper", sources=["webcam"], type="filepath", image_mode=None, format="png"
                )
                clean_photo = gr.Checkbox(value=True, label=CLEAN)
                go_photo = gr.Button("Translate", variant="primary", elem_id="camera-go")
            with gr.Group(**of_variations) as variations, gr.Row():
                count = gr.Slider(1, MAX_VARIATIONS, value=1, step=1, label="Variations", elem_id="variations")
                seed = gr.Number(0, precision=0, label="Seed of the variations", min_width=120)
        with gr.Column(scale=1, min_width=300):
            results = gr.Gallery(
                label="Result", columns=2, height=480, object_fit="contain", preview=True, elem_id="results"
            )
            download = gr.DownloadButton("Download", visible=False, elem_id="drawing-download")
            seen = gr.Image(
                label="What the model saw", visible=False, height=240, buttons=[], interactive=False, format="png"
            )
            steps = gr.Markdown(elem_classes="quiet", elem_id="steps")
    show_upload(upload, given, limits)
    shown: dict[str, Any] = {
        "outputs": [results, download, seen, steps],
        "concurrency_id": PICTURES,
        "show_progress_on": results,
    }
    draw.click(_of_pad(shelf, workspace), [model, pad, count, seed], api_name="strokes", **shown)
    of_file = _of_file(shelf, place)
    go_upload.click(of_file, [model, upload, clean_upload, count, seed], api_name="drawing", **shown)
    go_photo.click(of_file, [model, camera, clean_photo, count, seed], api_visibility="private", **shown)
    return SketchPanel(group, pad, variations)


def _of_pad(shelf: Shelf, workspace: Workspace) -> Any:
    @explained
    def translate(
        name: str,
        value: Any,
        count: float,
        seed: float | None,
        progress: gr.Progress = gr.Progress(),  # noqa: B008  Gradio looks for it there
    ) -> list[Any]:
        wish = _wish(shelf.entry(name), count, seed)
        pipeline = cast(SketchToPhoto, shelf.pipeline(name))
        return _shown(translate_strokes(pipeline, value, wish, workspace, reporting(progress)))

    return translate


def _of_file(shelf: Shelf, place: tuple[Limits, Workspace]) -> Any:
    @explained
    def translate(
        name: str,
        path: str | None,
        clean: bool,
        count: float,
        seed: float | None,
        progress: gr.Progress = gr.Progress(),  # noqa: B008  Gradio looks for it there
    ) -> list[Any]:
        if path is None:
            raise ImageError("no drawing has been given yet: upload one, or take a photograph of one")
        wish = _wish(shelf.entry(name), count, seed)
        pipeline = cast(SketchToPhoto, shelf.pipeline(name))
        return _shown(translate_drawing(pipeline, Path(path), wish, clean, place, reporting(progress)))

    return translate


def _wish(entry: Entry, count: float, seed: float | None) -> Wish:
    return Wish(int(count) if entry.varies else 1, int(seed or 0))


def _shown(drawn: Drawn) -> list[Any]:
    """Of results, download, what the model saw, and the steps."""
    several = len(drawn.files) > 1
    steps = "".join(f"\n- {step}" for step in drawn.steps)
    return [
        [str(file) for file in drawn.files],
        gr.update(value=str(drawn.archive), visible=True, label="Download all (zip)" if several else "Download"),
        gr.update(value=drawn.seen, visible=drawn.seen is not None),
        f"How it was cleaned:\n{steps}" if steps else "",
    ]
