"""Strokes: lines where they were drawn, as thick as they shall be, and every wrong one refused by name."""

import json
from itertools import pairwise

import matplotlib
import numpy as np
import pytest

from translate.data import strokes as module
from translate.data.drawing_style import DrawingStyle
from translate.data.frame import framed_size
from translate.data.images import ImageError
from translate.data.strokes import Strokes, draw_strokes, holds_polylines, read_strokes

BLACK = DrawingStyle(paper=1, ink=0, line_weight=2, width=64, height=64)
CORNERS = [(0, 0), (64, 64)]


def ink(lines, width=64, height=64, *, weight=2.0, style=BLACK):
    """(H, W): 0 is paper, 1 ink."""
    return 1 - draw_strokes(Strokes(lines, width, height, weight), style).pixels[..., 0] / 255


# where and how thick


def test_a_line_of_two_pixels_along_a_border_of_pixels_fills_the_rows_on_both_sides():
    drawn = ink([[(10, 20), (50, 20)]])
    assert (drawn[19:21, 10:50] == 1).all()
    assert (drawn[:19] == 0).all()
    assert (drawn[21:] == 0).all()
    assert (drawn[:, :9] == 0).all()
    assert (drawn[:, 51:] == 0).all()


@pytest.mark.parametrize("weight", [0.5, 1, 1.3, 2.5, 7])
@pytest.mark.parametrize("slope", [0, 0.3, 1])
def test_a_line_is_as_thick_as_its_weight(weight, slope):
    drawn = ink([[(-20, 32.4 - 52 * slope), (84, 32.4 + 52 * slope)]], weight=weight)
    across = drawn[:, 20:44].sum(axis=0).mean() / np.hypot(1, slope)
    assert across == pytest.approx(weight, rel=0.03)


def test_one_point_is_a_round_dot():
    for line in ([(32, 32)], [(32, 32), (32, 32)]):
        drawn = ink([line], weight=9)
        assert drawn.sum() == pytest.approx(np.pi * 4.5**2, rel=0.04)
        np.testing.assert_allclose(drawn, drawn.T, atol=0.1)
        np.testing.assert_allclose(drawn, drawn[::-1], atol=0.1)
        assert drawn[32, 32] == 1
        assert drawn[28, 28] < 0.05  # outside of the circle, inside of its square


def test_ends_and_corners_are_round():
    drawn = ink([[(20, 40), (40, 40), (40, 20)]], weight=10)
    assert drawn[40, 16] == 1  # the cap
    assert drawn[44, 16] == 0
    assert drawn[41, 43] == 1  # the corner
    assert drawn[44, 44] == 0
    assert drawn.max() == 1


def test_lines_are_antialiased():
    drawn = ink([[(5, 10), (60, 30)]])
    assert ((drawn > 0.1) & (drawn < 0.9)).sum() > 50


def test_the_canvas_is_what_was_given():
    picture = draw_strokes(Strokes([[(1, 1)]], 30, 20), BLACK)
    assert picture.pixels.shape == (20, 30, 1)
    assert picture.pixels.dtype == np.uint8
    assert picture.alpha is None


@pytest.mark.parametrize("weight", [1.0, 30.0])
def test_what_lies_outside_is_cut_off_and_nothing_else(weight):
    line = np.array([(-30, 20), (20, -10), (70, 100), (90, 10), (30, 30), (32, 70)])
    large = ink([line + 50], 164, 164, weight=weight, style=BLACK.model_copy(update={"width": 164, "height": 164}))
    np.testing.assert_allclose(ink([line], weight=weight), large[50:114, 50:114], atol=0.02)


def test_points_far_away_are_no_trouble():
    drawn = ink([[(-1e6, 32), (1e6, 32)]])
    assert (drawn[31:33] == 1).all()
    assert drawn.sum() == 2 * 64


def test_a_long_line_is_drawn_in_parts_that_meet_and_a_drawn_one_whole():
    points = np.random.default_rng(0).random((5000, 2)) * 1000
    parts = list(module._pieces(points))
    assert 20 < len(parts) < 40  # 520 pixels a step
    np.testing.assert_array_equal(np.concatenate([parts[0], *(part[1:] for part in parts[1:])]), points)
    for before, after in pairwise(parts):
        np.testing.assert_array_equal(before[-1], after[0])
    assert len(list(module._pieces(points / 100))) == 1


