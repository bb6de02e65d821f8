"""translate preprocess sketches: derived and real drawings, what is left out, the manifest, and running again."""

import json

import cv2
import numpy as np
import pytest
from skimage import data as skimage_data

from translate.cli import main
from translate.data.drawing_place import Place, move_drawing
from translate.data.folders import pair_folders
from translate.data.images import ImageError, Picture, from_array, read_picture, write_picture
from translate.data.sketch import STYLES, SketchSettings, draw_style, sketch
from translate.data.splits import DataConfig, find_training
from translate.pipelines.journal import FOLDER
from translate.pipelines.preprocessing.dataset import Options
from translate.pipelines.preprocessing.sketches import Deriving, prepare_sketches

NAMES = ("astronaut", "camera", "chelsea", "sub/coffee")


def photograph(name, width=96):
    """A photograph reduced to this width; the camera is grey."""
    whole = getattr(skimage_data, name.rpartition("/")[2])()
    return cv2.resize(whole, (width, round(whole.shape[0] * width / whole.shape[1])), interpolation=cv2.INTER_AREA)


@pytest.fixture
def photos(tmp_path):
    """photos/: four photographs of different sizes, one of them in sub/."""
    for name in NAMES:
        (tmp_path / "photos" / name).parent.mkdir(parents=True, exist_ok=True)
        write_picture(from_array(photograph(name)), tmp_path / "photos" / f"{name}.png")
    return tmp_path / "photos"


@pytest.fixture
def drawings(tmp_path, photos):
    """drawings/: of the same photographs, the astronaut's misplaced by 10 pixels."""
    for name in NAMES:
        drawing = sketch(from_array(photograph(name)), draw_style(1, ["pencil"]))
        if name == "astronaut":
            drawing = move_drawing(drawing, Place(right=-10))
        (tmp_path / "drawings" / name).parent.mkdir(parents=True, exist_ok=True)
        write_picture(drawing, tmp_path / "drawings" / f"{name}.png")
    return tmp_path / "drawings"


def prepare(capsys, *words):
    """Run translate preprocess sketches ... --json: the exit code and the summary."""
    capsys.readouterr()
    code = main(["preprocess", "sketches", *map(str, words), "--json"])
    return code, json.loads(capsys.readouterr().out)


def refusal(capsys, *words):
    """The message of a command that could not be started."""
    capsys.readouterr()
    assert main(["preprocess", "sketches", *map(str, words)]) == 2
    captured = capsys.readouterr()
    assert (captured.out, "Traceback" in captured.err) == ("", False)
    return captured.err


def manifest(out):
    return json.loads((out / "dataset.json").read_text())


def pixels(path):
    return read_picture(path).pixels


