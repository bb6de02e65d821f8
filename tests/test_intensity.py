"""Value ranges and the way of a picture through model space."""

import json

import numpy as np
import pytest
import torch
from skimage import data

from translate.data.images import ImageError, Metadata, Picture, from_array
from translate.data.intensity import IntensityError, IntensityRange, picture_to_tensor, tensor_to_picture

RANDOM = np.random.default_rng(0)
HOUNSFIELD = IntensityRange(-1024, 3071, "HU")


def photo(dtype=np.uint8, channels=3):
    """(64, 48, channels) of the photograph of a cat, with all digits used."""
    values = data.chelsea()[100:164, 150:198].astype(np.float64) / 255
    values = values if channels == 3 else values.mean(axis=2, keepdims=True)
    if dtype == np.float32:
        return (values * 1.5 - 0.1).astype(np.float32)
    return np.rint(values * np.iinfo(dtype).max).astype(dtype)


def random_alpha(dtype, shape=(64, 48)):
    top = 1.0 if dtype == np.float32 else np.iinfo(dtype).max
    choices = [0, 1 / 65535 if dtype == np.float32 else 1, top / 2, top]
    return RANDOM.choice(np.array(choices).astype(dtype), size=shape)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_every_integer_value_survives_the_round_trip(dtype):
    values = np.arange(np.iinfo(dtype).max + 1).astype(dtype)
    span = IntensityRange.of_dtype(dtype)
    model = span.to_model(values)
    assert (model.dtype, model[0], model[-1]) == (np.float32, -1, 1)
    np.testing.assert_array_equal(span.from_model(model, dtype), values)
    exact = (values.astype(np.float64) - values[-1] / 2) / (values[-1] / 2)
    np.testing.assert_array_equal(model, exact.astype(np.float32))


@pytest.mark.parametrize("span", [IntensityRange.of_dtype(np.uint8), IntensityRange(-3, 500, "x")])
def test_many_8_bit_values_are_looked_up_and_no_other_than_few(span):
    values = RANDOM.integers(0, 256, (3, 40, 50)).astype(np.uint8)
    for many in (values, values[:, ::-2], values.transpose(2, 0, 1)):
        model = span.to_model(many)
        assert (model.dtype, model.shape) == (np.float32, many.shape)
        np.testing.assert_array_equal(model, np.stack([[span.to_model(row) for row in plane] for plane in many]))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("channels", [1, 3])
def test_pixels_that_are_a_view_of_others_are_moved_as_they_are_seen(dtype, channels):
    whole = np.dstack([photo(dtype, channels), random_alpha(dtype)])
    for array in (whole, whole[::-1], whole[:, ::2], whole.transpose(1, 0, 2), whole[:1], whole[:, :1], whole[:1, :1]):
        pixels = array[..., :channels]
        values = IntensityRange.of_dtype(dtype).to_model(np.array(pixels.transpose(2, 0, 1)))
        tensor = picture_to_tensor(Picture(pixels), channels)
        np.testing.assert_array_equal(tensor[0].numpy(), values)
        again = tensor_to_picture(tensor + 1, tensor, Picture(np.zeros_like(pixels))).pixels  # the change alone
        assert again.shape == pixels.shape
        assert again.flags.c_contiguous


def test_every_hounsfield_unit_survives_the_round_trip():
    values = np.arange(-1024, 3072, dtype=np.int16)
    np.testing.assert_array_equal(HOUNSFIELD.from_model(HOUNSFIELD.to_model(values), np.int16), values)
    error = HOUNSFIELD.from_model(HOUNSFIELD.to_model(values), np.float64) - values
    assert np.abs(error).max() < 2e-4


def test_values_outside_the_range_are_kept_and_only_the_dtype_clips():
    assert HOUNSFIELD.to_model(np.array([5118.5]))[0] == 2
    assert HOUNSFIELD.from_model(np.array([2.0]), np.int16)[0] == 5118  # 5118.5, half to even
    assert HOUNSFIELD.from_model(np.array([100.0]), np.int16)[0] == 32767
    assert HOUNSFIELD.from_model(np.array([-2.0]), np.uint8)[0] == 0
    assert HOUNSFIELD.from_model(np.array([100.0]), np.float32)[0] == pytest.approx(205773.5)


def test_rounding_is_half_to_even():
    span = IntensityRange(0, 2, "x")
    np.testing.assert_array_equal(span.from_model(np.array([-0.5, 0.5]), np.uint8), [0, 2])


