"""Enlarging: colours, value types and alpha as they were, the exact size that was asked for, and nothing rounded twice.

A network whose last layer is zero adds nothing to the bicubic enlargement, so its result is known: that of `imresize`
in float64, rounded once. The pipeline computes in float32 (an error of at most 1e-6 of the range), so a value that
lies within that of a tie may round the other way: in 8-bit fewer than one in 1,000 by one, in 16-bit fewer than one
in 20, in float32 all are within 1e-6.
"""

import json

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms
from skimage import data as photographs_of

import translate.pipelines
from translate.checkpoint import CheckpointError
from translate.cli import main
from translate.data import resize
from translate.data.images import ImageError, Metadata, Picture, from_array, read_picture, to_array, write_picture
from translate.data.imresize import imresize
from translate.data.intensity import LUMA, picture_to_tensor
from translate.model_folder import ModelConfig, save_model
from translate.networks import EDSR
from translate.pipelines import OutputSize, Pipeline, SuperResolution, load_pipeline
from translate.pipelines.inference.folder import translate_file, translate_folder
from translate.pipelines.inference.plan import Options

RANDOM = np.random.default_rng(0)
SHARE = {"uint8": 1e-3, "uint16": 0.05}  # of the values that may round the other way


def config_of(channels=1, scale=2, *, task="super_resolution", **side):
    arguments = {"in_channels": channels, "out_channels": channels, "scale": scale, "width": 4, "blocks": 1}
    side = {"channels": channels, **side}
    generator = {"name": "edsr", "arguments": arguments, "input": side, "output": side}
    return ModelConfig.model_validate({"task": task, "generators": {"generator": generator}})


def network(channels=1, scale=2, *, adds=None):
    """An EDSR that adds nothing, a number (in model space), or, with "details", what random weights give."""
    torch.manual_seed(0)
    generator = EDSR(channels, channels, scale=scale, width=4, blocks=1)
    last = generator.tail[0]
    if adds == "details":
        torch.nn.init.normal_(last.weight, 0, 0.05)
    elif adds is not None:
        torch.nn.init.constant_(last.bias, adds)
    return generator


def enlarger(channels=1, scale=2, *, adds=None, **side):
    return SuperResolution(network(channels, scale, adds=adds), config_of(channels, scale, **side))


@pytest.fixture
def model(tmp_path):
    """The folder of a luminance model for x2."""
    save_model(tmp_path / "x2", config_of(), {"generator": network(adds="details")})
    return tmp_path / "x2"


def photo(dtype=np.uint8, channels=3):
    """(40, 56) of real photographs: an astronaut's face, or a man with a camera."""
    array = photographs_of.astronaut()[90:130, 190:246] if channels == 3 else photographs_of.camera()[100:140, 200:256]
    if dtype == np.float32:
        return (array / 255).astype(np.float32)
    return array.astype(dtype) * dtype(257) if dtype == np.uint16 else np.ascontiguousarray(array)


def cut_out(hidden=(0, 255, 0)):
    """(64, 64, 4): the astronaut's face in a circle with a soft edge, and any colour around it."""
    rows, columns = np.mgrid[:64, :64] - 31.5
    opacity = np.clip(24.5 - np.hypot(rows, columns), 0, 1)
    face = np.where(opacity[..., None] > 0, photographs_of.astronaut()[80:144, 190:254], np.uint8(hidden))
    return np.dstack([face, np.rint(255 * opacity)]).astype(np.uint8)


def bicubic(array, *sizes):
    """Through these sizes one after another, in float64."""
    array = array.astype(np.float64)
    for size in sizes:
        array = imresize(array, size)
    return array


def check_rounded_once(result, exact):
    """Equal to `exact`, rounded to the result's type, but for ties (see above)."""
    assert result.shape == exact.shape
    if result.dtype == np.float32:
        np.testing.assert_allclose(result, exact, atol=1e-6)
        return
    expected = np.clip(np.rint(exact), 0, np.iinfo(result.dtype).max)
    difference = np.abs(result - expected)
    assert difference.max() <= 1
    assert (difference > 0).mean() < SHARE[result.dtype.name]


# a network that adds nothing gives imresize's result