def files(folder):
    """Every visible file below a folder with its content."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and FOLDER not in path.parts
    }


def places(folder):
    """Inode and time of every file but the manifest, which is written anew."""
    status = {name: (folder / name).stat() for name in files(folder) if name != "dataset.json"}
    return {name: (stat.st_ino, stat.st_mtime_ns) for name, stat in status.items()}


# Derived drawings


def test_a_folder_of_photographs_becomes_pairs_that_training_accepts(photos, tmp_path, capsys):
    code, summary = prepare(capsys, photos, tmp_path / "out", "--val", 0.25)
    assert (code, summary["splits"], summary["failed"], summary["left_whole"]) == (0, {"train": 3, "val": 1}, 0, [])
    assert len(find_training(DataConfig(folder=tmp_path / "out")).pairs) == 3
    for split in ("train", "val"):
        for pair in pair_folders(tmp_path / "out" / split / "source", tmp_path / "out" / split / "target"):
            drawing, target = read_picture(pair.source), read_picture(pair.target)
            assert pair.target.read_bytes() == (photos / f"{pair.name}.png").read_bytes()
            assert (drawing.pixels.dtype, drawing.pixels.shape) == (np.uint8, (*target.pixels.shape[:2], 1))
            assert np.median(drawing.pixels) > 200


def test_each_drawing_is_made_again_from_its_target_and_the_manifest(photos, tmp_path, capsys):
    prepare(capsys, photos, tmp_path / "out", "--copies", 2, "--size", 48, "--paper", "textured")
    made = manifest(tmp_path / "out")["files"]
    sources = [name for name in made if "/source/" in name]
    assert len(sources) == 8
    for name in sources:
        target = read_picture(tmp_path / "out" / name.replace("/source/", "/target/"))
        assert min(target.pixels.shape[:2]) == 48
        again = sketch(target, SketchSettings.from_json(made[name]["sketch"]))
        assert np.array_equal(again.pixels, pixels(tmp_path / "out" / name))


def test_copies_differ_in_style_and_stay_in_one_split(photos, tmp_path, capsys):
    _, summary = prepare(capsys, photos, tmp_path / "out", "--copies", 4, "--val", 0.5)
    assert summary["splits"] == {"train": 8, "val": 8}
    made = manifest(tmp_path / "out")["files"]
    by_photo = {}
    for name, entry in made.items():
        split, side, rest = name.split("/", 2)
        if side == "source":
            by_photo.setdefault(rest.rpartition("_")[0], []).append((split, entry["sketch"]["style"]))
    assert set(by_photo) == set(NAMES)
    for copies in by_photo.values():
        assert len({split for split, _ in copies}) == 1
        assert sorted(style for _, style in copies) == sorted(STYLES)
    assert (tmp_path / "out" / "train").exists()


def test_copies_of_one_style_differ_in_strength(photos, tmp_path, capsys):
    prepare(capsys, photos, tmp_path / "out", "--styles", "canny", "--copies", 3, "--val", 0, "--size", 48)
    assert len({(tmp_path / f"out/train/source/camera_{copy}.png").read_bytes() for copy in (1, 2, 3)}) == 3


def test_only_the_styles_that_are_asked_for_are_drawn(photos, tmp_path, capsys):
    prepare(capsys, photos, tmp_path / "out", "--styles", "dog", "xdog", "--copies", 3, "--val", 0)
    made = manifest(tmp_path / "out")
    assert {entry["sketch"]["style"] for entry in made["files"].values() if "sketch" in entry} == {"dog", "xdog"}
    assert made["splits"]["train"]["styles"] == ["dog", "xdog"]


def test_workers_change_nothing_and_the_seed_changes_drawings_alone(photos, tmp_path, capsys):
    words = ("--copies", 2, "--paper", "textured", "--foreground", "grabcut", "--split", "train")
    prepare(capsys, photos, tmp_path / "1", *words, "--workers", 1)
    prepare(capsys, photos, tmp_path / "3", *words, "--workers", 3)
    prepare(capsys, photos, tmp_path / "other", *words, "--seed", 1)
    one, other = files(tmp_path / "1"), files(tmp_path / "other")
    assert one == files(tmp_path / "3")
    assert one.keys() == other.keys()
    changed = {name for name in one if one[name] != other[name]}
    assert changed == {name for name in one if "/source/" in name} | {"dataset.json"}


def test_what_is_done_is_kept_and_what_is_missing_is_made_again(photos, tmp_path, capsys):
    out = tmp_path / "out"
    words = (photos, out, "--copies", 2)
    prepare(capsys, *words)
    before, kept = files(out), places(out)
    prepare(capsys, *words)
    assert places(out) == kept
    lost, changed = (path for path in sorted(out.glob("train/source/*.png"))[:2])
    lost.unlink()
    changed.write_bytes(b"changed")
    prepare(capsys, *words)
    assert files(out) == before
    untouched = {name for name in before if name.rpartition("/")[2] not in (lost.name, changed.name)}
    assert all(places(out)[name] == kept[name] for name in untouched if name in kept)


def test_other_options_replace_drawings_and_remove_copies(photos, tmp_path, capsys):
    given = [("--copies", 3), ("--styles", "dog"), ("--styles", "dog", "--seed", 1), ("--styles", "dog", "--size", 40)]
    for number, words in enumerate(given):
        prepare(capsys, photos, tmp_path / "out", *words)
        prepare(capsys, photos, tmp_path / f"new{number}", *words)
        assert files(tmp_path / "out") == files(tmp_path / f"new{number}")


def test_splits_from_two_folders(photos, tmp_path, capsys):
    prepare(capsys, photos / "sub", tmp_path / "out", "--split", "val")
    prepare(capsys, photos, tmp_path / "out", "--split", "train")
    assert "--overwrite" in refusal(capsys, photos, tmp_path / "out", "--split", "val")
    names = files(tmp_path / "out")
    assert "val/source/coffee.png" in names
    assert "train/source/sub/coffee.png" in names


def test_a_broken_photograph_is_left_out_with_all_its_drawings(photos, tmp_path, capsys):
    whole = (photos / "chelsea.png").read_bytes()
    (photos / "chelsea.png").write_bytes(whole[: len(whole) // 2])
    code, summary = prepare(capsys, photos, tmp_path / "out", "--copies", 2, "--val", 0)
    assert (code, summary["splits"]) == (1, {"train": 6})
    assert all("chelsea" in name for name in summary["problems"])
    assert not [name for name in files(tmp_path / "out") if "chelsea" in name]


def test_photographs_that_share_a_name_keep_theirs_and_copies_never_meet(tmp_path, capsys):
    (tmp_path / "photos").mkdir()
    for name in ("a.png", "a.jpg", "a_1.png", "a_1_1.png"):
        write_picture(from_array(photograph("camera", 32)), tmp_path / "photos" / name)
    prepare(capsys, tmp_path / "photos", tmp_path / "out", "--copies", 2, "--split", "train", "--size", 16)
    assert {pair.name for pair in find_training(DataConfig(folder=tmp_path / "out")).pairs} == {
        *("a.png_1", "a.png_2", "a.jpg_1", "a.jpg_2", "a_1_1", "a_1_2", "a_1_1_1", "a_1_1_2")
    }


# Foreground


@pytest.fixture
def transparent(tmp_path):
    """A folder with one photograph whose right half is transparent and holds something else."""
    (tmp_path / "cut").mkdir()
    alpha = np.zeros((96, 96), np.uint8)
    alpha[:, :48] = 255
    write_picture(Picture(photograph("astronaut"), alpha), tmp_path / "cut" / "x.png")
    return tmp_path / "cut"


def test_a_transparent_ground_becomes_paper_and_white(transparent, tmp_path, capsys):
    prepare(capsys, transparent, tmp_path / "out", "--split", "train")
    drawing, target = (read_picture(tmp_path / "out/train" / side / "x.png") for side in ("source", "target"))
    assert drawing.alpha is None
    assert target.alpha is None
    assert (target.pixels[:, 48:] == 255).all()
    assert np.array_equal(target.pixels[:, :48], photograph("astronaut")[:, :48])
    assert drawing.pixels[:, 56:].min() > 250
    assert drawing.pixels[:, :48].min() < 120


def test_another_background_is_behind_the_photograph_and_not_the_drawing(transparent, tmp_path, capsys):
    words = (transparent, tmp_path / "out", "--split", "train")
    prepare(capsys, *words)
    white = pixels(tmp_path / "out/train/source/x.png")
    prepare(capsys, *words, "--background", "#102030")
    assert (pixels(tmp_path / "out/train/target/x.png")[:, 48:] == (16, 32, 48)).all()
    assert np.array_equal(pixels(tmp_path / "out/train/source/x.png"), white)


def test_none_draws_all_and_drops_alpha(transparent, tmp_path, capsys):
    prepare(capsys, transparent, tmp_path / "out", "--foreground", "none", "--split", "train")
    assert np.array_equal(pixels(tmp_path / "out/train/target/x.png"), photograph("astronaut"))
    assert pixels(tmp_path / "out/train/source/x.png")[:, 56:].min() < 120


def test_grabcut_draws_the_subject_alone(photos, tmp_path, capsys):
    prepare(capsys, photos, tmp_path / "out", "--foreground", "grabcut", "--styles", "dog", "--split", "train")
    drawing, target = (pixels(tmp_path / "out/train" / side / "astronaut.png") for side in ("source", "target"))
    assert (target[:32, 68:] == 255).all()  # the rocket
    assert (drawing[:32, 68:] == 255).all()
    assert np.array_equal(target[20, 41], photograph("astronaut")[20, 41])  # her face


def test_a_photograph_without_a_subject_is_left_whole_and_told_also_when_run_again(photos, tmp_path, capsys):
    rng = np.random.default_rng(0)
    write_picture(from_array(rng.integers(120, 124, (64, 64, 3), np.uint8)), photos / "sky.png")
    words = (photos, tmp_path / "out", "--foreground", "grabcut", "--split", "train", "--copies", "2")
    for _ in range(2):
        code, summary = prepare(capsys, *words)
        assert (code, summary["left_whole"], summary["failed"]) == (0, ["sky.png"], 0)
    warned = manifest(tmp_path / "out")["files"]["train/target/sky_1.png"]["warnings"]
    assert len(warned) == 1
    assert warned[0].startswith("left whole: no subject could be told from its ground")
    assert np.array_equal(pixels(tmp_path / "out/train/target/sky_1.png"), pixels(photos / "sky.png"))
    main(["preprocess", "sketches", *map(str, words)])
    assert "0 files failed, 1 left whole." in capsys.readouterr().out


# Real drawings


def test_real_drawings_are_paired_and_measured(photos, drawings, tmp_path, capsys):
    out = tmp_path / "out"
    code, summary = prepare(capsys, photos, out, "--drawings", drawings, "--max-shift", 20, "--val", 0.25)
    assert (code, summary["splits"], summary["left_out"]) == (0, {"train": 3, "val": 1}, 0)
    made = manifest(out)["files"]
    for name in NAMES:
        split = "train" if f"train/source/{name}.png" in made else "val"
        assert (out / split / "source" / f"{name}.png").read_bytes() == (drawings / f"{name}.png").read_bytes()
        assert (out / split / "target" / f"{name}.png").read_bytes() == (photos / f"{name}.png").read_bytes()
        found = made[f"{split}/source/{name}.png"]["alignment"]
        assert found["off"] == pytest.approx(10 if name == "astronaut" else 0, abs=1.5)
        assert (found["known"], found["moved"]) == (True, False)
        if name == "astronaut":
            assert found["right"] == pytest.approx(10, abs=1)
            assert found["after"] > found["before"] + 0.2
    assert summary["alignment"]["largest"] == pytest.approx(10, abs=1)
    assert summary["alignment"]["median"] < 1


@pytest.mark.parametrize("limit", [5, 0.05])
def test_a_drawing_that_is_off_is_left_out_with_its_photograph(photos, drawings, tmp_path, capsys, limit):
    words = (photos, tmp_path / "out", "--drawings", drawings, "--max-shift", limit, "--val", 0)
    code, summary = prepare(capsys, *words)
    assert (code, summary["splits"], summary["left_out"]) == (0, {"train": 3}, 1)
    assert summary["alignment"]["off"] == {"astronaut": pytest.approx(10, abs=1)}
    assert not [name for name in files(tmp_path / "out") if "astronaut" in name]
    main(["preprocess", "sketches", *map(str, words)])
    captured = capsys.readouterr()
    assert "pairs: train 3; 0 files failed, 1 left out, 1 too far off." in captured.out


def test_a_drawing_that_is_off_is_moved_onto_its_photograph(photos, drawings, tmp_path, capsys):
    words = (photos, tmp_path / "out", "--drawings", drawings, "--align", "--val", 0)
    _, summary = prepare(capsys, *words)
    assert (summary["splits"], summary["alignment"]["moved"]) == ({"train": 4}, ["astronaut"])
    moved = pixels(tmp_path / "out/train/source/astronaut.png").astype(float)
    right = sketch(from_array(photograph("astronaut")), draw_style(1, ["pencil"])).pixels.astype(float)
    wrong = pixels(drawings / "astronaut.png").astype(float)
    inner = np.s_[6:-6, 6:80]
    assert np.corrcoef(moved[inner].ravel(), right[inner].ravel())[0, 1] > 0.75
    assert np.corrcoef(wrong[inner].ravel(), right[inner].ravel())[0, 1] < 0.5
    kept = places(tmp_path / "out")
    prepare(capsys, *words)
    assert places(tmp_path / "out") == kept


def test_a_drawing_of_another_size_is_brought_to_that_of_its_photograph(photos, drawings, tmp_path, capsys):
    large = cv2.resize(pixels(drawings / "camera.png"), (192, 192), interpolation=cv2.INTER_CUBIC)
    write_picture(from_array(large), drawings / "camera.png")
    prepare(capsys, photos, tmp_path / "out", "--drawings", drawings, "--split", "train", "--align", "--size", 48)
    assert pixels(tmp_path / "out/train/source/camera.png").shape == (48, 48, 1)
    assert pixels(tmp_path / "out/train/source/chelsea.png").shape[:2] == (48, 72)


def test_a_drawing_of_another_aspect_is_reported_and_left_out(photos, drawings, tmp_path, capsys):
    write_picture(from_array(pixels(drawings / "camera.png")[:60]), drawings / "camera.png")
    code, summary = prepare(capsys, photos, tmp_path / "out", "--drawings", drawings, "--align", "--val", 0)
    assert (code, summary["splits"], summary["failed"]) == (1, {"train": 3}, 1)
    assert "the drawing has 96 x 60 pixels and its photograph 96 x 96" in summary["problems"]["train/source/camera"]


@pytest.mark.parametrize("side", ["photos", "drawings"])
def test_a_broken_file_of_a_pair_is_reported_once(photos, drawings, tmp_path, capsys, side):
    broken = {"photos": photos, "drawings": drawings}[side] / "camera.png"
    broken.write_bytes(broken.read_bytes()[:900])
    code, summary = prepare(capsys, photos, tmp_path / "out", "--drawings", drawings, "--align", "--val", 0)
    assert (code, summary["splits"], summary["failed"]) == (1, {"train": 3}, 1)
    assert list(summary["problems"]) == ["train/target/camera" if side == "photos" else "train/source/camera"]


def test_a_drawing_whose_place_is_not_known_is_kept_and_named(photos, drawings, tmp_path, capsys):
    scribble = np.random.default_rng(0).integers(0, 256, (96, 96), np.uint8)  # fits best 33 pixels away
    write_picture(from_array(scribble), drawings / "camera.png")
    _, summary = prepare(capsys, photos, tmp_path / "out", "--drawings", drawings, "--align", "--val", 0)
    assert (summary["splits"], summary["alignment"]["unknown"]) == ({"train": 4}, ["camera"])


def test_pairs_are_matched_by_their_suffixes(photos, drawings, tmp_path, capsys):
    for name in NAMES:
        (drawings / f"{name}.png").rename(drawings / f"{name}-sz.png")
        (photos / f"{name}.png").rename(photos / f"{name}_p.png")
    words = ("--source-suffix=-sz", "--target-suffix", "_p", "--align", "--split", "train")
    _, summary = prepare(capsys, photos, tmp_path / "out", "--drawings", drawings, *words)
    assert summary["splits"] == {"train": 4}
    assert (tmp_path / "out/train/source/camera.png").exists()
    assert "have no partner" in refusal(capsys, photos, tmp_path / "no", "--drawings", drawings)


def test_if_all_drawings_are_off_nothing_is_written(photos, drawings, tmp_path, capsys):
    for folder in (photos, drawings):
        for name in NAMES[1:]:
            (folder / f"{name}.png").unlink()
    told = refusal(capsys, photos, tmp_path / "out", "--drawings", drawings)
    assert "all 1 drawings lie too far from their photographs" in told
    assert "raise the largest shift, let them be aligned, or prepare them as unpaired" in told
    assert not (tmp_path / "out").exists()


# Refusals


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--styles", "xdgo"), "unknown style 'xdgo', allowed are canny, dog, pencil, xdog; did you mean 'xdog'?"),
        (("--copies", 0), "at least 1 drawing of a photograph, got 0 copies"),
        (("--background", "grün"), "unknown colour 'grün': give a name such as white, or six digits such as #f0f0f0"),
        (("--align",), "--align is for real drawings: give their folder by --drawings"),
        (("--max-shift", 3), "--max-shift is for real drawings: give their folder by --drawings"),
        (("--drawings", ".", "--copies", 2), "--copies is for drawings that are derived: leave it out, or leave"),
        (("--drawings", ".", "--max-shift", 0), "the largest shift must be above 0, a share of the shorter side or"),
    ],
)
def test_options_that_do_not_fit_are_refused(photos, tmp_path, capsys, words, message):
    assert message in refusal(capsys, photos, tmp_path / "out", *words)
    assert not (tmp_path / "out").exists()


def test_kinds_that_do_not_exist_are_refused():
    with pytest.raises(ImageError, match="paper must be one of plain, textured, got 'rough'"):
        Deriving(paper="rough")
    with pytest.raises(ImageError, match="foreground must be one of alpha, grabcut, none, got 'auto'"):
        Deriving(foreground="auto")


def test_folders_that_do_not_fit_are_refused(photos, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    assert "holds no images" in refusal(capsys, tmp_path / "empty", tmp_path / "out")
    assert "lies in the input folder" in refusal(capsys, photos, photos / "out")
    with pytest.raises(ImageError, match="does not exist"):
        prepare_sketches(tmp_path / "none", tmp_path / "out", Options(), Deriving())
