"""MATLAB's imresize: its kernels, its border, its rounding, and real pictures made smaller to the last bit."""

import hashlib

import numpy as np
import pytest
from skimage import data as skimage_data

from translate.data.images import ImageError
from translate.data.imresize import contributions, cubic, imresize


def picture(height=32, width=48):
    """A crop of a real photograph, RGB 8-bit."""
    return np.ascontiguousarray(skimage_data.astronaut()[60 : 60 + height, 180 : 180 + width])


def weights_by_place(length, wanted, scale, pixel):
    """{source position: weight} of one pixel, without zeros, in units of 1 / 256."""
    weights, indices = contributions(length, wanted, scale)
    row = {}
    for weight, index in zip(weights[pixel] * 256, indices[pixel], strict=True):
        row[int(index)] = row.get(int(index), 0) + weight
    return {index: round(weight, 9) for index, weight in sorted(row.items()) if weight}


# Kernels


def test_the_kernel_is_keys_with_minus_a_half():
    assert cubic(np.array([0, 0.5, 1, 1.5, 2, 3])).tolist() == [1, 0.5625, 0, -0.0625, 0, 0]
    assert cubic(np.array([-0.5, -1.5])).tolist() == [0.5625, -0.0625]


def test_half_the_size_takes_eight_pixels():
    expected = dict(zip(range(5, 13), [-3, -9, 29, 111, 111, 29, -9, -3], strict=True))
    assert weights_by_place(32, 16, 0.5, 4) == expected  # of pixels 8 and 9, and three more on each side


def test_twice_the_size_has_two_phases_that_mirror_each_other():
    assert weights_by_place(16, 32, 2, 8) == {2: -6, 3: 58, 4: 222, 5: -18}  # in 128ths: -3 29 111 -9
    assert weights_by_place(16, 32, 2, 9) == {3: -18, 4: 222, 5: 58, 6: -6}


@pytest.mark.parametrize(("length", "wanted"), [(16, 8), (16, 5), (16, 32), (7, 4), (3, 8), (1, 4)])
def test_the_weights_of_a_pixel_sum_to_one(length, wanted):
    weights, indices = contributions(length, wanted, wanted / length)
    np.testing.assert_allclose(weights.sum(axis=1), 1, rtol=0, atol=1e-15)
    assert weights.shape == indices.shape
    assert indices.min() >= 0
    assert indices.max() < length


def test_the_border_is_mirrored_with_its_pixel_repeated():
    _, indices = contributions(4, 8, 2.0)
    assert indices[0].tolist() == [1, 0, 0, 1]  # places -2 -1 | 0 1
    assert indices[-1].tolist() == [2, 3, 3, 2]  # places 2 3 | 4 5
    _, indices = contributions(2, 1, 0.5)  # a kernel wider than the picture: 1 0 | 0 1 | 1 0 ...
    assert indices[0].tolist() == [1, 1, 0, 0, 1, 1, 0, 0]


# Pictures


@pytest.mark.parametrize("size", [(16, 24), (11, 16), (64, 96), (20, 70), (1, 1)])
@pytest.mark.parametrize("value", [0, 1, 128, 255])
def test_a_constant_stays(size, value):
    assert (imresize(np.full((32, 48, 3), value, np.uint8), size) == value).all()


def test_a_ramp_stays_a_ramp_away_from_the_border():
    ramp = np.tile(np.arange(16.0), (16, 1))
    np.testing.assert_allclose(imresize(ramp, (32, 32))[0, 4:-4], np.arange(4, 28) / 2 - 0.25, rtol=1e-12)
    np.testing.assert_allclose(imresize(ramp, (8, 8))[0, 2:-2], [4.5, 6.5, 8.5, 10.5], rtol=1e-12)


def test_of_an_odd_side_a_given_scale_keeps_the_grid_as_in_matlab():
    ramp = np.tile(np.arange(15.0), (15, 1))
    exact = imresize(ramp, (8, 8), scale=0.5)  # MATLAB: the size is rounded up, the scale is not
    np.testing.assert_allclose(exact[0, 2:-2], [4.5, 6.5, 8.5, 10.5], rtol=1e-12)
    assert abs(imresize(ramp, (8, 8))[0, 2] - 4.5) > 0.1  # 8 / 15 of the size is another grid
    both = imresize(picture(15, 31), (8, 16), scale=(0.5, 0.5))
    assert np.array_equal(both, imresize(picture(15, 31), (8, 16), scale=0.5))


def test_a_mirrored_picture_becomes_the_mirrored_result():
    small = imresize(picture(), (11, 17))
    assert np.array_equal(imresize(picture()[::-1], (11, 17)), small[::-1])
    assert np.array_equal(imresize(picture()[:, ::-1], (11, 17)), small[:, ::-1])


def test_integers_are_rounded_between_the_passes():
    dot = np.zeros((16, 16), np.uint8)
    dot[8, 8] = 3
    # 3 * 111 / 256 = 1.30 becomes 1, and 1 * 111 / 256 = 0.43 becomes 0; at once, 3 * (111 / 256)^2 = 0.56 would be 1.
    assert imresize(dot, (8, 8))[4, 4] == 0
    assert imresize(dot.astype(float), (8, 8))[4, 4] == pytest.approx(0.564, abs=1e-3)