@pytest.mark.parametrize("scale", [1, 2, 3, 4, 8])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("network_channels", [1, 3])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_network_that_adds_nothing_gives_what_imresize_gives(channels, network_channels, dtype, scale):
    array = photo(dtype, channels)
    result = enlarger(network_channels, scale)(array)
    assert result.dtype == dtype
    check_rounded_once(result, bicubic(array, (40 * scale, 56 * scale)))


@pytest.mark.parametrize("name", ["rocket", "chelsea", "camera"])
def test_whole_photographs_come_back_as_imresize_enlarges_them(name):
    array = getattr(photographs_of, name)()
    height, width = array.shape[:2]
    check_rounded_once(enlarger()(array), bicubic(array, (2 * height, 2 * width)))


@pytest.mark.parametrize("shape", [(1, 1), (1, 1, 3), (1, 9), (9, 1, 3), (2, 2), (2, 1, 4), (7, 5, 2)])
@pytest.mark.parametrize("network_channels", [1, 3])
def test_any_size_down_to_one_pixel_is_enlarged(shape, network_channels):
    array = RANDOM.integers(0, 256, shape).astype(np.uint8)
    if array.ndim == 3 and array.shape[2] in (2, 4):
        array[..., -1] = 255
    result = enlarger(network_channels, 3)(array)
    check_rounded_once(result, bicubic(array, (3 * shape[0], 3 * shape[1])))


# luminance and colours


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_what_the_network_adds_to_the_luminance_is_added_to_every_channel(dtype):
    array = photo(dtype)
    brighter = 0.05 * (1 if dtype == np.float32 else np.iinfo(dtype).max)  # 0.1 of the 2 that model space is wide
    check_rounded_once(enlarger(adds=0.1)(array), bicubic(array, (80, 112)) + brighter)


def test_the_result_has_the_networks_luminance_and_bicubic_chroma():
    array = photo(np.float32)
    pipe = enlarger(adds="details")
    result = pipe(array)
    plain = bicubic(array, (80, 112))
    luminance = pipe.run(pipe.prepare(array).images)[0, 0].numpy() / 2 + 0.5
    np.testing.assert_allclose(result @ LUMA, luminance, atol=1e-6)
    assert np.abs(result - plain).max() > 0.02
    for channel in (0, 1):
        np.testing.assert_allclose(
            result[..., channel] - result[..., 2], plain[..., channel] - plain[..., 2], atol=1e-6
        )


def test_a_colour_network_makes_grey_of_grey_whatever_its_config_says():
    result = enlarger(3, adds="details")(photo(channels=1))
    assert result.shape == (80, 112)


def test_a_range_with_units_is_kept():
    range = {"low": -1000, "high": 3000, "units": "HU"}
    result = enlarger(adds=0.1, range=range)(np.full((3, 4), 500, np.float32))
    np.testing.assert_allclose(result, np.full((6, 8), 700), rtol=1e-6)


# alpha


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_alpha_is_enlarged_by_the_same_kernel_and_clipped(dtype):
    array = cut_out() if dtype == np.uint8 else (cut_out() / 255).astype(np.float32)
    top = 255 if dtype == np.uint8 else 1
    result = enlarger()(array)
    exact = bicubic(array[..., 3], (128, 128))
    assert exact.min() < -0.01 * top  # the kernel overshoots
    assert exact.max() > 1.01 * top
    check_rounded_once(result[..., 3], np.clip(exact, 0, top))


@pytest.mark.parametrize("adds", [None, "details"])
@pytest.mark.parametrize("size", [{}, {"scale": 3}, {"scale": 1}])
@pytest.mark.parametrize("channels", [1, 3])
def test_what_is_hidden_under_transparent_pixels_is_nowhere_in_the_result(channels, size, adds):
    pipe = enlarger(channels, adds=adds)
    green, black = (pipe(cut_out(hidden), **size) for hidden in ((0, 255, 0), (0, 0, 0)))
    np.testing.assert_array_equal(green, black)
    assert (green[..., 3] == 0).any()


def test_an_edge_of_alpha_alone_leaves_no_fringe():
    rows, columns = np.mgrid[:32, :32] - 15.5
    alpha = np.where(np.hypot(rows, columns) < 10, 255, 0).astype(np.uint8)
    flat = np.full((32, 32, 3), (200, 120, 60), np.uint8)
    pipe = enlarger(adds="details")
    hidden = np.where(alpha[..., None] > 0, flat, 0)
    np.testing.assert_array_equal(pipe(np.dstack([hidden, alpha]))[..., :3], pipe(flat))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("channels", [1, 3])
