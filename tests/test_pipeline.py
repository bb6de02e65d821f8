"""Image in, image out: every kind of image, any size, and the precision that it is computed in."""

import logging

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms
from torch import nn

from translate.checkpoint import CheckpointError
from translate.data.images import ImageError, Metadata, Picture, from_array, to_array, write_picture
from translate.model_folder import ModelConfig
from translate.pipelines.inference.pipeline import Pipeline
from translate.sizes import centre_crop, pad_to_rule, padded_side, translate_any_size

RANDOM = np.random.default_rng(0)


class Negative(nn.Module):
    """Changes the sign, so 255 minus the value of an 8-bit image; wants multiples of 8, at least 16."""

    scale, size_multiple, size_minimum = 1, 8, 16

    def __init__(self, channels=3, outputs=None):
        super().__init__()
        self.in_channels, self.out_channels = channels, outputs or channels
        self.sizes = []

    def forward(self, image):
        assert image.shape[-2] % 8 == image.shape[-1] % 8 == 0
        assert min(image.shape[-2:]) >= 16
        self.sizes.append(tuple(image.shape))
        return -image[:, : self.out_channels]


class Twice(nn.Module):
    """Every pixel becomes 2 x 2."""

    scale, size_multiple, size_minimum = 2, 4, 4
    in_channels = out_channels = 3

    def forward(self, image):
        return image.repeat_interleave(2, dim=-2).repeat_interleave(2, dim=-1)


class Overflowing(nn.Module):
    """Infinite for bright images in float16 and bfloat16, because a product of two layers is too large there."""

    scale = size_multiple = size_minimum = 1
    in_channels = out_channels = 1

    def __init__(self, limit):
        super().__init__()
        self.layer = nn.Conv2d(1, 1, 1, bias=False)
        nn.init.ones_(self.layer.weight)
        self.limit = limit

    def forward(self, image):
        result = self.layer(image)
        if result.dtype == torch.float32:
            return result
        bright = image.amax(dim=(1, 2, 3), keepdim=True) > self.limit
        return torch.where(bright, torch.full_like(result, torch.inf), result)


def config_of(generator, *, follow=False, **sides):
    entry = {"name": "identity", "arguments": {}}
    entry["input"] = {"channels": generator.in_channels} | sides.get("input", {})
    entry["output"] = {"channels": generator.out_channels} | sides.get("output", {})
    return ModelConfig.model_validate({"follow_input_channels": follow, "generators": {"generator": entry}})


def pipeline(generator, **options):
    return Pipeline(generator, config_of(generator, **options))


def values(*shape, dtype=np.uint8):
    if dtype == np.float32:
        return RANDOM.random(shape, dtype=np.float32)
    return RANDOM.integers(0, np.iinfo(dtype).max + 1, shape).astype(dtype)


# what goes in comes out


def test_every_kind_of_image_comes_back_as_its_kind(tmp_path):
    pipe = pipeline(Negative())
    array = values(5, 7, 3)
    write_picture(from_array(array), tmp_path / "a.png")
    negative = 255 - array

    for path in (tmp_path / "a.png", str(tmp_path / "a.png")):
        assert isinstance(pipe(path), Image.Image)
        np.testing.assert_array_equal(np.asarray(pipe(path)), negative)
    result = pipe(Image.fromarray(array))
    assert isinstance(result, Image.Image)
    np.testing.assert_array_equal(np.asarray(result), negative)
    np.testing.assert_array_equal(pipe(array), negative)
    result = pipe(from_array(array))
    assert isinstance(result, Picture)
    np.testing.assert_array_equal(result.pixels, negative)
    tensor = torch.rand(3, 5, 7) * 2 - 1
    assert torch.equal(pipe(tensor), -tensor)
    assert torch.equal(pipe(tensor[None]), -tensor[None])
    assert torch.equal(pipe(tensor.double()), -tensor)


def test_a_list_gives_a_list_of_the_same_kinds():
    array = values(4, 4, 3)
    results = pipeline(Negative())([array, Image.fromarray(array), torch.zeros(3, 4, 4)])
    assert [type(result) for result in results] == [np.ndarray, Image.Image, torch.Tensor]
    assert isinstance(pipeline(Negative())((array,)), list)
    assert pipeline(Negative())([]) == []


def test_an_iterator_is_translated_lazily():
    asked = []

    def images():
        for number in range(1000):
            asked.append(number)
            yield np.full((2, 2, 3), number, np.uint8)

    results = pipeline(Negative())(images())
    assert asked == []
    assert next(results)[0, 0, 0] == 255
    assert next(results)[0, 0, 0] == 254
    assert asked == [0, 1]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("samples", [1, 2, 3, 4])