def test_no_point_is_left_out_whatever_matplotlib_is_set_to():
    across = np.linspace(0, 64, 400)
    wave = np.column_stack([across, 32 + 2 * np.sin(2 * across)])
    drawn = ink([wave], weight=1)
    with matplotlib.rc_context({"path.simplify": True, "path.simplify_threshold": 1.0}):
        np.testing.assert_array_equal(ink([wave], weight=1), drawn)


# ink, paper and weight of the style


def test_ink_and_paper_are_the_styles():
    chalk = DrawingStyle(paper=0.2, ink=0.8, width=64, height=64)
    pixels = draw_strokes(Strokes([[(10, 20), (50, 20)]], 64, 64), chalk).pixels
    assert pixels[0, 0, 0] == 51
    assert pixels[20, 30, 0] == 204
    assert pixels.min() == 51


def test_lines_without_a_weight_have_the_styles_when_the_drawing_is_in_the_frame():
    thick = DrawingStyle(line_weight=6, width=64, height=64)
    for width, weight in ((64, 6), (80, 6), (81, 6 * 81 / 64), (640, 60), (32, 3)):
        drawn = ink([[(-9, 30), (700, 30)]], width, 64 if width < 100 else 640, weight=None, style=thick)
        expected = weight if width != 32 else 6  # 32 x 64 has the frame's longer side
        assert drawn[:, width // 2].sum() == pytest.approx(expected, rel=0.01)
    drawn = ink([[(-9, 12), (100, 12)]], 32, 32, weight=None, style=thick)
    assert drawn[:, 16].sum() == pytest.approx(3, rel=0.01)


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((250, 200), (250, 200)),
        ((200, 100), (200, 100)),  # 0.8 times 250
        ((100, 312), (100, 312)),
        ((199, 100), (250, 126)),
        ((100, 313), (80, 250)),
        ((3000, 4000), (188, 250)),
        ((1, 10_000), (1, 250)),
        ((1, 1), (250, 250)),
    ],
)
def test_a_drawing_gets_the_frames_longer_side_if_its_own_is_far_from_it(size, expected):
    assert framed_size(*size, DrawingStyle(width=200, height=250)) == expected


# files


def test_a_file_of_strokes_is_read(tmp_path):
    path = tmp_path / "face.json"
    entries = {"width": 100, "height": 80, "strokes": [[[1, 2], [3.5, 4]], [[9, 9]]]}
    path.write_text(json.dumps(entries))
    strokes = read_strokes(path)
    assert (strokes.width, strokes.height, strokes.line_weight) == (100, 80, None)
    assert [line.tolist() for line in strokes.lines] == [[[1, 2], [3.5, 4]], [[9, 9]]]
    assert Strokes.from_json(json.dumps(entries | {"line_weight": 3.5})).line_weight == 3.5


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "the strokes are not valid JSON .*: export them again"),
        ("[" * 100_000, "the strokes are not valid JSON"),
        ("[[[1, 2]]]", "a JSON object with width, height, strokes and, if wanted, line_weight, got list"),
        ('{"width": 9, "strokes": [[[1, 2]]]}', "got width, strokes"),
        ('{"width": 9, "height": 9, "strokes": [[[1, 2]]], "colour": 1}', "got width, height, strokes, colour"),
        ('{"width": 9, "height": 9, "strokes": [[[1, NaN]]]}', "line 1 has a point that is not finite"),
        ('{"width": 9, "height": 9, "strokes": [[[1, 1e999]]]}', "line 1 has a point that is not finite"),
        ('{"width": 9, "height": 9, "strokes": {"a": 1}}', "a drawing needs a list of at least one line"),
    ],
)
def test_a_text_that_is_no_drawing_is_refused(text, message):
    with pytest.raises(ImageError, match=message):
        Strokes.from_json(text)


