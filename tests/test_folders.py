"""Listing folders and pairing files by name, and every error of translate.data.folders."""

import numpy as np
import pytest

from translate.data.folders import check_halves, check_sizes, list_images, pair_folders, shown, side_by_side
from translate.data.images import ImageError, from_array, write_picture


def make(folder, *names, size=(4, 6)):
    """Black 8-bit grey pictures of H x W below a folder."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        write_picture(from_array(np.zeros(size, np.uint8)), folder / name)
    return folder


def test_images_are_listed_sorted_through_sub_folders_without_hidden_and_other_files(tmp_path):
    make(tmp_path, "b.png", "a.PNG", "sub/deep/c.jpg", ".hidden/d.png", ".e.png")
    (tmp_path / "notes.txt").write_text("no image")
    assert [path.relative_to(tmp_path).as_posix() for path in list_images(tmp_path)] == [
        "a.PNG",
        "b.png",
        "sub/deep/c.jpg",
    ]


def test_an_output_folder_inside_the_input_folder_is_not_listed(tmp_path):
    make(tmp_path, "a.png", "out/a.png")
    assert list_images(tmp_path, without=tmp_path / "out") == [tmp_path / "a.png"]


def test_a_folder_without_images_is_refused(tmp_path):
    (tmp_path / "file.png").write_bytes(b"")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ImageError, match=r"nowhere does not exist: give a folder of images"):
        list_images(tmp_path / "nowhere")
    with pytest.raises(ImageError, match=r"file.png is a file: give a folder of images"):
        list_images(tmp_path / "file.png")
    with pytest.raises(ImageError, match=r"empty holds no images: files ending in .png, .jpg, .*are read"):
        list_images(tmp_path / "empty")


def test_pairs_match_by_path_without_extension(tmp_path):
    source = make(tmp_path / "s", "a.png", "sub/a.png", "v1.2.png")
    target = make(tmp_path / "t", "a.jpg", "sub/a.tif", "v1.2.bmp")
    pairs = pair_folders(source, target)
    assert [pair.name for pair in pairs] == ["a", "sub/a", "v1.2"]
    assert pairs[1] == ("sub/a", source / "sub/a.png", target / "sub/a.tif")


@pytest.mark.parametrize(
    ("source_suffix", "target_suffix"), [("x2", ""), ("", "_HR"), ("_LR", "_HR"), ("x4", "x4"), (".lr", "")]
)
def test_suffixes_are_cut_off_before_names_are_matched(tmp_path, source_suffix, target_suffix):
    source = make(tmp_path / "s", f"01{source_suffix}.png", f"sub/01{source_suffix}.png")
    target = make(tmp_path / "t", f"01{target_suffix}.png", f"sub/01{target_suffix}.png")
    pairs = pair_folders(source, target, source_suffix=source_suffix, target_suffix=target_suffix)
    assert [pair.name for pair in pairs] == ["01", "sub/01"]


def test_a_file_without_the_suffix_is_refused(tmp_path):
    source, target = make(tmp_path / "s", "01x2.png", "02.png"), make(tmp_path / "t", "01.png", "02.png")
    with pytest.raises(ImageError, match=r"split 'val': .*s/02.png does not end in the suffix 'x2': rename it"):
        pair_folders(source, target, source_suffix="x2", split="val")


def test_a_file_that_is_named_by_its_suffix_alone_is_refused(tmp_path):
    source, target = make(tmp_path / "s", "sub/x2.png"), make(tmp_path / "t", "sub/1.png")
    with pytest.raises(ImageError, match=r"sub/x2.png has no name besides the suffix 'x2': rename it"):
        pair_folders(source, target, source_suffix="x2")


def test_two_files_of_one_name_are_refused(tmp_path):
    source, target = make(tmp_path / "s", "a.jpg", "a.png"), make(tmp_path / "t", "a.png")
    with pytest.raises(ImageError, match=r"s/a.jpg and a.png share the name 'a': keep one of them"):
        pair_folders(source, target)


def test_files_without_partner_are_counted_and_the_first_named_with_split_and_folder(tmp_path):
    source = make(tmp_path / "s", *(f"{i}.png" for i in range(9)))
    target = make(tmp_path / "t", "0.png", "1.png")
    message = (
        r"^split 'train': 7 of 9 images in .*/s have no partner in .*/t, for example 2.png, 3.png, 4.png and 4 more: "
        r"every file needs one of the same name there, or set a suffix for each side$"
    )
    with pytest.raises(ImageError, match=message):
        pair_folders(source, target, split="train")


def test_a_target_without_source_is_refused_and_the_suffix_it_would_need_is_named(tmp_path):
    source, target = make(tmp_path / "s", "1_LR.png"), make(tmp_path / "t", "1.png", "2.png")
    with pytest.raises(
        ImageError, match=r"^1 of 2 images in .*/t have .* in .*/s, .* 2.png: .* ending in '_LR' before"
    ):
        pair_folders(source, target, source_suffix="_LR")


def test_pairs_of_different_size_are_counted_and_the_first_named_with_their_sizes(tmp_path):
    names = [f"{i}.png" for i in range(5)]
    source, target = make(tmp_path / "s", *names), make(tmp_path / "t", *names, size=(8, 12))
    check_sizes(pair_folders(source, target), scale=2)
    make(target, "0.png")
    message = (
        r"^split 'val': 4 of 5 pairs differ in size, source and target in W x H: 1 \(6 x 4 and 12 x 8\), "
        r"2 .*, 3 .* and 1 more; a target must be 1 times its source: crop or resize one side$"
    )
    with pytest.raises(ImageError, match=message):
        check_sizes(pair_folders(source, target), split="val")


def test_side_by_side_images_are_pairs_with_themselves(tmp_path):
    make(tmp_path, "sub/a.png")
    assert side_by_side(tmp_path) == [("sub/a", tmp_path / "sub/a.png", tmp_path / "sub/a.png")]
    check_halves(side_by_side(tmp_path))


def test_side_by_side_images_of_odd_width_are_refused(tmp_path):
    make(tmp_path, "a.png", "b.png")
    make(tmp_path, "c.png", size=(4, 7))
    with pytest.raises(
        ImageError, match=r"split 'val': 1 of 3 side-by-side images have an odd width: .*c.png \(7 x 4\)"
    ):
        check_halves(side_by_side(tmp_path), split="val")


def test_three_are_shown_and_the_rest_is_counted():
    assert shown("abc") == "a, b, c"
    assert shown("abcde") == "a, b, c and 2 more"