def test_ranges_of_dtypes():
    assert IntensityRange.of_dtype(np.uint8) == IntensityRange(0, 255, "uint8")
    assert IntensityRange.of_dtype("uint16") == IntensityRange(0, 65535, "uint16")
    assert IntensityRange.of_dtype(np.dtype("float32")) == IntensityRange(0, 1, "float32")
    with pytest.raises(IntensityError, match="int16 has no range of its own, only uint8, uint16, float32 have"):
        IntensityRange.of_dtype(np.int16)


@pytest.mark.parametrize(("low", "high"), [(1, 1), (2, 1), (0, float("inf")), (float("nan"), 1)])
def test_a_range_without_extent_is_refused(low, high):
    with pytest.raises(IntensityError, match=rf"from {low} to {high} has no extent: give finite numbers, low < high"):
        IntensityRange(low, high, "HU")


def test_json_and_back():
    assert IntensityRange.from_json(json.loads(json.dumps(HOUNSFIELD.to_json()))) == HOUNSFIELD


@pytest.mark.parametrize(
    "entries",
    [
        {},
        {"low": 0, "high": 1},
        {"low": "0", "high": 1, "units": "x"},
        {"low": False, "high": True, "units": "x"},
        {"low": 0, "high": 1, "units": None},
        {"low": 0, "high": 1, "units": "x", "more": 1},
    ],
)
def test_damaged_json_is_refused(entries):
    with pytest.raises(IntensityError, match="it needs the numbers low and high and the text units"):
        IntensityRange.from_json(entries)


# --- pictures


@pytest.mark.parametrize("network_channels", [1, 3])
@pytest.mark.parametrize("picture_channels", [1, 3])
def test_a_tensor_has_the_channels_asked_for(picture_channels, network_channels):
    tensor = picture_to_tensor(from_array(photo(np.uint8, picture_channels)), network_channels)
    assert tensor.shape == (1, network_channels, 64, 48)
    assert tensor.dtype == torch.float32
    assert tensor.is_contiguous()
    assert -1 <= tensor.min() < tensor.max() <= 1


def test_luma_is_that_of_rec_601():
    red = from_array(np.array([[[255, 0, 0]]], np.uint8))
    assert picture_to_tensor(red, 1).item() == pytest.approx(2 * 0.299 - 1)


def test_transparent_pixels_are_low_and_half_transparent_ones_half_way():
    picture = Picture(np.full((1, 3, 1), 200, np.uint8), np.array([[0, 51, 255]], np.uint8))
    expected = [-1, 2 * (200 / 255) * 0.2 - 1, 2 * 200 / 255 - 1]
    torch.testing.assert_close(picture_to_tensor(picture, 1).flatten(), torch.tensor(expected))
    span = IntensityRange(100, 300, "x")
    torch.testing.assert_close(picture_to_tensor(picture, 1, span).flatten(), torch.tensor([-1, -0.8, 0.0]))


@pytest.mark.parametrize("with_alpha", [False, True])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize(
    ("picture_channels", "network_channels", "follow_input"),
    [(1, 1, False), (1, 1, True), (3, 3, False), (3, 3, True), (1, 3, True)],
)
@pytest.mark.parametrize("span", [None, IntensityRange(-3, 7000, "x")])
def test_the_identity_returns_the_same_picture_bit_for_bit(
    picture_channels, network_channels, follow_input, dtype, with_alpha, span
):
    alpha = random_alpha(dtype) if with_alpha else None
    source = Picture(photo(dtype, picture_channels), alpha, Metadata("tiff", b"profile"))
    given = picture_to_tensor(source, network_channels, span)
    result = tensor_to_picture(given.clone(), given, source, range_in=span, range_out=span, follow_input=follow_input)
    assert result.pixels.dtype == dtype
    np.testing.assert_array_equal(result.pixels, source.pixels)
    assert result.alpha is alpha
    assert result.metadata == source.metadata


def test_every_16_bit_value_survives_the_identity_under_alpha_of_one():
    values = np.arange(65536, dtype=np.uint16).reshape(256, 256, 1)
    source = Picture(values, np.ones((256, 256), np.uint16))
    given = picture_to_tensor(source, 3)
    result = tensor_to_picture(given, given, source, follow_input=True)
    np.testing.assert_array_equal(result.pixels, values)


