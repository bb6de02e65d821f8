"""The page of `translate app` without a browser: models, limits, and what is done with what people upload."""

import json
import logging
import shutil
import socket
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import data_store
import numpy as np
import pydicom
import pytest
import torch
from conftest import ROOT
from skimage import data as skimage_data

from translate.checkpoint import CheckpointError
from translate.cli import main
from translate.data.drawing_style import DrawingStyle
from translate.data.images import ImageError, Picture, from_array, probe_picture, read_picture, write_picture
from translate.data.scans import ScanError
from translate.data.strokes import Strokes
from translate.model_folder import ModelConfig, build_network, save_model
from translate.networks import GENERATORS
from translate.pipelines import Pipeline, ScanDenoising, SuperResolution
from translate.pipelines.app import models as models_module
from translate.pipelines.app import server
from translate.pipelines.app.drawings import Wish, pad_value, strokes_of, translate_drawing, translate_strokes
from translate.pipelines.app.handlers import UNEXPECTED, explained
from translate.pipelines.app.models import Entry, Shelf, find_models
from translate.pipelines.app.pictures import Order, preview, translate_upload
from translate.pipelines.app.scan_view import slice_page, window_names, window_of
from translate.pipelines.app.scans import denoise_uploads, forget, unpack
from translate.pipelines.app.server import Address, AppError, Service
from translate.pipelines.app.uploads import Limits, Workspace, read_upload, safe_stem, to_screen, without_places
from translate.pipelines.inference import pretrained
from translate.pipelines.inference.derive_scan import ScanOptions
from translate.pipelines.inference.sketch_to_photo import SketchToPhoto

DATA = Path(data_store.__file__).parent / "data"
FACE = [[[20, 40], [64, 10], [108, 40], [64, 120], [20, 40]], [[50, 50]], [[78, 50]]]


def sketch_model(folder: Path, *, depth: int = 2, dropout: bool = False) -> Path:
    """An untrained U-Net of the task sketch_to_photo, for drawings of 128 x 128."""
    torch.manual_seed(0)
    arguments = {"in_channels": 1, "out_channels": 3, "width": 4, "depth": depth, "dropout": dropout}
    entry = {"name": "unet", "arguments": arguments, "input": {"channels": 1}, "output": {"channels": 3}}
    style = DrawingStyle(width=128, height=128, line_weight=2.0)
    config = ModelConfig.model_validate(
        {"task": "sketch_to_photo", "generators": {"generator": entry}, "drawing": style.model_dump()}
    )
    save_model(folder, config, {"generator": build_network(config.generators["generator"], GENERATORS)})
    return folder


def ct_slices(folder: Path, count: int = 2, side: int = 64, patient: str = "Zanzibar^Quux") -> Path:
    """A series of neighbouring pieces of a real head."""
    folder.mkdir()
    for index in range(count):
        dataset = pydicom.dcmread(DATA / "693_UNCR.dcm")
        start = 100 + 8 * index
        pixels = np.ascontiguousarray(dataset.pixel_array[start : start + side, 200 : 200 + side])
        dataset.PixelData, dataset.Rows, dataset.Columns = pixels.tobytes(), side, side
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = pydicom.uid.generate_uid()
        dataset.InstanceNumber, dataset.PatientName = index + 1, patient
        left, top, height = (float(part) for part in dataset.ImagePositionPatient)
        dataset.ImagePositionPatient = [left, top, height + 5 * index]
        dataset.save_as(folder / f"{index}.dcm")
    return folder


@pytest.fixture
def place(tmp_path: Path) -> tuple[Limits, Workspace]:
    workspace = Workspace(tmp_path / "downloads", tmp_path / "private")
    workspace.private.mkdir()
    return Limits(max_pixels=1_000_000, max_mb=5), workspace


@pytest.fixture
def sketcher(tmp_path: Path) -> SketchToPhoto:
    return SketchToPhoto.from_pretrained(sketch_model(tmp_path / "sketcher"))