def test_integers_are_clamped_between_the_passes():
    dot = np.zeros((16, 16), np.uint16)
    dot[8, 8] = 65535
    # Two pixels off the weight is -9 / 256 both ways: at once, that would be 81.
    assert imresize(dot, (8, 8))[5, 5] == 0
    assert imresize(dot.astype(float), (8, 8))[5, 5] == pytest.approx(65535 * (9 / 256) ** 2)


def test_halves_are_rounded_upwards():
    # Weights 1/2 and 1/2 of a pair of columns that are constant otherwise: 0.5, 1.5, 2.5 become 1, 2, 3.
    assert [int(imresize(np.array([[low, low + 1]], np.uint8), (1, 1))[0, 0]) for low in range(3)] == [1, 2, 3]


def test_the_axis_that_shrinks_most_comes_first_and_rows_where_they_shrink_alike():
    given = picture(32, 48)

    def rows_first(size):
        return imresize(imresize(given, (size[0], 48)), size)

    def columns_first(size):
        return imresize(imresize(given, (32, size[1])), size)

    for size in ((16, 12), (8, 24), (16, 24)):  # columns shrink most; rows do; both alike
        assert not np.array_equal(rows_first(size), columns_first(size))  # the rounding in between tells
    assert np.array_equal(imresize(given, (16, 12)), columns_first((16, 12)))
    assert np.array_equal(imresize(given, (8, 24)), rows_first((8, 24)))
    assert np.array_equal(imresize(given, (16, 24)), rows_first((16, 24)))


def test_16_bits_keep_all_their_values():
    grey = picture()[..., 1].astype(np.uint16)
    small = imresize(grey * 257, (16, 24))
    assert small.dtype == np.uint16
    assert np.abs(small / 257 - imresize(grey.astype(float), (16, 24)).clip(0, 255)).max() < 1 / 128
    assert (imresize(np.full((8, 8), 65535, np.uint16), (4, 4)) == 65535).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_floats_are_neither_rounded_nor_clamped(dtype):
    edge = np.repeat([0.0, 1.0], 8).astype(dtype)[None].repeat(16, axis=0)
    large = imresize(edge, (32, 32))
    assert large.dtype == dtype
    assert large.min() < -0.05  # it overshoots at both sides of the edge
    assert large.max() > 1.05
    unrounded = imresize(picture().astype(np.float64) / 255, (16, 24))
    np.testing.assert_allclose(imresize(picture().astype(dtype) / 255, (16, 24)), unrounded, atol=1e-6)


def test_channels_are_resized_each_for_itself():
    colour = imresize(picture(), (16, 24))
    assert colour.shape == (16, 24, 3)
    for channel in range(3):
        grey = imresize(picture()[..., channel], (16, 24))
        assert grey.shape == (16, 24)
        assert np.array_equal(grey, colour[..., channel])
        assert np.array_equal(imresize(picture()[..., channel : channel + 1], (16, 24))[..., 0], grey)


def test_a_picture_of_its_own_size_stays_the_same_object():
    given = picture()
    assert imresize(given, given.shape[:2]) is given
    narrow = imresize(given, (32, 24))
    assert np.array_equal(narrow, imresize(given.swapaxes(0, 1), (24, 32)).swapaxes(0, 1))


def test_what_is_given_is_not_changed():
    given = picture()
    given.setflags(write=False)
    imresize(given, (16, 24))
    assert np.array_equal(given, picture())


@pytest.mark.parametrize(
    ("name", "factor", "expected"),
    [
        ("astronaut", 2, "86e24d8e2e582de8"),
        ("astronaut", 3, "779d988f4eb5bb0e"),
        ("astronaut", 4, "53ca505a86fd24fa"),
        ("chelsea", 2, "32c3dc5866375fcc"),
        ("chelsea", 3, "2ed826137e6071ec"),
        ("chelsea", 4, "6b81de91ea08eef2"),
        ("camera", 2, "19535cfc89907773"),
        ("camera", 3, "c61f31c35f30cf44"),
        ("camera", 4, "b91f37a475a30eaa"),
    ],
)
def test_real_photographs_become_what_they_always_became(name, factor, expected):
    """The implementation was bit-equal to the published inputs of Set5 (x2, x3, x4) when these sums were taken."""
    photograph = getattr(skimage_data, name)()
    height, width = (side // factor for side in photograph.shape[:2])
    small = imresize(photograph[: height * factor, : width * factor], (height, width))
    assert hashlib.sha256(small.tobytes()).hexdigest()[:16] == expected


@pytest.mark.parametrize(
    ("image", "shown"),
    [
        (np.zeros(4, np.uint8), r"\(4,\) of uint8"),
        (np.zeros((2, 2, 3, 1), np.uint8), r"\(2, 2, 3, 1\) of uint8"),
        (np.zeros((2, 2), np.int64), r"\(2, 2\) of int64"),
        (np.zeros((2, 2), bool), r"\(2, 2\) of bool"),
        (np.zeros((0, 2), np.uint8), r"\(0, 2\) of uint8"),
    ],
)
def test_what_is_no_picture_is_refused(image, shown):
    with pytest.raises(ImageError, match=rf"imresize takes .*, got {shown}: convert the image first"):
        imresize(image, (1, 1))


def test_an_empty_result_is_refused():
    with pytest.raises(ImageError, match=r"a size of at least 1 x 1, got 4 x 0 \(H x W\)"):
        imresize(picture(), (4, 0))