def test_the_shipped_identity_returns_every_kind_of_array_bit_for_bit(dtype, samples):
    array = values(9, 6, samples, dtype=dtype)
    array = array[..., 0] if samples == 1 else array
    result = Pipeline.from_pretrained("identity", device="cpu")(array)
    assert result.dtype == dtype
    np.testing.assert_array_equal(result, array)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_value_type_is_never_guessed_from_dark_pixels(dtype):
    dark = np.full((3, 3, 3), 7, dtype)
    assert (pipeline(Negative())(dark) == np.iinfo(dtype).max - 7).all()


@pytest.mark.parametrize("size", [(1, 1), (1, 33), (33, 1), (2, 3), (7, 5), (16, 16), (17, 24), (8, 8)])
def test_any_size_comes_back_as_it_went_in(size):
    pipe = pipeline(Negative())
    array = values(*size, 3)
    np.testing.assert_array_equal(pipe(array), 255 - array)
    np.testing.assert_array_equal(np.asarray(pipe(Image.fromarray(array))), 255 - array)
    double = pipeline(Twice())(array)
    np.testing.assert_array_equal(double, array.repeat(2, axis=0).repeat(2, axis=1))


def test_a_real_network_takes_any_size(small_model):
    pipe = Pipeline.from_pretrained(small_model)
    for size in ((1, 1), (1, 9), (30, 13)):
        assert pipe(values(*size, 3)).shape == (*size, 3)


def test_alpha_is_kept_and_what_is_below_it_is_multiplied_first():
    array = np.full((1, 3, 4), 200, np.uint8)
    array[0, :, 3] = (255, 51, 0)  # opaque, a fifth, transparent
    result = pipeline(Negative())(array)
    np.testing.assert_array_equal(result[..., 3], array[..., 3])
    assert result[0, 0, 0] == 55
    # 200 * 0.2 = 40 becomes 215: 175 more, which is 875 more before the multiplication; nothing is above 255.
    assert result[0, 1, 0] == 255
    assert result[0, 2, 0] == 200  # not seen, not changed


def test_alpha_grows_with_the_image():
    array = np.dstack([values(3, 4, 3), np.full((3, 4), 255, np.uint8)])
    result = pipeline(Twice())(array)
    assert result.shape == (6, 8, 4)
    assert (result[..., 3] == 255).all()
    np.testing.assert_array_equal(result[::2, ::2, :3], array[..., :3])


def test_metadata_and_orientation_travel_with_the_image():
    image = Image.fromarray(values(4, 6, 3))
    exif = image.getexif()
    exif[0x0112] = 6  # turn a quarter clockwise to look at it
    exif[0x010F] = "camera"
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    image.info |= {"exif": exif.tobytes(), "icc_profile": profile, "dpi": (300, 300)}
    result = Pipeline.from_pretrained("identity")(image)
    assert result.size == (4, 6)
    np.testing.assert_array_equal(np.asarray(result), np.rot90(np.asarray(image), -1))
    assert result.info["icc_profile"] == profile
    assert result.getexif()[0x010F] == "camera"
    assert result.getexif().get(0x0112, 1) == 1


# channels and ranges


def test_a_model_of_colours_makes_colours_of_grey():
    grey = values(3, 5)
    result = pipeline(Negative(3))(grey)
    np.testing.assert_array_equal(result, np.repeat(255 - grey[..., None], 3, axis=2))


def test_a_model_that_follows_its_input_keeps_grey_grey_and_colour_colour():
    grey, colour = values(3, 5), values(3, 5, 3)
    np.testing.assert_array_equal(pipeline(Negative(3), follow=True)(grey), 255 - grey)
    np.testing.assert_array_equal(pipeline(Negative(3), follow=True)(colour), 255 - colour)
    assert pipeline(Negative(1), follow=True)(colour).shape == (3, 5, 3)
    assert pipeline(Negative(1))(colour).shape == (3, 5)
    assert pipeline(Negative(3, outputs=1))(colour).shape == (3, 5)
    assert pipeline(Negative(3, outputs=1), follow=True)(colour).shape == (3, 5, 3)


def test_the_models_own_range_is_used_instead_of_the_files():
    hounsfield = {"range": {"low": -1000, "high": 3000, "units": "HU"}}
    pipe = pipeline(Negative(1), input=hounsfield, output=hounsfield)
    np.testing.assert_allclose(pipe(np.float32([[-1000, 0, 1000, 3000]])), [[3000, 2000, 1000, -1000]], atol=1e-3)


# output_type


