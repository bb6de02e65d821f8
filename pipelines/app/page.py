"""The whole page: the list of models, and below it the part that the chosen model needs."""

from collections.abc import Callable
from typing import Any, Protocol

import gradio as gr

from translate.pipelines.app.handlers import explained
from translate.pipelines.app.looks import header
from translate.pipelines.app.models import Entry, Shelf
from translate.pipelines.app.picture_panel import picture_panel, picture_settings
from translate.pipelines.app.scan_panel import scan_panel, scan_settings
from translate.pipelines.app.sketch_panel import sketch_panel, sketch_settings
from translate.pipelines.app.uploads import Limits, Workspace


class Panel(Protocol):
    """A part of the page."""

    @property
    def outputs(self) -> list[Any]:
        """The components that depend on the model."""


Place = tuple[Limits, Workspace]
Builder = Callable[[gr.Dropdown, Entry, Shelf, Place], Panel]
Settings = Callable[[Entry], list[dict[str, Any]]]  # of these components, for a model
PANELS: dict[str, tuple[Builder, Settings]] = {
    "drawing": (sketch_panel, sketch_settings),
    "picture": (picture_panel, picture_settings),
    "scan": (scan_panel, scan_settings),
}
CACHE = (600, 3600)  # every so many seconds what is older than so many is deleted


def build_page(shelf: Shelf, limits: Limits, workspace: Workspace) -> gr.Blocks:
    """The page for the models of a shelf, which must not be empty, with the parts that one of them needs."""
    entries = list(shelf.entries.values())
    first = entries[0]
    kinds = [kind for kind in PANELS if any(entry.kind == kind for entry in entries)]
    with gr.Blocks(title="translate", analytics_enabled=False, delete_cache=CACHE) as page:
        header()
        model = gr.Dropdown(
            list(shelf.entries), value=first.name, label="Model", visible=len(entries) > 1, elem_id="model"
        )
        panels = [PANELS[kind][0](model, first, shelf, (limits, workspace)) for kind in kinds]
        with gr.Accordion(f"About the model {first.name}", open=False, visible=bool(first.card())) as about:
            card = gr.Markdown(first.card())

        @explained
        def choose(name: str) -> list[Any]:
            entry = shelf.entry(name)
            changed = [settings for kind in kinds for settings in PANELS[kind][1](entry)]
            return [gr.update(**settings) for settings in [*changed, *_about(entry)]]

        outputs = [component for panel in panels for component in panel.outputs]
        model.input(choose, model, [*outputs, about, card], api_visibility="private", show_progress="hidden")
    return page


def _about(entry: Entry) -> list[dict[str, Any]]:
    text = entry.card()
    return [{"label": f"About the model {entry.name}", "visible": bool(text)}, {"value": text}]
