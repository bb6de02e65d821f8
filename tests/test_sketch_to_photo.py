"""Drawings to pictures: what the network saw in training is what it sees, at any size, from paper, pen or pad."""

import json
import logging
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import ROOT
from PIL import Image

import translate.pipelines
from translate.checkpoint import CheckpointError
from translate.cli import main
from translate.data.cleaning import clean_drawing
from translate.data.drawing_style import DrawingStyle
from translate.data.images import ImageError, Picture, from_array, read_picture, to_array, write_picture
from translate.data.imresize import imresize
from translate.data.strokes import draw_strokes
from translate.model_folder import ModelConfig, save_model
from translate.networks import Identity, UNet
from translate.pipelines import Pipeline, SketchToPhoto, Strokes, load_pipeline
from translate.pipelines.inference.folder import translate_file, translate_folder
from translate.pipelines.inference.plan import Options

SKETCHES = sorted((ROOT / "pipelines" / "pictures" / "sketch").iterdir())[:4]  # 128 x 128
STYLE = DrawingStyle(paper=1, ink=0.2, line_weight=2, width=128, height=128, coverage=0.9)
LINES = [[(20, 90), (64, 30), (108, 90)], [(64, 64)]]


def config_of(*, task="sketch_to_photo", style=STYLE, depth=6, dropout=True, recipe=None):
    arguments = {"in_channels": 1, "out_channels": 3, "width": 4, "depth": depth, "dropout": dropout}
    generator = {"name": "unet", "arguments": arguments, "input": {"channels": 1}, "output": {"channels": 3}}
    return ModelConfig(task=task, generators={"generator": generator}, drawing=style, recipe=recipe)


def network(config):
    torch.manual_seed(0)
    generator = UNet(**config.generators["generator"].arguments)
    for name, weights in generator.named_parameters():
        if name.endswith("weight"):
            torch.nn.init.normal_(weights, 0, 0.1)  # so that the deep levels, where dropout is, show
    return generator


def pipeline(**settings):
    config = config_of(**settings)
    return SketchToPhoto(network(config), config)


def identity(style=STYLE, **side):
    """A pipeline whose network changes nothing."""
    side = {"channels": 1, **side}
    entry = {"name": "identity", "arguments": {"in_channels": 1, "out_channels": 1}, "input": side, "output": side}
    config = ModelConfig(task="sketch_to_photo", generators={"generator": entry}, drawing=style)
    return SketchToPhoto(Identity(1, 1), config)


@pytest.fixture
def model(tmp_path):
    config = config_of()
    save_model(tmp_path / "model", config, {"generator": network(config)})
    return tmp_path / "model"


@pytest.fixture
def drawing():
    return to_array(read_picture(SKETCHES[0]))


@pytest.fixture
def folder(tmp_path):
    """Three drawings in a tree."""
    for name, source in zip(("a.png", "b.png", "sub/c.png"), SKETCHES, strict=False):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).write_bytes(source.read_bytes())
    return tmp_path / "in"


def visible(folder):
    files = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return sorted(path.as_posix() for path in files if not any(part.startswith(".") for part in path.parts))


def infer(*words):
    return main(["infer", *map(str, words), "--json"])


def pixels(path):
    return read_picture(path).pixels


# what training saw is what the network sees


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("style", [STYLE, None])
@pytest.mark.parametrize("size", [(128, 128), (103, 90), (160, 128)])  # 0.8 and 1.25 times the frame
def test_a_drawing_of_the_frames_scale_is_translated_as_every_pipeline_does(drawing, size, style, dtype):
    array = np.ascontiguousarray(np.pad(drawing, ((0, 32), (0, 0)), mode="edge")[: size[0], : size[1]])
    array = (
        (array / 255).astype(dtype)
        if dtype == np.float32
        else array.astype(dtype) * dtype(257 if dtype == np.uint16 else 1)
    )
    config = config_of(style=style)
    plain, ours = Pipeline(network(config), config), SketchToPhoto(network(config), config)
    expected = plain(array)
    result = ours(array)
    assert result.dtype == dtype
    assert result.shape == (*size, 3)
    np.testing.assert_array_equal(result, expected)
    assert torch.equal(ours.prepare(array).images, plain.prepare(array).images)