@pytest.fixture(scope="module")
def enlarger() -> SuperResolution:
    return SuperResolution.from_pretrained("super-resolution-x2", device="cpu")


@pytest.fixture(scope="module")
def denoiser() -> ScanDenoising:
    return ScanDenoising.from_pretrained("ct-denoising", device="cpu")


def written(path: Path, array: np.ndarray) -> Path:
    write_picture(from_array(array), path)
    return path


# The models


def test_models_are_found_by_name_in_folders_and_below_runs_and_know_what_they_are_for(tmp_path, small_model):
    sketch_model(tmp_path / "runs" / "faces" / "model")
    shutil.copytree(tmp_path / "runs" / "faces" / "model", tmp_path / "runs" / "faces" / "best")
    shutil.copytree(small_model, tmp_path / "runs" / "horses")
    found = find_models(["super-resolution-x2", "ct-denoising", str(tmp_path / "runs"), str(small_model)])
    kinds = {name: entry.kind for name, entry in found.items()}
    assert kinds == {
        "super-resolution-x2": "picture",
        "ct-denoising": "scan",
        "faces": "drawing",
        "faces/best": "drawing",
        "horses": "picture",
        "small_model": "picture",
    }
    assert [name for name, entry in found.items() if entry.enlarges] == ["super-resolution-x2"]
    assert found["horses"].directions == ("a_to_b", "b_to_a")
    assert found["ct-denoising"].units == "HU"
    assert found["faces"].style.width == 128


def test_models_of_one_name_are_told_apart_and_one_that_is_named_twice_is_there_once(tmp_path):
    one, two = sketch_model(tmp_path / "a" / "x" / "model"), sketch_model(tmp_path / "b" / "x" / "model")
    assert list(find_models([str(one), str(two), str(one), str(tmp_path / "a")])) == ["x", "x (2)"]


def test_a_damaged_model_in_a_folder_of_models_is_left_out_and_named(tmp_path, caplog):
    sketch_model(tmp_path / "good")
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "config.json").write_text("{}")
    assert list(find_models([str(tmp_path)])) == ["good"]
    assert "left out" in caplog.text
    assert "bad" in caplog.text


def test_a_folder_without_models_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match="is no model folder, and holds none that can be read"):
        find_models([str(tmp_path)])


def test_a_name_that_is_no_model_is_refused():
    with pytest.raises(CheckpointError, match="there is no model 'nowhere'"):
        find_models(["nowhere"])


def test_a_pipeline_is_loaded_once_and_the_oldest_goes_when_there_are_too_many(monkeypatch):
    monkeypatch.setattr(models_module, "KEPT", 1)
    shelf = Shelf(find_models(["identity", "super-resolution-x2"]), "cpu")
    first = shelf.pipeline("identity")
    assert shelf.pipeline("identity") is first
    assert isinstance(shelf.pipeline("super-resolution-x2"), SuperResolution)
    assert shelf.pipeline("identity") is not first


def test_pipelines_of_a_page_compute_on_the_back_end_that_it_was_given(monkeypatch):
    asked = []

    def prepared(name, model):
        asked.append(name)
        return model.network

    monkeypatch.setattr(pretrained, "prepared", prepared)
    shelf = Shelf(find_models(["identity"]), "cpu", "openvino")
    assert shelf.pipeline("identity").backend == "openvino"
    assert Shelf(shelf.entries, "cpu").pipeline("identity").backend == "torch"
    assert asked == ["openvino"]


def test_both_directions_of_a_model_are_pipelines_of_their_own(small_model):
    shelf = Shelf(find_models([str(small_model)]), "cpu")
    assert shelf.pipeline("small_model").name == "a_to_b"
    assert shelf.pipeline("small_model", "b_to_a").name == "b_to_a"


def test_a_name_that_is_not_in_the_list_is_refused():
    with pytest.raises(CheckpointError, match=r"there is no model '\.\./secret' on this page"):
        Shelf(find_models(["identity"])).pipeline("../secret")