def test_opaque_and_transparent_pictures_stay_so(dtype, channels):
    top = 1 if dtype == np.float32 else np.iinfo(dtype).max
    pixels = photo(dtype, channels).reshape(40, 56, channels)
    for opacity in (top, 0):
        result = enlarger()(Picture(pixels, np.full((40, 56), opacity, dtype)), scale=3)
        assert result.pixels.dtype == result.alpha.dtype == dtype
        assert result.alpha.shape == (120, 168)
        assert (result.alpha == opacity).all()
        check_rounded_once(result.pixels, bicubic(pixels, (80, 112), (120, 168)))


def test_values_that_are_not_finite_are_refused_also_where_they_are_hidden():
    pixels, alpha = photo(np.float32), np.ones((40, 56), np.float32)
    pixels[3, 3], alpha[:9, :9], alpha[0, 0] = np.nan, 0, np.inf
    with pytest.raises(ImageError, match="4 values are NaN or infinite, all must be finite"):
        enlarger()(Picture(pixels, alpha))


# the size


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ({}, (80, 112)),
        ({"scale": 2}, (80, 112)),
        ({"scale": 3}, (120, 168)),
        ({"scale": 1}, (40, 56)),
        ({"scale": 1.51}, (60, 85)),  # 60.4, 84.56
        ({"scale": 0.1}, (4, 6)),  # 5.6
        ({"scale": 1e-9}, (1, 1)),
        ({"width": 100}, (71, 100)),  # 71.43
        ({"width": 7}, (5, 7)),
        ({"width": 1}, (1, 1)),
        ({"height": 100}, (100, 140)),
        ({"height": np.int64(5)}, (5, 7)),
        ({"width": 30, "height": 90}, (90, 30)),
        ({"width": 112, "height": 80}, (80, 112)),
    ],
)
def test_the_size_is_exactly_the_one_asked_for(size, expected):
    array = photo()
    result = enlarger()(array, **size)
    check_rounded_once(result, bicubic(array, (80, 112), expected))


@pytest.mark.parametrize(
    ("side", "scale", "expected"), [(5, 2.3, 12), (5, 0.5, 3), (3, 1.5, 5), (1, 0.5, 1), (7, 1, 7)]
)
def test_sides_are_rounded_half_upwards(side, scale, expected):
    assert OutputSize(scale=scale).of(side, side, 2) == (expected, expected)


def test_the_other_side_is_rounded_half_upwards_too():
    assert OutputSize(width=3).of(1, 2, 4) == (2, 3)
    assert OutputSize(height=3).of(2, 1, 4) == (3, 2)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_nothing_is_rounded_before_the_last_resize(dtype):
    array = np.zeros((6, 6), dtype)
    array[:, 3:] = 1  # a step of one unit: rounded after the enlargement it would be a step again
    result = enlarger(adds=0.2 / np.iinfo(dtype).max)(array, scale=1)
    check_rounded_once(result, bicubic(array, (12, 12), (6, 6)) + 0.1)


def test_the_network_runs_once_at_its_own_scale(monkeypatch):
    pipe = enlarger()
    shapes = []
    pipe.generator.register_forward_hook(lambda _network, _given, output: shapes.append(tuple(output.shape)))
    pipe(photo(), scale=3.5)
    assert shapes == [(1, 1, 80, 112)]


def test_at_the_networks_own_scale_nothing_is_resized(monkeypatch):
    monkeypatch.setattr(resize, "imresize", lambda *_: pytest.fail("resized"))
    assert enlarger()(photo()).shape == enlarger()(photo(), scale=2.0).shape == (80, 112, 3)
    assert enlarger()(photo(), width=112, height=80).shape == (80, 112, 3)