def test_a_change_is_divided_by_alpha_and_transparent_colours_stay():
    source = Picture(np.full((1, 3, 1), 100, np.uint8), np.array([[0, 51, 255]], np.uint8))
    given = picture_to_tensor(source, 1)
    result = tensor_to_picture(given + 2 * 4 / 255, given, source)  # 4 steps brighter, premultiplied
    np.testing.assert_array_equal(result.pixels[0, :, 0], [100, 120, 104])


def test_grey_from_a_three_channel_network_is_rgb_unless_it_follows_the_input():
    source = Picture(photo(np.uint8, 1), None, Metadata("png", icc=b"grey profile", exif=b"Exif\0\0"))
    given = picture_to_tensor(source, 3)
    free = tensor_to_picture(given, given, source)
    assert free.pixels.shape == (64, 48, 3)
    assert (free.metadata.icc, free.metadata.exif) == (None, b"Exif\0\0")
    assert tensor_to_picture(given, given, source, follow_input=True).metadata.icc == b"grey profile"


def test_rgb_through_a_one_channel_network_is_grey_even_when_it_follows_the_input():
    source = Picture(photo(), random_alpha(np.uint8))
    given = picture_to_tensor(source, 1)
    grey = tensor_to_picture(given, given, source)
    same = tensor_to_picture(given, given, source, follow_input=True)
    assert (grey.pixels.shape[2], same.pixels.shape[2]) == (1, 3)
    np.testing.assert_array_equal(same.pixels, np.repeat(grey.pixels, 3, axis=2))


def test_colours_are_divided_by_alpha_where_ranges_differ():
    source = Picture(np.full((1, 3, 1), 100, np.uint8), np.array([[0, 51, 255]], np.uint8))
    given = picture_to_tensor(source, 1)
    result = tensor_to_picture(given, given, source, range_out=IntensityRange(0, 127.5, "half"))
    np.testing.assert_array_equal(result.pixels[0, :, 0], [0, 50, 50])


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("size", [(128, 96), (32, 24), (64, 50)])
def test_alpha_takes_the_size_of_the_output(dtype, size):
    alpha = np.zeros((64, 48), dtype)
    alpha[:, 24:] = 1 if dtype == np.float32 else np.iinfo(dtype).max
    source = Picture(photo(dtype), alpha)
    given = picture_to_tensor(source, 3)
    output = torch.nn.functional.interpolate(given, size=size, mode="area")
    result = tensor_to_picture(output, given, source)
    assert result.pixels.shape == (*size, 3)
    assert (result.alpha.dtype, result.alpha.shape) == (dtype, size)
    assert (result.alpha.min(), result.alpha.max()) == (alpha.min(), alpha.max())
    assert (result.pixels[:, 0] == 0).all()
    inside = slice(3 * size[1] // 4, None)
    plain = torch.nn.functional.interpolate(picture_to_tensor(from_array(source.pixels), 3), size=size, mode="area")
    plain = tensor_to_picture(plain, given, from_array(source.pixels))
    # ties of the mean may round either way
    np.testing.assert_allclose(
        result.pixels[:, inside], plain.pixels[:, inside], atol=1e-6 if dtype == np.float32 else 1
    )


def test_nan_from_the_network_is_an_error():
    source = from_array(photo())
    given = picture_to_tensor(source, 3)
    output = given.clone()
    output[0, 1, 2, 3] = torch.nan
    with pytest.raises(ImageError, match="the network produced NaN or infinity in 1 of 9216 values: run it in float32"):
        tensor_to_picture(output, given, source)


@pytest.mark.parametrize("shape", [(2, 3, 8, 8), (1, 2, 8, 8), (3, 8, 8)])
def test_outputs_that_are_no_single_picture_are_refused(shape):
    source = from_array(photo())
    with pytest.raises(ImageError, match=r"the network's output has the shape .*, a picture needs \(1, 1 or 3, H, W\)"):
        tensor_to_picture(torch.zeros(shape), picture_to_tensor(source, 3), source)


def test_nan_in_a_picture_is_counted():
    values = photo(np.float32)
    values[0, 0] = np.nan
    values[1, 1, 1] = np.inf
    with pytest.raises(ImageError, match="4 values are NaN or infinite, all must be finite"):
        picture_to_tensor(from_array(values), 3)


def test_other_numbers_of_channels_are_refused():
    with pytest.raises(ImageError, match="a picture has 1 or 3 channels, got 4"):
        picture_to_tensor(from_array(photo()), 4)