def test_the_card_of_a_model_has_no_header_no_pictures_and_an_end(tmp_path):
    folder = sketch_model(tmp_path / "model")
    entry = next(iter(find_models([str(folder)]).values()))
    assert entry.card() == ""
    lines = "\n".join(f"line {number}" for number in range(100))
    (folder / "README.md").write_text(
        f"---\nlicense: mit\n---\n# Title\n![x](http://a.b/c.png) <img src='http://a.b/d.png'>\n{lines}"
    )
    card = entry.card()
    assert card.startswith("# Title\n")
    assert "http" not in card
    assert "license" not in card
    assert card.endswith("line 57\n\n...")


def test_only_a_network_that_has_dropout_layers_gives_variations(tmp_path):
    def entry(**settings) -> Entry:
        folder = sketch_model(tmp_path / json.dumps(settings, sort_keys=True), **settings)
        return next(iter(find_models([str(folder)]).values()))

    assert entry(depth=6, dropout=True).varies
    assert not entry(depth=2, dropout=True).varies
    assert not entry(depth=2).varies
    assert not find_models(["identity"])["identity"].varies


def test_a_model_tells_the_size_of_its_training(tmp_path):
    entry = find_models(["identity"])["identity"]
    assert entry.trained_size is None
    trained = entry.config.model_copy(update={"recipe": {"data": {"resize": 96}}})
    assert replace(entry, config=trained).trained_size == 96


# Uploads


def test_an_upload_with_too_many_pixels_is_refused_before_it_is_decoded(tmp_path):
    path = written(tmp_path / "large.png", np.zeros((300, 200), np.uint8))
    path.write_bytes(path.read_bytes()[:60])  # decoding would fail
    with pytest.raises(ImageError, match=r"large.png has 200 x 300 pixels, 0.1 megapixels, and this page takes up to"):
        read_upload(path, Limits(max_pixels=59_999))
    assert read_upload(written(path, np.zeros((300, 200), np.uint8)), Limits(max_pixels=60_000)).pixels.any() == 0


def test_a_message_keeps_the_name_and_loses_the_folders():
    assert without_places("cannot read /srv/t-1/ab/my.png: bad, see /etc/x.y") == "cannot read my.png: bad, see x.y"
    assert without_places("give HU/SUV, or 3/4, see http://a.b/c/d") == "give HU/SUV, or 3/4, see http://a.b/c/d"


def test_a_name_for_a_download_is_harmless():
    assert safe_stem(Path("a/b c<script>é.tar.gz")) == "b_c_script_é.tar"
    assert safe_stem(Path("...")) == "picture"
    assert len(safe_stem(Path("x" * 300 + ".png"))) == 80


def test_the_screen_shows_every_value_type_alike_and_transparent_parts_white():
    grey = np.array([[0, 65535]], np.uint16)
    np.testing.assert_array_equal(to_screen(from_array(grey)), [[[0] * 3, [255] * 3]])
    half = from_array(np.array([[[0, 0, 0, 0], [200, 100, 0, 255]]], np.uint8))
    np.testing.assert_array_equal(to_screen(half), [[[255] * 3, [200, 100, 0]]])
    np.testing.assert_array_equal(to_screen(from_array(np.array([[np.nan, 2.0]], np.float32)))[0, :, 0], [0, 255])


# Pictures


def test_a_picture_comes_back_twice_as_large_as_the_pipeline_makes_it(tmp_path, enlarger, place):
    upload = written(tmp_path / "cat.png", skimage_data.chelsea()[:40, :50])
    done = translate_upload(enlarger, upload, Order(), place)
    assert done.before.shape == done.after.shape == (80, 100, 3)
    assert done.file.name == "cat-translated.png"
    expected = enlarger(str(upload), output_type="np")
    np.testing.assert_array_equal(read_picture(done.file).pixels, expected)
    np.testing.assert_array_equal(done.after, expected)
    assert done.summary == "50 x 40 → 100 x 80 pixels, 8 bits, colour, PNG"