def test_a_model_that_does_not_know_its_frame_resizes_nothing(drawing):
    small = drawing[:40, :40]
    config = config_of(style=None)
    np.testing.assert_array_equal(
        SketchToPhoto(network(config), config)(small), Pipeline(network(config), config)(small)
    )
    assert SketchToPhoto(network(config), config).style == DrawingStyle()


@pytest.mark.parametrize(("size", "seen"), [((512, 384), (128, 96)), ((60, 40), (128, 85)), ((161, 20), (128, 16))])
def test_a_drawing_of_another_scale_is_seen_at_the_frames_and_comes_back_as_large_as_it_was(drawing, size, seen):
    array = imresize(drawing, size)
    pipe = pipeline()
    prepared = pipe.prepare(array)
    assert prepared.images.shape == (1, 1, *seen)
    values = (array / 127.5 - 1).astype(np.float32)
    model_space = np.clip(imresize(values, seen), values.min(), values.max())
    np.testing.assert_allclose(prepared.images[0, 0], model_space, atol=1e-5)
    result = pipe(array)
    assert result.shape == (*size, 3)
    assert result.dtype == np.uint8
    output = pipe.run(prepared.images)[0].numpy()
    expected = np.stack([np.clip(imresize(plane, size), output.min(), output.max()) for plane in output], axis=2)
    np.testing.assert_allclose(result, (expected + 1) * 127.5, atol=0.51)


def test_a_large_scan_is_seen_as_the_drawing_that_it_shows(drawing):
    grey = drawing
    seen = pipeline().prepare(np.kron(grey, np.ones((8, 8), np.uint8))).images[0, 0]
    assert np.abs((seen.numpy() + 1) * 127.5 - grey).mean() < 4


def test_a_resized_drawing_stays_between_ink_and_paper():
    edge = np.repeat([[0.0, 1.0]], 300, axis=1).repeat(400, axis=0).astype(np.float32)
    pipe = identity()
    seen = pipe.prepare(edge).images
    assert (seen.min(), seen.max()) == (-1, 1)  # the bicubic kernel alone overshoots
    result = pipe(edge)
    assert (result.min(), result.max()) == (0, 1)


def test_tensors_are_brought_to_the_frame_and_back_too(drawing):
    pipe = pipeline()
    images = torch.cat([pipe.prepare(array).images for array in (drawing, drawing[::-1].copy())])
    assert torch.equal(pipe(images), pipe.run(images))
    large = torch.nn.functional.interpolate(images, scale_factor=3)
    results = pipe(large)
    assert results.shape == (2, 3, 384, 384)
    torch.testing.assert_close(pipe(large[1]), results[1], rtol=0, atol=1e-5)


# alpha, kinds of input


@pytest.mark.parametrize("paper", [1.0, 0.8, 0.0])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_what_is_transparent_is_paper(paper, dtype):
    top = 255 if dtype == np.uint8 else 1
    pad = np.zeros((128, 128, 4), dtype)  # black ink, transparent where nothing was drawn
    pad[30:40, :, 3] = top
    pad[50:60, :, 3] = top * 0.4
    pad[..., :3] = top * 0.5
    pipe = identity(STYLE.model_copy(update={"paper": paper}))
    result = pipe(pad)
    assert result.shape == (128, 128)  # no alpha
    for row, expected in ((0, paper), (35, 0.5), (55, 0.4 * 0.5 + 0.6 * paper)):
        assert result[row, 5] / top == pytest.approx(expected, abs=0.005)