@pytest.mark.parametrize(
    ("size", "message"),
    [
        ({"scale": 0}, "scale must be a finite number above 0, got 0"),
        ({"scale": -2.0}, r"scale must be a finite number above 0, got -2\.0"),
        ({"scale": float("nan")}, "scale must be a finite number above 0, got nan"),
        ({"scale": float("inf")}, "scale must be a finite number above 0, got inf"),
        ({"scale": True}, "scale must be a finite number above 0, got True"),
        ({"scale": "2"}, "scale must be a finite number above 0, got '2'"),
        ({"width": 0}, "width must be a whole number of pixels above 0, got 0"),
        ({"height": -1}, "height must be a whole number of pixels above 0, got -1"),
        ({"height": 10.0}, r"height must be a whole number of pixels above 0, got 10\.0"),
        ({"width": True}, "width must be a whole number of pixels above 0, got True"),
        ({"max_pixels": 0}, "max_pixels must be a whole number of pixels above 0, got 0"),
        ({"scale": 2, "width": 10}, "given twice, by scale=2 and by width=10, height=None: give either the scale, or"),
        ({"scale": 2.5, "height": 10}, r"given twice, by scale=2\.5 and by width=None, height=10"),
    ],
)
def test_a_size_that_makes_no_sense_is_refused(size, message):
    with pytest.raises(ImageError, match=message):
        OutputSize(**size)
    if "max_pixels" not in size:
        with pytest.raises(ImageError, match=message):
            enlarger()(photo(), **size)


@pytest.mark.parametrize(
    ("size", "limit", "message"),
    [
        (
            {},
            8959,
            r"an image of 40 x 56 would become one of 80 x 112 \(H x W\), 8960 pixels, allowed are 8959: give a",
        ),
        (
            {"scale": 1},
            8959,
            r"one of 80 x 112 \(H x W\).*or pass max_pixels=8960 if you have the memory",
        ),  # on the way
        ({"scale": 3}, 20159, r"one of 120 x 168 \(H x W\), 20160 pixels, allowed are 20159"),
        ({"scale": 1e300}, 300_000_000, "allowed are 300000000"),
        ({"width": 10**6, "height": 10**6}, 300_000_000, r"one of 1000000 x 1000000 \(H x W\)"),
    ],
)
def test_a_result_that_is_too_large_is_refused_before_the_network_runs(size, limit, message):
    pipe = enlarger().with_settings(size=OutputSize(**size, max_pixels=limit))
    pipe.generator.register_forward_hook(lambda *_: pytest.fail("the network ran"))
    with pytest.raises(ImageError, match=message):
        pipe(photo())
    with pytest.raises(ImageError, match=message):
        pipe(torch.zeros(1, 40, 56))


def test_the_largest_result_that_is_allowed_is_made():
    pipe = enlarger().with_settings(size=OutputSize(max_pixels=8960))
    assert pipe(photo()).shape == (80, 112, 3)
    with pytest.raises(ImageError, match="allowed are 8960"):
        pipe(photo(), scale=2.1)  # the limit stays


# the self-ensemble


def eight_views(image):
    """(view, undo) of the square's symmetries, for arrays (H, W)."""
    for quarter in range(4):
        yield np.rot90(image, quarter), lambda out, q=quarter: np.rot90(out, -q)
        yield np.rot90(image, quarter).T, lambda out, q=quarter: np.rot90(out.T, -q)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("scale", [1, 2, 3, 4, 8])
def test_the_self_ensemble_of_an_equivariant_network_is_its_plain_result(scale, channels):
    images = torch.from_numpy(RANDOM.uniform(-1, 1, (2, channels, 9, 14))).float()
    pipe = enlarger(channels, scale)
    ensemble = pipe.with_settings(self_ensemble=True)
    torch.testing.assert_close(ensemble.run(images), pipe.run(images), atol=2e-6, rtol=0)


def test_the_self_ensemble_is_the_mean_over_the_eight_views():
    image = RANDOM.uniform(-1, 1, (9, 14)).astype(np.float32)
    pipe = enlarger(adds="details")
    outputs = [
        undo(pipe.run(torch.from_numpy(view.copy())[None, None])[0, 0].numpy()) for view, undo in eight_views(image)
    ]
    result = pipe.with_settings(self_ensemble=True).run(torch.from_numpy(image)[None, None])[0, 0].numpy()
    np.testing.assert_allclose(result, np.mean(outputs, axis=0), atol=1e-6)
    assert np.abs(result - outputs[0]).max() > 0.01