def test_the_download_keeps_16_bits_and_has_the_size_that_was_asked_for(tmp_path, enlarger, place):
    upload = written(tmp_path / "deep.png", skimage_data.camera()[:40, :50].astype(np.uint16) * 257)
    done = translate_upload(enlarger, upload, Order(scale=3.0), place)
    info = probe_picture(done.file)
    assert (info.height, info.width, info.dtype, info.channels) == (120, 150, np.uint16, 1)
    assert done.before.dtype == done.after.dtype == np.uint8


def test_a_result_that_would_be_too_large_is_refused(tmp_path, enlarger, place):
    upload = written(tmp_path / "wide.png", np.zeros((400, 1000, 3), np.uint8))
    with pytest.raises(ImageError, match=r"the result would have 2000 x 800 pixels, 1.6 megapixels.*up to 1.0: choose"):
        translate_upload(enlarger, upload, Order(), place)
    with pytest.raises(ImageError, match="the result would have 2000 x 800"):  # made before it is reduced
        translate_upload(enlarger, upload, Order(scale=1.0), place)


def test_what_is_shown_is_reduced_and_the_download_is_not(tmp_path, place):
    identity = Pipeline.from_pretrained("identity", device="cpu")
    upload = written(tmp_path / "long.png", np.tile(np.arange(200, dtype=np.uint8), (10, 16)))
    assert preview(upload, place[0]).shape == (5, 1600, 3)
    done = translate_upload(identity, upload, Order(), place)
    assert done.before.shape == done.after.shape == (5, 1600, 3)
    assert read_picture(done.file).pixels.shape == (10, 3200, 1)
    assert "shown reduced to 1600 pixels" in done.summary


def test_a_picture_is_reduced_to_the_scale_of_the_training_where_that_is_wanted(tmp_path, place):
    identity = Pipeline.from_pretrained("identity", device="cpu")
    upload = written(tmp_path / "a.jpg", skimage_data.coffee()[:100, :200])
    done = translate_upload(identity, upload, Order(size=50), place)
    assert read_picture(done.file).pixels.shape == (50, 100, 3)
    assert done.file.suffix == ".png"


def test_progress_is_told_in_order(tmp_path, place):
    told = []
    identity = Pipeline.from_pretrained("identity", device="cpu")
    upload = written(tmp_path / "a.png", np.zeros((8, 8), np.uint8))
    translate_upload(identity, upload, Order(), place, lambda share, text: told.append((share, text)))
    assert [text for _, text in told] == ["reading", "translating 8 x 8 pixels", "writing"]
    assert sorted(told) == told


# Drawings


def test_what_is_drawn_on_the_pad_becomes_what_the_pipeline_makes_of_these_strokes(sketcher, place):
    value = {**pad_value(sketcher.style), "lines": FACE}
    drawn = translate_strokes(sketcher, value, Wish(), place[1])
    expected = sketcher(Strokes(FACE, 128, 128), output_type="np")
    assert (drawn.seen, drawn.steps, len(drawn.files)) == (None, (), 1)
    assert drawn.archive == drawn.files[0]
    np.testing.assert_array_equal(read_picture(drawn.archive).pixels, expected)
    other = translate_strokes(sketcher, {"lines": FACE[:1]}, Wish(), place[1])
    assert (read_picture(other.archive).pixels != expected).any()


def test_the_pad_has_the_frame_the_line_weight_and_the_tones_of_the_model():
    style = DrawingStyle(paper=0.0, ink=1.0, line_weight=3.5, width=96, height=64)
    look = {"width": 96, "height": 64, "line_weight": 3.5, "paper": 0, "ink": 255, "lines": []}
    assert pad_value(style) == look


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (None, "a drawing is"),
        ({"lines": "x"}, "a drawing is"),
        ({"lines": []}, "nothing has been drawn yet"),
        ({"lines": [["x"]]}, "line 1 must be a list of points"),
        ({"lines": [[[0, 1e400]]]}, "line 1 has a point that is not finite"),
    ],
)
def test_a_pad_that_holds_no_drawing_is_refused(value, message):
    with pytest.raises(ImageError, match=message):
        strokes_of(value, DrawingStyle())