@pytest.mark.parametrize("given", ["array", "image", "picture", "tensor"])
def test_the_output_type_can_be_chosen(given):
    array = np.full((2, 3, 3), 255, np.uint8)
    picture = from_array(array)
    image = {"array": array, "image": Image.fromarray(array), "picture": picture, "tensor": torch.ones(3, 2, 3)}[given]
    pipe = pipeline(Negative())
    assert pipe(image, output_type="pil").getpixel((0, 0)) == (0, 0, 0)
    assert (pipe(image, output_type="np") == 0).all()
    assert pipe(image, output_type="np").shape == (2, 3, 3)
    assert (pipe(image, output_type="picture").pixels == 0).all()
    tensor = pipe(image, output_type="pt")
    assert tensor.shape == (3, 2, 3)
    assert (tensor == -1).all()


def test_a_batch_of_tensors_gives_a_list_of_images():
    results = pipeline(Negative())(torch.zeros(2, 3, 4, 5), output_type="pil")
    assert [result.size for result in results] == [(5, 4), (5, 4)]


def test_a_tensor_of_a_model_with_units_becomes_an_array_in_these_units():
    hounsfield = {"range": {"low": -1000, "high": 3000, "units": "HU"}}
    result = pipeline(Negative(1), output=hounsfield)(torch.ones(1, 1, 1), output_type="np")
    assert result.dtype == np.float32
    assert result.item() == -1000


@pytest.mark.parametrize("image", [np.zeros((2, 2, 3), np.uint8), torch.zeros(3, 2, 2)])
def test_an_unknown_output_type_is_refused(image):
    with pytest.raises(ImageError, match="output_type must be one of pil, np, pt, picture, got 'numpy'"):
        pipeline(Negative())(image, output_type="numpy")


@pytest.mark.parametrize("image", [3, 2.5, None, object(), b"\x89PNG", {"image": 1}])
def test_what_is_no_image_is_refused(image):
    with pytest.raises(ImageError, match=f"cannot translate a {type(image).__name__}: give a path, a PIL image"):
        pipeline(Negative())(image)


@pytest.mark.parametrize(
    "tensor",
    [torch.zeros(3, 4), torch.zeros(4, 4, 3), torch.zeros(3, 4, 4, dtype=torch.uint8), torch.zeros(1, 1, 4, 4)],
)
def test_a_tensor_of_another_shape_or_type_is_refused(tensor):
    with pytest.raises(ImageError, match=r"must be float \(C, H, W\) or \(N, C, H, W\) in \[-1, 1\] with 3 channels"):
        pipeline(Negative())(tensor)


def test_a_file_that_is_missing_is_refused(tmp_path):
    with pytest.raises(ImageError, match="there is no such file"):
        pipeline(Negative())(tmp_path / "none.png")


def test_colour_that_pillow_cannot_hold_says_what_to_ask_for(tmp_path):
    array = values(4, 4, 3, dtype=np.uint16)
    write_picture(from_array(array), tmp_path / "deep.png")
    pipe = pipeline(Negative())
    with pytest.raises(ImageError, match="Pillow holds uint16 only as grey"):
        pipe(tmp_path / "deep.png")
    np.testing.assert_array_equal(pipe(tmp_path / "deep.png", output_type="np"), 65535 - array)


# stages, device and precision


def test_the_three_stages_do_what_a_call_does(small_model):
    pipe = Pipeline.from_pretrained(small_model)
    picture = from_array(values(21, 13, 4), Metadata(dpi=(72.0, 72.0)))
    prepared = pipe.prepare(picture)
    assert prepared.images.shape == (1, 3, 21, 13)
    staged = pipe.finish(pipe.run(prepared.images), prepared)
    np.testing.assert_array_equal(to_array(staged), to_array(pipe(picture)))
    assert staged.metadata == picture.metadata


def test_images_of_one_size_run_as_a_batch():
    generator = Negative()
    images = torch.rand(3, 3, 10, 20)
    assert torch.equal(pipeline(generator).run(images), -images)
    assert generator.sizes == [(3, 3, 16, 24)]


def test_to_moves_the_network_and_chooses_the_precision(small_model):
    pipe = Pipeline.from_pretrained(small_model, device="cpu")
    assert pipe.to("cpu", torch.bfloat16) is pipe
    assert pipe.dtype == torch.bfloat16
    assert pipe.to("cpu").dtype == torch.bfloat16
    assert {weight.dtype for weight in pipe.generator.parameters()} == {torch.float32}
    assert not pipe.generator.training


def test_bfloat16_is_close_to_float32(small_model, photographs):
    exact = Pipeline.from_pretrained(small_model)
    fast = Pipeline.from_pretrained(small_model, dtype=torch.bfloat16)
    difference = np.abs(exact(photographs[0]).astype(int) - fast(photographs[0]))
    assert 0 < difference.mean() < 4  # of 255; bfloat16 has 8 bits


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_an_overflow_is_done_again_in_float32_with_a_warning(dtype, caplog):
    pipe = pipeline(Overflowing(limit=0.9)).to("cpu", dtype)
    with caplog.at_level(logging.WARNING):
        assert pipe(np.array([[255, 0]], np.uint8)).tolist() == [[255, 0]]
    assert [record.getMessage() for record in caplog.records] == [
        f"the output in {dtype} is not finite: done again in float32"
    ]


