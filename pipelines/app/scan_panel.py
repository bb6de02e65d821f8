"""The part of the page for models that denoise scans: series up, slices before and after, derived series down."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import gradio as gr

from translate.contract import CAN_BE_ALLOWED
from translate.data.dicom_geometry import ALLOWED
from translate.data.scan_output import UNITS
from translate.data.scans import ScanError
from translate.pipelines.app.handlers import SCANS, explained, reporting
from translate.pipelines.app.models import Entry, Shelf
from translate.pipelines.app.scan_view import slice_page, window_names, window_of
from translate.pipelines.app.scans import Case, Session, denoise_uploads, forget
from translate.pipelines.app.uploads import Limits, Workspace, without_places
from translate.pipelines.inference.derive_scan import ScanOptions
from translate.pipelines.inference.scan_denoising import ScanDenoising

NOTICE = (
    "**Research only.** What comes out is AI-processed: not a medical device, not for diagnosis. Compare every finding "
    "with the input, and look at the residual: no anatomy may be in it."
)
KEPT_SECONDS = 3600  # of what was uploaded, after the last time that it was denoised
AS_SAID = "as the files say"


@dataclass(frozen=True)
class ScanPanel:
    """What of the panel depends on the model."""

    group: gr.Column

    @property
    def outputs(self) -> list[Any]:
        return [self.group]


@dataclass(frozen=True)
class _Viewer:
    """The components that show a session."""

    group: gr.Column
    case: gr.Dropdown
    number: gr.Slider
    preset: gr.Radio
    centre: gr.Number
    width: gr.Number
    page: gr.HTML

    @property
    def outputs(self) -> list[Any]:
        return [self.group, self.case, self.number, self.preset, self.centre, self.width, self.page]


def scan_settings(entry: Entry) -> list[dict[str, Any]]:
    """Of the panel's `outputs`, for a model."""
    return [{"visible": entry.kind == "scan"}]


def scan_panel(model: gr.Dropdown, entry: Entry, shelf: Shelf, place: tuple[Limits, Workspace]) -> ScanPanel:
    """Build the panel as it is for `entry`."""
    (of_group,) = scan_settings(entry)
    with gr.Column(**of_group) as group:
        gr.Markdown(NOTICE, elem_id="notice")
        with gr.Row(equal_height=True):
            upload = gr.File(
                label=f"DICOM files, zip or NIfTI, {place[0].max_mb} MB each",
                file_count="multiple",
                height=150,
                elem_id="scan-upload",
            )
            with gr.Column(min_width=260):
                units = gr.Dropdown([AS_SAID, *UNITS], value=AS_SAID, label="Units of the values")
                with gr.Accordion("Let pass what is refused otherwise", open=False):
                    allow = gr.CheckboxGroup(sorted({*ALLOWED, *CAN_BE_ALLOWED}), show_label=False, container=False)
                button = gr.Button("Denoise", variant="primary", elem_id="scan-go")
        status = gr.Markdown(elem_classes="quiet", elem_id="scan-status")
        viewer = _viewer()
        download = gr.DownloadButton("Download series and evidence (zip)", visible=False, elem_id="scan-download")
    session = gr.State(None, time_to_live=KEPT_SECONDS, delete_callback=forget)
    button.click(
        _denoise(shelf, place),
        [model, upload, units, allow, session],
        [session, status, download, *viewer.outputs],
        concurrency_id=SCANS,
        api_name="scan",
        show_progress_on=upload,
    )
    _connect(viewer, session)
    return ScanPanel(group)


def _viewer() -> _Viewer:
    with gr.Column(visible=False, elem_id="scan-viewer") as group:
        with gr.Row():
            case = gr.Dropdown(label="Series", visible=False, type="index")
            number = gr.Slider(1, 2, value=1, step=1, label="Slice", elem_id="scan-slice", scale=2)
        with gr.Row():
            preset = gr.Radio([], label="Window", elem_id="scan-window", scale=3, min_width=300)
            centre = gr.Number(label="Centre", min_width=90, elem_id="scan-centre")
            width = gr.Number(label="Width", min_width=90, elem_id="scan-width")
        page = gr.HTML(elem_id="scan-slices", padding=False)
    return _Viewer(group, case, number, preset, centre, width, page)