def test_what_is_given_comes_back(drawing, tmp_path):
    pipe = pipeline()
    expected = pipe(drawing)
    image = Image.open(SKETCHES[0])
    for given in (str(SKETCHES[0]), SKETCHES[0], image):
        result = pipe(given)
        assert isinstance(result, Image.Image)
        np.testing.assert_array_equal(np.asarray(result), expected)
    assert isinstance(pipe(read_picture(SKETCHES[0])), Picture)
    results = pipe(SKETCHES[:2])
    assert [type(result) for result in results] == [Image.Image, Image.Image]
    assert pipe([]) == []
    assert pipe(drawing, output_type="pt").shape == (3, 128, 128)
    assert next(pipe(path for path in SKETCHES)).size == (128, 128)


def test_the_stages_of_a_call_are_public(drawing):
    pipe = pipeline()
    prepared = pipe.prepare(imresize(drawing, (512, 512)))
    result = pipe.finish(pipe.run(prepared.images), prepared)
    np.testing.assert_array_equal(result.pixels, pipe(imresize(drawing, (512, 512))))


# strokes


def test_strokes_are_drawn_and_translated(tmp_path):
    pipe = pipeline()
    strokes = Strokes(LINES, 128, 128)
    expected = np.asarray(pipe(to_array(draw_strokes(strokes, STYLE))))
    (tmp_path / "a.json").write_text(json.dumps({"width": 128, "height": 128, "strokes": LINES}))
    for given in (strokes, LINES, [np.array(line) for line in LINES], tmp_path / "a.json", str(tmp_path / "a.json")):
        result = pipe(given)
        assert isinstance(result, Image.Image)
        np.testing.assert_array_equal(np.asarray(result), expected)
        assert torch.equal(pipe.prepare(given).images, pipe.prepare(strokes).images)
    several = pipe([LINES, strokes, SKETCHES[0]])  # a list of drawings
    np.testing.assert_array_equal(np.asarray(several[0]), expected)
    np.testing.assert_array_equal(np.asarray(several[1]), expected)
    assert len(several) == 3


def test_a_list_of_polylines_has_the_canvas_of_the_frame():
    pipe = identity(DrawingStyle(width=100, height=60))
    assert pipe(LINES).size == (100, 60)


def test_strokes_on_a_large_pad_look_to_the_network_as_on_one_of_the_frames_size():
    pipe = pipeline()
    small = pipe.prepare(Strokes(LINES, 128, 128)).images
    large = pipe.prepare(Strokes([4 * np.array(line) for line in LINES], 512, 512)).images
    assert (small < 0).sum() > 200
    assert (small - large).abs().mean() < 0.01
    assert (small - large).abs().max() < 0.5
    assert pipe(Strokes(LINES, 512, 512)).size == (512, 512)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([LINES, [[(1, 2, 3)]]], "cannot translate a int"),
        ([[(1, 2)], "a.png"], r"line 2 must be a list of points"),
        (LINES[0], "this is one polyline: a drawing is a list of them"),
        ("nothing.json", r"cannot read nothing\.json"),
        (3, "cannot translate a int: give a path"),
    ],
)
def test_what_is_no_drawing_is_refused(given, message):
    with pytest.raises(ImageError, match=message):
        pipeline()(given)


@pytest.mark.parametrize("given", [SKETCHES[:2], torch.zeros(1, 1, 64, 64)])
@pytest.mark.parametrize("method", ["prepare", "clean", "variations"])
def test_one_drawing_at_a_time_where_one_is_asked_for(method, given):
    words = [2] if method == "variations" else []
    with pytest.raises(ImageError, match=r"this takes one drawing, got a (list|Tensor): give a path, a PIL image"):
        getattr(pipeline(), method)(given, *words)


# variations


def test_variations_differ_and_a_call_does_not(drawing):
    pipe = pipeline()
    plain, again = pipe(drawing), pipe(drawing)
    np.testing.assert_array_equal(plain, again)
    results = pipe.variations(drawing, 4)
    assert len(results) == 4
    for index, result in enumerate(results):
        assert (result.shape, result.dtype) == (plain.shape, plain.dtype)
        others = [plain, *results[:index]]
        assert all(np.abs(result.astype(int) - other).mean() > 0.5 for other in others)
    np.testing.assert_array_equal(pipe(drawing), plain)