def test_variations_differ_come_again_for_the_same_seed_and_can_be_downloaded_together(tmp_path, place):
    pipeline = SketchToPhoto.from_pretrained(sketch_model(tmp_path / "m", depth=6, dropout=True))

    def make(seed: int) -> list[np.ndarray]:
        drawn = translate_strokes(pipeline, {"lines": FACE}, Wish(2, seed), place[1])
        with zipfile.ZipFile(drawn.archive) as packed:
            assert packed.namelist() == [file.name for file in drawn.files] == ["drawing-1.png", "drawing-2.png"]
        return [read_picture(file).pixels for file in drawn.files]

    first, again, other = make(0), make(0), make(1)
    assert (first[0] != first[1]).any()
    np.testing.assert_array_equal(first, again)
    assert (first[0] != other[0]).any()


@pytest.mark.parametrize("count", [0, 9])
def test_too_many_variations_are_refused(count):
    with pytest.raises(ImageError, match=f"the number of variations is {count}, allowed are 1 to 8"):
        Wish(count)


def test_an_uploaded_drawing_is_cleaned_shown_and_explained(tmp_path, sketcher, place):
    drawing = read_picture(sorted((ROOT / "pipelines" / "pictures" / "sketch").iterdir())[3])
    dim = (drawing.pixels * 0.7).astype(np.uint8)  # paper in the shade
    upload = tmp_path / "paper.png"
    write_picture(Picture(dim), upload)
    drawn = translate_drawing(sketcher, upload, Wish(), True, place)
    cleaned = sketcher.clean(str(upload))
    np.testing.assert_array_equal(drawn.seen[..., :1], cleaned.picture.pixels)
    assert drawn.steps == cleaned.steps != ()
    expected = sketcher(cleaned.picture, output_type="np")
    np.testing.assert_array_equal(read_picture(drawn.archive).pixels, expected)


def test_an_uploaded_drawing_that_is_not_cleaned_is_only_brought_to_the_frame(tmp_path, sketcher, place):
    upload = written(tmp_path / "clean.png", np.full((256, 512), 200, np.uint8))
    drawn = translate_drawing(sketcher, upload, Wish(), False, place)
    assert drawn.steps == ("reduced to 256 x 128 pixels",)
    np.testing.assert_array_equal(np.unique(drawn.seen), [200])
    assert translate_drawing(sketcher, written(upload, np.zeros((90, 90), np.uint8)), Wish(), False, place).steps == ()


# Scans


def test_a_series_comes_back_derived_with_evidence_and_can_be_looked_at(tmp_path, denoiser, place):
    told = []
    series = sorted(ct_slices(tmp_path / "series").iterdir())
    session = denoise_uploads(denoiser, series, ScanOptions(), place, lambda share, text: told.append(text))
    (case,) = session.cases
    assert case.label == "CT, 2 slices of 64 x 64"
    assert told == ["unpacking", "slice 1 of 2", "slice 2 of 2", "packing"]
    with zipfile.ZipFile(session.archive) as packed:
        names = packed.namelist()
    assert sum(name.startswith("scan-1/denoised/") for name in names) == 2
    assert "scan-1/evidence/evidence.json" in names
    first, second = slice_page(case, 1, 40, 400), slice_page(case, 2, 40, 400)
    assert first.count("<img src=") == 3
    assert len({first, second, slice_page(case, 1, 40, 80)}) == 3
    view = case.view(0)
    np.testing.assert_array_equal(view.source, denoiser_input(series[0]))
    assert 0 < np.abs(view.change).max() < 200
    for text in (first, session.notes, case.label):
        assert "Zanzibar" not in str(text)
        assert str(tmp_path) not in str(text)
    forget(session)
    assert not session.folder.exists()
    assert not session.archive.exists()
    assert not any(place[1].private.iterdir())
    forget(None)