def test_the_self_ensemble_leaves_what_it_was_given_as_it_is():
    images = torch.from_numpy(RANDOM.uniform(-1, 1, (1, 1, 5, 4))).float()
    given = images.clone()

    class Same(torch.nn.Module):
        scale = size_multiple = size_minimum = in_channels = out_channels = 1

        def forward(self, image):
            return image

    pipe = SuperResolution(Same(), config_of(scale=1)).with_settings(self_ensemble=True)
    torch.testing.assert_close(pipe.run(images), given, atol=1e-6, rtol=0)
    assert torch.equal(images, given)


def test_a_call_chooses_the_self_ensemble_for_itself():
    pipe = enlarger(adds="details")
    plain, ensemble = pipe(photo()), pipe(photo(), self_ensemble=True)
    assert (plain != ensemble).any()
    always = pipe.with_settings(self_ensemble=True)
    np.testing.assert_array_equal(always(photo()), ensemble)
    np.testing.assert_array_equal(always(photo(), self_ensemble=False), plain)
    np.testing.assert_array_equal(pipe(photo()), plain)
    one = pipe(np.uint8([[[10, 20, 30]]]), self_ensemble=True)
    assert one.shape == (2, 2, 3)


# kinds of images, and the stages


def test_every_kind_of_image_comes_back_larger_as_its_kind(tmp_path):
    array = photo()
    write_picture(from_array(array), tmp_path / "a.png")
    pipe = enlarger(3)
    expected = pipe(array)
    for given in (tmp_path / "a.png", str(tmp_path / "a.png"), Image.fromarray(array)):
        result = pipe(given)
        assert isinstance(result, Image.Image)
        np.testing.assert_array_equal(np.asarray(result), expected)
    np.testing.assert_array_equal(pipe(from_array(array)).pixels, expected)
    np.testing.assert_array_equal(pipe(Image.fromarray(array), output_type="np"), expected)
    assert [type(one) for one in pipe([array, Image.fromarray(array)])] == [np.ndarray, Image.Image]


def test_lists_and_iterators_take_the_size_with_them():
    pipe = enlarger()
    assert [one.shape for one in pipe([photo(), photo(channels=1)], width=70)] == [(50, 70, 3), (50, 70)]
    asked = []

    def images():
        for number in range(100):
            asked.append(number)
            yield photo()

    results = pipe(images(), scale=0.5, self_ensemble=True)
    assert asked == []
    assert next(results).shape == (20, 28, 3)
    assert asked == [0]


def test_tensors_come_back_as_tensors_of_the_size_asked_for():
    image = picture_to_tensor(from_array(photo()), 3)
    pipe = enlarger(3)
    assert torch.equal(pipe(image), pipe.run(image))
    assert pipe(image[0]).shape == (3, 80, 112)
    result = pipe(image, scale=3)
    assert (result.dtype, result.shape) == (torch.float32, (1, 3, 120, 168))
    expected = bicubic(image[0].permute(1, 2, 0).numpy(), (80, 112), (120, 168))
    np.testing.assert_allclose(result[0].permute(1, 2, 0), expected, atol=1e-6)
    batch = torch.cat([image, -image])
    torch.testing.assert_close(pipe(batch, width=50), torch.cat([pipe(image, width=50), pipe(-image, width=50)]))
    assert pipe(image, width=50, output_type="pil")[0].size == (50, 36)
    with pytest.raises(ImageError, match="with 1 channels, got"):
        enlarger(1)(image)


def test_profile_exif_and_resolution_stay():
    exif = Image.Exif()
    exif[0x010F] = "camera"
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    metadata = Metadata(icc=profile, exif=exif.tobytes(), dpi=(300.0, 300.0))
    for network_channels in (1, 3):
        for array in (photo(), cut_out(), photo(channels=1)):
            assert enlarger(network_channels)(from_array(array, metadata), scale=3).metadata == metadata


def test_the_three_stages_do_what_a_call_does_also_in_batches():
    pipe = enlarger(adds="details").with_settings(size=OutputSize(scale=1.5), self_ensemble=True)
    arrays = [photo(), photo(channels=1), np.dstack([photo(), RANDOM.choice(np.uint8([0, 255]), (40, 56))])]
    prepared = [pipe.prepare(array) for array in arrays]
    outputs = pipe.run(torch.cat([one.images for one in prepared]))
    assert outputs.shape == (3, 1, 80, 112)
    for array, output, one in zip(arrays, outputs, prepared, strict=True):
        result = to_array(pipe.finish(output[None], one)).astype(int)
        assert result.shape[:2] == (60, 84)
        assert np.abs(result - pipe(array)).max() <= 1  # another order of summation may round otherwise