def test_a_variation_depends_on_its_seed_and_index_only(drawing):
    pipe = pipeline()
    four = pipe.variations(drawing, 4, seed=7)
    torch.manual_seed(123)
    for one, other in zip(pipe.variations(drawing, 2, seed=7), four, strict=False):
        np.testing.assert_array_equal(one, other)
    assert not np.array_equal(pipe.variations(drawing, 1, seed=8)[0], four[0])
    assert not np.array_equal(pipe.variations(drawing, 1, seed=8)[0], four[1])
    np.testing.assert_array_equal(pipe.variations(drawing, 1)[0], pipe.variations(drawing, 1, seed=0)[0])


def test_variations_are_of_float32_whatever_the_pipeline_computes_in(drawing):
    exact, fast = pipeline(), pipeline()
    fast.to("cpu", torch.bfloat16)
    assert not np.array_equal(fast(drawing), exact(drawing))
    np.testing.assert_array_equal(fast.variations(drawing, 1)[0], exact.variations(drawing, 1)[0])
    assert fast.dtype == torch.bfloat16


def test_variations_have_the_drawings_size_and_the_type_asked_for():
    pipe = pipeline()
    results = pipe.variations(Strokes(LINES, 300, 200), 2)
    assert [result.size for result in results] == [(300, 200)] * 2
    assert isinstance(pipe.variations(LINES, 1, output_type="picture")[0], Picture)