def denoiser_input(path: Path) -> np.ndarray:
    dataset = pydicom.dcmread(path)
    return dataset.pixel_array * float(dataset.RescaleSlope) + float(dataset.RescaleIntercept)


def test_a_zip_holds_several_series_and_what_is_wrong_with_one_is_told(tmp_path, denoiser, place):
    for name in ("a", "b"):
        ct_slices(tmp_path / name, count=1)
    for path in (tmp_path / "b").iterdir():
        dataset = pydicom.dcmread(path)
        dataset.SeriesInstanceUID = pydicom.uid.generate_uid()
        dataset.save_as(path)
    shutil.copy(DATA / "MR2_UNCR.dcm", tmp_path / "mr.dcm")
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as packed:
        for path in [*(tmp_path / "a").iterdir(), *(tmp_path / "b").iterdir(), tmp_path / "mr.dcm"]:
            packed.write(path, path.relative_to(tmp_path))
    session = denoise_uploads(denoiser, [tmp_path / "all.zip"], ScanOptions(), place)
    assert [case.label for case in session.cases] == ["1: CT, 1 slice of 64 x 64", "2: CT, 1 slice of 64 x 64"]
    assert any("MR" in note for note in session.notes)


def test_scans_that_the_model_is_not_for_are_refused_and_nothing_is_left(denoiser, place):
    with pytest.raises(ScanError, match="MR"):
        denoise_uploads(denoiser, [DATA / "MR2_UNCR.dcm"], ScanOptions(), place)
    assert not any(place[1].private.iterdir())


def test_files_that_are_no_scans_are_refused(tmp_path, denoiser, place):
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(ScanError, match="there is no scan in these files"):
        denoise_uploads(denoiser, [tmp_path / "notes.txt"], ScanOptions(), place)


def test_a_damaged_zip_is_refused(tmp_path):
    (tmp_path / "a.zip").write_bytes(b"PK not a zip")
    with pytest.raises(ScanError, match=r"a.zip cannot be unpacked \(File is not a zip file\): pack it again"):
        unpack([tmp_path / "a.zip"], tmp_path / "input", Limits())


def test_a_zip_that_unpacks_to_too_much_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("zeros", bytes(10_000_001))
    with pytest.raises(ScanError, match=r"bomb\.zip holds 1 files of 10 MB together, allowed are 5000 and 10 MB"):
        unpack([tmp_path / "bomb.zip"], tmp_path / "input", Limits(max_mb=1))
    (tmp_path / "plain").write_bytes(bytes(10_000_001))
    with pytest.raises(ScanError, match="the files hold more than 10 MB together"):
        unpack([tmp_path / "plain"], tmp_path / "input2", Limits(max_mb=1))


def test_no_name_in_a_zip_leads_out_of_the_folder(tmp_path):
    with zipfile.ZipFile(tmp_path / "evil.zip", "w") as packed:
        packed.writestr("../../outside", b"x")
        packed.writestr("/absolute", b"x")
    unpack([tmp_path / "evil.zip"], tmp_path / "a" / "b" / "input", Limits())
    inside = {path.name for path in (tmp_path / "a" / "b" / "input").rglob("*")}
    assert inside == {"outside", "absolute"}
    assert not (tmp_path / "outside").exists()
    assert not (tmp_path / "a" / "outside").exists()


def test_uploads_of_one_name_do_not_replace_one_another(tmp_path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "1.dcm").write_text(folder)
    unpack([tmp_path / "a" / "1.dcm", tmp_path / "b" / "1.dcm"], tmp_path / "input", Limits())
    assert {path.read_text() for path in (tmp_path / "input").iterdir()} == {"a", "b"}