def _connect(viewer: _Viewer, session: gr.State) -> None:
    """Draw the slice anew when the series, the slice or the window changes."""

    @explained
    def draw(
        session: Session | None, case: int | None, number: float, centre: float | None, width: float | None
    ) -> str:
        if centre is None or width is None:
            raise ScanError("the window has no centre or no width: give numbers, or choose one by its name")
        return slice_page(_case(session, case), int(number), centre, width)

    @explained
    def choose_case(session: Session | None, case: int | None) -> list[Any]:
        return _viewing(_case(session, case))

    @explained
    def choose_window(
        session: Session | None, case: int | None, number: float, preset: str
    ) -> tuple[float, float, str]:
        chosen = _case(session, case)
        centre, width = window_of(chosen, preset)
        return centre, width, slice_page(chosen, int(number), centre, width)

    private: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
    drawn = [session, viewer.case, viewer.number, viewer.centre, viewer.width]
    viewer.number.input(draw, drawn, viewer.page, trigger_mode="always_last", **private)
    for entered in (viewer.centre, viewer.width):  # not at every digit
        gr.on([entered.submit, entered.blur], draw, drawn, viewer.page, **private)
    viewer.case.input(choose_case, [session, viewer.case], viewer.outputs[2:], **private)
    chosen = [session, viewer.case, viewer.number, viewer.preset]
    viewer.preset.input(choose_window, chosen, [viewer.centre, viewer.width, viewer.page], **private)


def _case(session: Session | None, index: int | None) -> Case:
    if session is None:
        raise ScanError("this series is not here any more: upload it again")
    return session.cases[min(index or 0, len(session.cases) - 1)]


def _viewing(case: Case) -> list[Any]:
    """Of the viewer's slice, preset, centre, width and page: the middle slice through the first window."""
    count = case.source.header.shape[0]
    middle, names = count // 2 + 1, window_names(case)
    centre, width = window_of(case, names[0])
    return [
        gr.update(minimum=1, maximum=max(count, 2), value=middle, visible=count > 1, label=f"Slice, 1 to {count}"),
        gr.update(choices=names, value=names[0]),
        centre,
        width,
        slice_page(case, middle, centre, width),
    ]


def _denoise(shelf: Shelf, place: tuple[Limits, Workspace]) -> Any:
    @explained
    def denoise(
        name: str,
        paths: list[str] | None,
        units: str,
        allow: list[str],
        session: Session | None,
        progress: gr.Progress = gr.Progress(),  # noqa: B008  Gradio looks for it there
    ) -> list[Any]:
        if not paths:
            raise ScanError("no scan has been given yet: upload DICOM files, a zip of them, or NIfTI")
        pipeline = cast(ScanDenoising, shelf.pipeline(name))
        said = None if units == AS_SAID else units
        options = ScanOptions(allow=frozenset(allow), units=said, synthetic=pipeline.synthetic)
        made = denoise_uploads(pipeline, [Path(path) for path in paths], options, place, reporting(progress))
        forget(session)
        labels = [case.label for case in made.cases]
        return [
            made,
            _in_words(made),
            gr.update(value=str(made.archive), visible=True),
            gr.update(visible=True),
            gr.update(choices=labels, value=labels[0], visible=len(labels) > 1),
            *_viewing(made.cases[0]),
        ]

    return denoise


def _in_words(session: Session) -> str:
    done = "; ".join(case.label for case in session.cases)
    notes = "".join(f"\n- {note}" for note in session.notes)
    return f"Denoised: {done}." + (f"\n{without_places(notes)}" if notes else "")