def test_other_settings_share_the_network():
    pipe = enlarger()
    other = pipe.with_settings(size=OutputSize(scale=3))
    assert other.generator is pipe.generator
    assert (pipe.size, other.size, other.self_ensemble) == (OutputSize(), OutputSize(scale=3), False)
    assert other.with_settings(self_ensemble=True).size == OutputSize(scale=3)


def test_bfloat16_is_close_to_float32():
    pipe = enlarger(adds="details")
    exact = pipe(photo()).astype(int)
    difference = np.abs(exact - pipe.to("cpu", torch.bfloat16)(photo()))
    assert 0 < difference.mean() < 2


def test_an_output_that_is_not_finite_is_an_error():
    with pytest.raises(ImageError, match="NaN or infinity in 26880 of 26880 values"):
        enlarger(adds=float("nan"))(photo())


# models


def test_the_pipeline_that_a_model_needs_is_chosen_by_its_task(model, small_model):
    pipe = load_pipeline(model, device="cpu", dtype=torch.bfloat16)
    assert isinstance(pipe, SuperResolution)
    assert (pipe.name, pipe.folder, pipe.dtype) == ("generator", model, torch.bfloat16)
    assert type(load_pipeline("identity")) is Pipeline
    assert load_pipeline(str(small_model), direction="b_to_a").name == "b_to_a"
    with pytest.raises(CheckpointError, match="there is no model 'nothing'"):
        load_pipeline("nothing")
    with pytest.raises(CheckpointError, match="has no generator 'b_to_a'"):
        load_pipeline(model, direction="b_to_a")


def test_a_model_of_another_task_is_refused(model, small_model):
    with pytest.raises(
        CheckpointError, match=r"of the task 'translation', which SuperResolution does not do: load it with Pipeline\."
    ):
        SuperResolution.from_pretrained(small_model)
    with pytest.raises(
        CheckpointError,
        match=r"'super_resolution', which Pipeline does not do: load it with SuperResolution\.from_pretrained, or any",
    ):
        Pipeline.from_pretrained(model)


def test_a_saved_model_enlarges_as_before(model, tmp_path):
    pipe = SuperResolution.from_pretrained(model, device="cpu")
    pipe.with_settings(size=OutputSize(scale=3)).save_pretrained(tmp_path / "again")
    again = SuperResolution.from_pretrained(tmp_path / "again", device="cpu")
    np.testing.assert_array_equal(again(photo()), pipe(photo()))
    assert again.fingerprint() == pipe.fingerprint()


def test_the_fingerprint_tells_apart_what_gives_other_results():
    pipe = enlarger()
    sizes = [
        OutputSize(),
        OutputSize(scale=3),
        OutputSize(width=3),
        OutputSize(height=3),
        OutputSize(width=3, height=3),
    ]
    prints = {
        pipe.with_settings(size=size, self_ensemble=both).fingerprint() for size in sizes for both in (False, True)
    }
    assert len(prints) == 10
    assert pipe.fingerprint() == Pipeline(pipe.generator, pipe.config).fingerprint()
    same = pipe.with_settings(size=OutputSize(scale=2.0, max_pixels=10**6))
    assert same.fingerprint() == pipe.fingerprint()


def test_the_public_names_are_there():
    assert set(translate.pipelines.__all__) >= {"Pipeline", "SuperResolution", "OutputSize", "load_pipeline"}


# folders and the command line


@pytest.fixture
def folder(tmp_path):
    """Grey, colour, 16-bit and RGBA images, three of one size and one that is not."""
    (tmp_path / "in" / "sub").mkdir(parents=True)
    arrays = {
        "a.png": photo(),
        "b.png": photo(channels=1),
        "sub/c.tif": photo(np.uint16),
        "sub/d.png": cut_out(),
    }
    for name, array in arrays.items():
        write_picture(from_array(array), tmp_path / "in" / name)
    return tmp_path / "in"


def infer(*words):
    return main(["infer", *map(str, words), "--json"])


def summary_of(capsys):
    summary = json.loads(capsys.readouterr().out)
    return summary["done"], summary["skipped"], summary["failed"]