def test_an_overflow_of_one_image_leaves_the_others_of_its_batch_as_they_are(caplog):
    pipe = pipeline(Overflowing(limit=0.9)).to("cpu", torch.bfloat16)
    images = torch.tensor([0.123456, 1.0]).reshape(2, 1, 1, 1)
    together = pipe.run(images)
    assert together.flatten().tolist() == [torch.tensor(0.123456).bfloat16().item(), 1.0]
    assert torch.equal(together, torch.cat([pipe.run(image[None]) for image in images]))


def test_what_is_not_finite_in_float32_is_an_error():
    class Broken(Negative):
        def forward(self, image):
            return image * torch.nan

    with pytest.raises(ImageError, match="NaN or infinity in 12 of 12 values"):
        pipeline(Broken())(values(2, 2, 3))


# models


def test_a_direction_chooses_the_generator(small_model, photographs):
    first, second = (Pipeline.from_pretrained(small_model, direction=name) for name in (None, "b_to_a"))
    assert (first.name, second.name) == ("a_to_b", "b_to_a")
    assert (first(photographs[0]) != second(photographs[0])).any()
    with pytest.raises(CheckpointError, match="has no generator 'a_to_c': it has a_to_b, b_to_a"):
        Pipeline.from_pretrained(small_model, direction="a_to_c")


def test_a_saved_model_translates_as_before(small_model, tmp_path, photographs):
    pipe = Pipeline.from_pretrained(small_model)
    pipe.save_pretrained(tmp_path / "again")
    again = Pipeline.from_pretrained(tmp_path / "again")
    np.testing.assert_array_equal(again(photographs[0]), pipe(photographs[0]))
    assert again.fingerprint() == pipe.fingerprint()


def test_the_fingerprint_changes_with_weights_direction_precision_and_config(small_model):
    pipe = Pipeline.from_pretrained(small_model)
    before = {pipe.fingerprint(), Pipeline.from_pretrained(small_model, direction="b_to_a").fingerprint()}
    before.add(Pipeline.from_pretrained(small_model, dtype=torch.bfloat16).fingerprint())
    following = pipe.config.model_copy(update={"follow_input_channels": True})
    before.add(Pipeline(pipe.generator, following).fingerprint())
    assert len(before) == 4
    trained = pipe.config.model_copy(update={"training": {"steps": 5}})
    assert Pipeline(pipe.generator, trained).fingerprint() in before  # the same translations
    next(pipe.generator.parameters()).data[0] += 1e-3
    assert pipe.fingerprint() not in before


def test_models_of_one_generator_need_no_direction():
    assert Pipeline.from_pretrained("identity").name == "generator"


# sizes


@pytest.mark.parametrize(
    ("side", "multiple", "minimum", "expected"),
    [(1, 8, 16, 16), (16, 8, 16, 16), (17, 8, 16, 24), (5, 1, 1, 5), (3, 4, 5, 8), (255, 256, 1, 256)],
)
def test_the_padded_side_is_the_smallest_that_is_allowed(side, multiple, minimum, expected):
    assert padded_side(side, multiple, minimum) == expected


def test_padding_mirrors_as_often_as_it_must():
    row = torch.tensor([1.0, 2.0, 3.0]).expand(1, 3, 1, 3)
    padded = pad_to_rule(row, Negative())
    assert padded.shape == (1, 3, 16, 16)
    assert padded[0, 0, 9].tolist() == [1, 2, 3, 2] * 4
    fitting = torch.zeros(1, 3, 16, 24)
    assert pad_to_rule(fitting, Negative()) is fitting


def test_a_larger_output_is_cut_at_its_own_scale():
    assert translate_any_size(Twice(), torch.zeros(2, 3, 5, 7)).shape == (2, 3, 10, 14)


def test_images_of_several_sizes_are_cut_around_their_centres():
    wide, high = torch.arange(5.0).reshape(1, 1, 5), torch.arange(3.0).reshape(1, 3, 1).expand(1, 3, 3)
    assert centre_crop([wide, high]).tolist() == [[[[1, 2, 3]]], [[[1, 1, 1]]]]


def test_a_prepared_image_can_wait_for_its_output():
    pipe = pipeline(Negative())
    prepared = [pipe.prepare(np.full((2, 2, 3), value, np.uint8)) for value in (0, 100)]
    outputs = pipe.run(torch.cat([one.images for one in prepared]))
    finished = [pipe.finish(output[None], one) for output, one in zip(outputs, prepared, strict=True)]
    assert [picture.pixels[0, 0, 0] for picture in finished] == [255, 155]