def test_windows_are_those_of_ct_for_hounsfield_units_and_of_the_values_for_others(tmp_path, denoiser, place):
    files = sorted(ct_slices(tmp_path / "series", count=1).iterdir())
    case = denoise_uploads(denoiser, files, ScanOptions(), place).cases[0]
    assert window_names(case) == ["soft tissue", "brain", "lung", "bone", "full range"]
    assert window_of(case, "brain") == (40, 80)
    values = denoiser_input(files[0])
    assert window_of(case, "full range") == ((values.min() + values.max()) / 2, values.max() - values.min())
    stored = replace(case, source=replace(case.source, header=replace(case.source.header, units="stored")))
    assert window_names(stored) == ["auto", "full range"]
    low, high = case.display.windows[0].low, case.display.windows[0].high
    assert window_of(stored, "auto") == ((low + high) / 2, high - low)
    with pytest.raises(ScanError, match="there is no window 'brain' for this scan: choose one of auto, full range"):
        window_of(stored, "brain")
    with pytest.raises(ScanError, match="slice 2 is not in this scan: it has the slices 1 to 1"):
        slice_page(case, 2, 40, 400)
    with pytest.raises(ScanError, match="the width of the window is 0, it must be above 0"):
        slice_page(case, 1, 40, 0)


# Errors, the server and the command line


def test_our_errors_are_shown_without_folders_and_others_are_only_logged(caplog):
    import gradio

    @explained
    def ours() -> None:
        raise ImageError("cannot read /srv/secret/a.png: it is empty")

    @explained
    def theirs() -> None:
        raise RuntimeError("weights at /home/me/secret")

    with pytest.raises(gradio.Error) as shown:
        ours()
    assert shown.value.message == "Cannot read a.png: it is empty"
    assert not caplog.records
    with caplog.at_level(logging.ERROR), pytest.raises(gradio.Error) as hidden:
        theirs()
    assert hidden.value.message == UNEXPECTED
    assert "weights at /home/me/secret" in caplog.text


def test_a_port_that_is_taken_is_refused_and_0_is_a_free_one():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(AppError, match=r"cannot be served at 127.0.0.1, port \d+ \(.*\): give another --port"):
            Address(port=taken.getsockname()[1]).free()
    assert Address(port=0).free().port > 0


def test_settings_that_cannot_be_are_refused():
    with pytest.raises(AppError, match="--port 65536 is no port: give 1 to 65535, or 0"):
        Address(port=65536)
    with pytest.raises(AppError, match="--max-pixels must be at least 1, got 0"):
        Service(Limits(max_pixels=0))
    with pytest.raises(AppError, match="--max-mb must be at least 1, got -1"):
        Service(Limits(max_mb=-1))
    with pytest.raises(AppError, match="--queue must be at least 1, got 0"):
        Service(queue=0)


def test_without_gradio_the_command_says_what_to_install(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "gradio", None)
    assert main(["app", "identity", "--port", "0", "--device", "cpu"]) == 2
    assert 'the page needs Gradio: pip install "translate-images[app]"' in capsys.readouterr().err


def test_the_command_hands_its_options_on_and_warns_where_others_can_reach_the_page(monkeypatch, caplog):
    calls = []
    monkeypatch.setattr(server, "serve", lambda *arguments: calls.append(arguments))
    with caplog.at_level(logging.INFO):
        assert main(["app", "identity", "--device", "cpu", "--max-mb", "3"]) == 0
        assert not caplog.records
        assert main(["app", "identity", "--host", "0.0.0.0", "--port", "81", "--max-pixels", "9", "--queue", "2"]) == 0
    assert "anybody who can reach 0.0.0.0 in the network can open this page" in caplog.text
    (_, address, service, _), (_, open_address, open_service, _) = calls
    assert (address, service) == (Address("127.0.0.1", 7860), Service(Limits(max_mb=3)))
    assert (open_address, open_service) == (Address("0.0.0.0", 81), Service(Limits(max_pixels=9), 2))