def test_a_folder_is_enlarged_to_the_scale_asked_for_and_only_once(model, folder, tmp_path, capsys):
    out = tmp_path / "out"
    assert infer(model, folder, out, "--scale", 3) == 0
    assert summary_of(capsys) == (4, 0, 0)
    pipe = load_pipeline(model, device="cpu")
    for name in ("a.png", "b.png", "sub/c.tif", "sub/d.png"):
        result, expected = read_picture(out / name), pipe(read_picture(folder / name), scale=3)
        assert result.pixels.dtype == read_picture(folder / name).pixels.dtype
        np.testing.assert_array_equal(to_array(result), to_array(expected))
    report = [json.loads(line) for line in (out / "report.jsonl").read_text().splitlines()]
    assert [(entry["width"], entry["height"]) for entry in report] == [(168, 120)] * 3 + [(192, 192)]

    assert infer(model, folder, out, "--scale", "3.0") == 0
    assert summary_of(capsys) == (0, 4, 0)
    for words in (["--scale", "2.5"], ["--width", "90"], ["--width", "90", "--height", "50"], ["--self-ensemble"], []):
        assert infer(model, folder, out, *words, "--batch-size", 3) == 0
        assert summary_of(capsys) == (4, 0, 0), words
    assert infer(model, folder, out, "--scale", 2) == 0  # the network's own, as without
    assert summary_of(capsys) == (0, 4, 0)
    assert read_picture(out / "a.png").pixels.shape == (80, 112, 3)


def test_batches_and_self_ensembles_of_images_that_are_not_square_give_what_single_images_give(model, folder, tmp_path):
    pipe = load_pipeline(model, device="cpu").with_settings(self_ensemble=True)
    together, singly = tmp_path / "together", tmp_path / "singly"
    translate_folder(pipe, folder, together, Options(batch_size=4))
    translate_folder(pipe, folder, singly)
    for name in ("a.png", "b.png", "sub/c.tif", "sub/d.png"):
        one, other = (to_array(read_picture(out / name)).astype(int) for out in (together, singly))
        assert np.abs(one - other).max() <= 1  # another order of summation may round otherwise


def test_a_single_file_is_enlarged(model, folder, tmp_path, capsys):
    assert infer(model, folder / "a.png", tmp_path / "large.png", "--width", 90, "--height", 40) == 0
    assert read_picture(tmp_path / "large.png").pixels.shape == (40, 90, 3)
    assert infer(model, folder / "a.png", tmp_path / "small.png", "--size", 20) == 0  # first reduced, then enlarged
    assert read_picture(tmp_path / "small.png").pixels.shape == (40, 56, 3)
    pipe = load_pipeline(model, device="cpu").with_settings(size=OutputSize(height=10))
    assert read_picture(translate_file(pipe, folder / "a.png", tmp_path / "tiny.png")).pixels.shape == (10, 14, 3)


def test_an_image_that_would_become_too_large_is_reported_and_the_others_are_done(model, folder, tmp_path, capsys):
    assert infer(model, folder, tmp_path / "out", "--max-pixels", 10_000) == 1
    assert summary_of(capsys) == (3, 0, 1)
    report = [json.loads(line) for line in (tmp_path / "out" / "report.jsonl").read_text().splitlines()]
    assert "an image of 64 x 64 would become one of 128 x 128" in report[-1]["reason"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--scale", "2"], "--scale cannot be used with identity: its task is 'identity', and only models of the task"),
        (["--width", "9", "--height", "9"], "--width, --height cannot be used with identity"),
        (["--self-ensemble"], "--self-ensemble cannot be used with identity"),
        (["--scale", "0"], "scale must be a finite number above 0, got 0.0"),
        (["--scale", "2", "--width", "9"], "the size was given twice, by scale=2.0 and by width=9, height=None"),
    ],
)
def test_options_that_do_not_fit_end_with_2_and_one_sentence(folder, tmp_path, capsys, words, message):
    assert infer("identity", folder, tmp_path / "out", *words) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith(f"translate: {message}")
    assert captured.err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_help_lists_the_models_that_ship(capsys):
    from translate.model_sources import shipped_models

    with pytest.raises(SystemExit):
        main(["infer", "--help"])
    shown = "".join(capsys.readouterr().out.split())
    assert "".join(f"amodelthatships:{', '.join(shipped_models())}".split()) in shown