def test_threads_do_not_disturb_each_others_variations(drawing):
    pipe = pipeline()
    plain, expected = pipe(drawing), pipe.variations(drawing, 3, seed=1)
    results = {}

    def vary():
        results["variations"] = pipe.variations(drawing, 3, seed=1)

    def call():
        results["calls"] = [pipe(drawing) for _ in range(6)]

    threads = [threading.Thread(target=work) for work in (vary, call)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    np.testing.assert_array_equal(results["variations"], expected)
    for result in results["calls"]:
        np.testing.assert_array_equal(result, plain)


@pytest.mark.parametrize(
    ("count", "seed", "message"),
    [
        (0, 0, "count must be a whole number from 1 to 64, got 0"),
        (65, 0, "count must be a whole number from 1 to 64, got 65"),
        (2.0, 0, r"count must be a whole number from 1 to 64, got 2\.0"),
        (True, 0, "count must be a whole number from 1 to 64, got True"),
        (1, -1, "seed must be a whole number from 0 to 9223372036854775807, got -1"),
        (1, 2**63, "seed must be a whole number from 0 to"),
        (1, "1", "seed must be a whole number from 0 to 9223372036854775807, got '1'"),
    ],
)
def test_numbers_of_variations_that_cannot_be_are_refused(drawing, count, seed, message):
    with pytest.raises(ImageError, match=message):
        pipeline().variations(drawing, count, seed)


@pytest.mark.parametrize(("dropout", "depth"), [(False, 6), (True, 5)])
def test_a_model_without_dropout_has_no_variations(drawing, dropout, depth):
    message = r"no dropout layers, .* generator\.dropout true \(a U-Net has them from generator\.depth 6 on\)"
    with pytest.raises(ImageError, match=message):
        pipeline(dropout=dropout, depth=depth).variations(drawing, 1)


# cleaning


def photo_of_paper():
    """A drawing on grey paper in uneven light, one and a half times as large as the frame."""
    grey = imresize(read_picture(SKETCHES[0]).pixels.mean(axis=2), (192, 192))
    light = np.linspace(0.5, 0.9, 192)[None, :]
    return np.clip(grey * light, 0, 255).astype(np.uint8)


def test_a_drawing_can_be_cleaned_first():
    pipe, photo = pipeline(), photo_of_paper()
    cleaned = pipe.clean(photo)
    expected = clean_drawing(from_array(photo), STYLE)
    np.testing.assert_array_equal(cleaned.picture.pixels, expected.picture.pixels)
    assert cleaned.steps == expected.steps
    result = pipe(photo, clean=True)
    assert result.shape == (128, 128, 3)
    np.testing.assert_array_equal(result, pipe(cleaned.picture.pixels))
    assert pipe(photo).shape == (192, 192, 3)
    np.testing.assert_array_equal(pipe.variations(photo, 2, clean=True), pipe.variations(cleaned.picture.pixels, 2))
    prepared = pipe.with_settings(clean=True).prepare(photo)
    assert prepared.cleaned.steps == cleaned.steps
    assert pipe.prepare(photo).cleaned is None


def test_cleaning_is_a_setting_that_a_call_can_change():
    pipe, photo = pipeline(), photo_of_paper()
    cleaner = pipe.with_settings(clean=True)
    assert (pipe.cleans, cleaner.cleans, cleaner.with_settings().cleans) == (False, True, True)
    np.testing.assert_array_equal(cleaner(photo), pipe(photo, clean=True))
    np.testing.assert_array_equal(cleaner(photo, clean=False), pipe(photo))
    assert cleaner.generator is pipe.generator
    assert pipe.fingerprint() != cleaner.fingerprint()
    assert pipe.fingerprint() == cleaner.with_settings(clean=False).fingerprint()


def test_tensors_cannot_be_cleaned():
    with pytest.raises(ImageError, match="cleaning takes a drawing, not a tensor: give a path, an image"):
        pipeline()(torch.zeros(1, 128, 128), clean=True)


# loading


def test_the_pipeline_is_found_by_the_task(model):
    pipe = load_pipeline(model)
    assert type(pipe) is SketchToPhoto
    assert pipe.style == STYLE
    assert type(SketchToPhoto.from_pretrained(model)) is SketchToPhoto
    with pytest.raises(
        CheckpointError, match=r"which Pipeline does not do: load it with SketchToPhoto\.from_pretrained"
    ):
        Pipeline.from_pretrained(model)
    with pytest.raises(CheckpointError, match="a model of the task 'identity', which SketchToPhoto does not do"):
        SketchToPhoto.from_pretrained("identity")
    assert set(translate.pipelines.__all__) >= {"SketchToPhoto", "Strokes"}


def test_a_saved_pipeline_keeps_its_frame(model, tmp_path):
    load_pipeline(model).save_pretrained(tmp_path / "again")
    assert load_pipeline(tmp_path / "again").style == STYLE


# files and folders


def test_a_folder_is_translated_as_single_calls_are(model, folder, tmp_path, capsys):
    write_picture(from_array(photo_of_paper()), folder / "large.png")
    assert infer(model, folder, tmp_path / "out", "--batch-size", "4") == 0
    assert visible(tmp_path / "out") == ["a.png", "b.png", "large.png", "report.jsonl", "sub/c.png"]
    pipe = load_pipeline(model)
    for name in visible(folder):
        result, expected = pixels(tmp_path / "out" / name), np.asarray(pipe(folder / name))
        assert np.abs(result.astype(int) - expected).max() <= 1  # of a batch, the last bits may differ
    assert infer(model, folder, tmp_path / "out") == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["skipped"] == 4


def test_a_cleaned_drawing_lies_beside_its_result(model, folder, tmp_path, capsys):
    out = tmp_path / "out"
    assert infer(model, folder, out, "--clean") == 0
    names = ["a.cleaned.png", "a.png", "b.cleaned.png", "b.png", "report.jsonl", "sub/c.cleaned.png", "sub/c.png"]
    assert visible(out) == names
    pipe = load_pipeline(model)
    entries = {entry["file"]: entry for entry in map(json.loads, (out / "report.jsonl").read_text().splitlines())}
    for name in visible(folder):
        cleaned = pipe.clean(folder / name)
        np.testing.assert_array_equal(pixels((out / name).with_suffix(".cleaned.png")), cleaned.picture.pixels)
        assert entries[name]["cleaning"] == list(cleaned.steps)
        np.testing.assert_array_equal(pixels(out / name), np.asarray(pipe(folder / name, clean=True)))


def test_what_was_cleaned_is_done_again_only_if_something_is_missing(model, folder, tmp_path):
    pipe, out = load_pipeline(model).with_settings(clean=True), tmp_path / "out"
    translate_folder(pipe, folder, out)
    assert translate_folder(pipe, folder, out)["skipped"] == 3
    (out / "b.cleaned.png").unlink()
    summary = translate_folder(pipe, folder, out)
    assert (summary["done"], summary["skipped"]) == (1, 2)
    assert (out / "b.cleaned.png").is_file()
    assert translate_folder(pipe.with_settings(clean=False), folder, out)["done"] == 3


def test_a_cleaned_drawing_takes_no_place_of_another_file(model, folder, tmp_path):
    pipe = load_pipeline(model).with_settings(clean=True)
    (folder / "a.cleaned.png").write_bytes((folder / "b.png").read_bytes())
    summary = translate_folder(pipe, folder, tmp_path / "out")
    assert (summary["done"], summary["failed"]) == (3, 1)
    assert "its cleaned drawing would be written as a.cleaned.png, the place of another file" in (
        (tmp_path / "out" / "report.jsonl").read_text()
    )
    inner = tmp_path / "x" / "in"  # translated into x: in/b.png of it would have its cleaned drawing among the inputs
    (inner / "in").mkdir(parents=True)
    (inner / "in" / "b.png").write_bytes((folder / "b.png").read_bytes())
    (inner / "b.cleaned.jpg").write_bytes((folder / "b.png").read_bytes())
    before = (inner / "b.cleaned.jpg").read_bytes()
    translate_folder(pipe, inner, tmp_path / "x", Options(format=".jpg"))
    assert (inner / "b.cleaned.jpg").read_bytes() == before


@pytest.mark.parametrize("words", [(), ("--clean",), ("--variations", "2"), ("--variations", "2", "--clean")])
@pytest.mark.parametrize("source", ["a.png", "strokes.json"])
def test_a_single_drawing_gets_what_was_asked_for(model, folder, tmp_path, capsys, source, words):
    (folder / "strokes.json").write_text(json.dumps({"width": 300, "height": 300, "strokes": LINES}))
    out = tmp_path / "new" / "face.png"
    assert infer(model, folder / source, out, *words) == 0
    summary = json.loads(capsys.readouterr().out)
    expected = ["face-1.png", "face-2.png"] if "--variations" in words else ["face.png"]
    expected += ["face.cleaned.png"] if "--clean" in words else []
    assert visible(out.parent) == sorted(expected)
    assert summary["output"] == str(out.parent / expected[0])
    assert summary.get("outputs", [summary["output"]]) == [str(out.parent / name) for name in expected]
    pipe = load_pipeline(model).with_settings(clean="--clean" in words)
    results = pipe.variations(folder / source, 2) if "--variations" in words else [pipe(folder / source)]
    for name, result in zip(expected, results, strict=False):
        np.testing.assert_array_equal(pixels(out.parent / name), np.asarray(result))


def test_what_was_cleaned_is_said(model, folder, tmp_path, capsys, caplog):
    steps = "; ".join(load_pipeline(model).clean(folder / "a.png").steps)
    with caplog.at_level(logging.INFO):
        assert main(["infer", str(model), str(folder / "a.png"), str(tmp_path / "b.png"), "--clean"]) == 0
    assert f"a.png was cleaned: {steps}" in caplog.text
    assert capsys.readouterr().out == f"written: {tmp_path / 'b.png'}, {tmp_path / 'b.cleaned.png'}\n"


def test_a_single_drawing_goes_into_a_folder_under_its_own_name(model, folder, tmp_path, capsys):
    (folder / "strokes.json").write_text(json.dumps({"width": 300, "height": 300, "strokes": LINES}))
    assert infer(model, folder / "a.png", tmp_path / "out", "--variations", "2", "--seed", "5", "--format", "webp") == 0
    assert visible(tmp_path / "out") == ["a-1.webp", "a-2.webp"]
    expected = load_pipeline(model).variations(folder / "a.png", 2, seed=5)
    np.testing.assert_array_equal(pixels(tmp_path / "out" / "a-2.webp"), np.asarray(expected[1]))
    assert (
        translate_file(load_pipeline(model), folder / "strokes.json", tmp_path / "o2")
        == tmp_path / "o2" / "strokes.png"
    )


@pytest.mark.parametrize(("source", "words"), [("a-1.png", ("--variations", "2")), ("a.cleaned.png", ("--clean",))])
def test_no_output_of_several_takes_the_place_of_the_input(model, folder, capsys, source, words):
    (folder / "a.png").rename(folder / source)
    before = visible(folder)
    assert infer(model, folder / source, folder / "a.png", *words) == 2
    assert f"an output would take the place of {folder / source}: give another name" in capsys.readouterr().err
    assert visible(folder) == before


def test_a_size_reduces_a_drawing_first(model, folder, tmp_path, capsys):
    (folder / "strokes.json").write_text(json.dumps({"width": 300, "height": 200, "strokes": LINES}))
    assert infer(model, folder / "strokes.json", tmp_path / "b.png", "--size", "100") == 0
    assert pixels(tmp_path / "b.png").shape == (100, 150, 3)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("in/a.png", "b.png", "--seed", "1"), "--seed is of the variations: give --variations N too, or leave it out"),
        (("in", "out", "--variations", "2"), "--variations are of one drawing, and {}/in is a folder: give one file"),
        (("in/a.png", "b.png", "--variations", "0"), "count must be a whole number from 1 to 64, got 0"),
        (("in/a.png", "b.png", "--variations", "2", "--seed", "-1"), "seed must be a whole number from 0"),
        (("in/a.png", "b.png", "--scale", "2"), "--scale cannot be used with {}/model: its task is 'sketch_to_photo'"),
        (("in/bad.json", "b.png"), "cannot read {}/in/bad.json: the strokes are not valid JSON"),
    ],
)
def test_options_that_make_no_sense_are_refused(model, folder, tmp_path, capsys, words, message):
    (folder / "bad.json").write_text("{")
    paths = [tmp_path / word for word in words[:2]]
    assert infer(model, *paths, *words[2:]) == 2
    assert message.format(tmp_path) in capsys.readouterr().err
    assert visible(tmp_path) == visible(tmp_path)
    assert not (tmp_path / "b.png").exists()
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("--clean",), "--clean"),
        (("--variations", "2", "--seed", "0"), "--variations, --seed"),
        ((), "strokes as in {}/in/a.json"),
    ],
)
def test_options_for_drawings_are_refused_with_other_models(folder, tmp_path, capsys, words, named):
    (folder / "a.json").write_text(json.dumps({"width": 300, "height": 300, "strokes": LINES}))
    source = folder / ("a.png" if words else "a.json")
    assert infer("identity", source, tmp_path / "b.png", *words) == 2
    expected = f"{named.format(tmp_path)} cannot be used with identity: its task is 'identity', and only models of"
    assert expected in capsys.readouterr().err
    assert not (tmp_path / "b.png").exists()


def test_options_for_drawings_are_refused_with_scans(tmp_path, capsys):
    pytest.importorskip("pydicom")
    from pydicom.data import get_testdata_file

    source = Path(str(get_testdata_file("CT_small.dcm")))
    assert infer("identity", source, tmp_path / "out", "--clean", "--seed", "0") == 2
    assert f"--clean, --seed cannot be used with {source}: it holds scans" in capsys.readouterr().err


@pytest.mark.parametrize(("style", "hinted"), [(STYLE, False), (None, True)])
def test_a_model_that_knows_its_frame_needs_no_hint_at_the_scale(folder, tmp_path, capsys, caplog, style, hinted):
    config = config_of(style=style, recipe={"data": {"resize": 128}})
    save_model(tmp_path / "model", config, {"generator": network(config)})
    with caplog.at_level(logging.INFO):
        assert infer(tmp_path / "model", folder / "a.png", tmp_path / "b.png") == 0
    assert ("--size 128 reduces them first" in caplog.text) is hinted