def test_a_file_that_cannot_be_read_is_named(tmp_path, monkeypatch):
    path = tmp_path / "face.json"
    with pytest.raises(ImageError, match=r"cannot read .*face\.json: .*No such file"):
        read_strokes(path)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ImageError, match=r"cannot read .*face\.json: 'utf-8' codec"):
        read_strokes(path)
    monkeypatch.setattr(module, "MAX_BYTES", 2)
    with pytest.raises(ImageError, match=r"face\.json: the file has more than 0 MB: draw fewer or simpler lines"):
        read_strokes(path)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([], r"a drawing needs a list of at least one line: \[\[\(x, y\)"),
        ("a line", "a drawing needs a list of at least one line"),
        (None, "a drawing needs a list of at least one line"),
        ([CORNERS, []], r"line 2 must be a list of points \(x, y\) with at least one, all of them numbers, got \[\]"),
        ([CORNERS, [(1, 2, 3)]], r"line 2 must be a list of points .*got \[\(1, 2, 3\)\]"),
        ([[(1, 2), (3,)]], "line 1 must be a list of points"),
        ([[("1", "2")]], "line 1 must be a list of points"),
        ([[(True, False)]], "line 1 must be a list of points"),
        ([[(1, 10**400)]], "line 1 must be a list of points"),
        ([(1, 2)], "line 1 must be a list of points .*got"),
        ([[(1, float("inf"))]], "line 1 has a point that is not finite or more than 1000000 pixels away: leave it out"),
        ([CORNERS, [(1, -1_000_001)]], "line 2 has a point that is not finite or more than 1000000 pixels away"),
        ([np.zeros((60_000, 2)), np.zeros((40_001, 2))], "the lines have 100001 points, allowed are 100000"),
    ],
)
def test_lines_that_are_none_are_refused(lines, message):
    with pytest.raises(ImageError, match=message):
        Strokes(lines, 64, 64)


@pytest.mark.parametrize("side", [0, 4097, 64.0, True, "64", None])
def test_a_canvas_that_cannot_be_is_refused(side):
    with pytest.raises(
        ImageError, match=f"the height of a canvas is a whole number from 1 to 4096 pixels, got {side!r}"
    ):
        Strokes([CORNERS], 64, side)


@pytest.mark.parametrize("weight", [0, -1, 1001, float("nan"), "2", True])
def test_a_weight_that_cannot_be_is_refused(weight):
    with pytest.raises(ImageError, match=f"line_weight must be above 0 and at most 1000 pixels, got {weight!r}"):
        Strokes([CORNERS], 64, 64, weight)


def test_the_strokes_are_not_changed_from_outside():
    line = np.array([(1.0, 2.0), (3.0, 4.0)])
    strokes = Strokes([line], 64, 64)
    line[:] = 0
    assert strokes.lines[0].tolist() == [[1, 2], [3, 4]]


# a list of polylines or a list of images


@pytest.mark.parametrize(
    "drawing",
    [
        [[(1, 2), (3, 4)]],
        ([[1, 2.5]],),
        [((1, 2), (3, 4)), ((5, 6),)],
        [np.zeros((5, 2)), [(1, 2)]],
        [[np.array([1, 2]), np.array([3, 4])]],
        [[(np.float32(1), np.int64(2))]],
    ],
)
def test_a_list_whose_first_element_holds_points_is_a_drawing(drawing):
    assert holds_polylines(drawing)


@pytest.mark.parametrize(
    "drawing",
    [
        [],
        [[]],
        ["a.png", "b.png"],
        [["a.png", "b.png"]],
        [np.zeros((5, 3), np.uint8)],
        [np.zeros((5, 2, 3), np.uint8)],
        [[np.zeros((5, 2), np.uint8)]],
        [[[(1, 2), (3, 4)]]],  # a list of one drawing
        np.zeros((5, 2)),
        "a.png",
        None,
    ],
)
def test_every_other_list_is_one_of_images(drawing):
    assert not holds_polylines(drawing)


def test_one_polyline_alone_is_refused():
    with pytest.raises(ImageError, match="this is one polyline: a drawing is a list of them, put it into a list"):
        holds_polylines(CORNERS)
