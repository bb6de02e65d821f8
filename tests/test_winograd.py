"""The fast 3x3 convolution against torch's in float64, forward and backward."""

import itertools
import logging
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from translate.kernels import native, winograd
from translate.kernels.transforms import EVALUATE, INTERPOLATE, PRODUCTS, WEIGHTS
from translate.kernels.winograd import conv3x3, fixed_weights

# N, C, K, H, W: whole tiles; partial tiles both ways; several images; smaller than a tile; a single row of tiles
SHAPES = [(1, 3, 5, 8, 12), (2, 4, 6, 7, 9), (3, 8, 2, 17, 6), (1, 2, 3, 2, 3), (2, 3, 3, 4, 33)]
FORMATS = [torch.contiguous_format, torch.channels_last]
BACKWARD = winograd._backward


def plain(image, weight, bias=None, padding="zeros"):
    mode = "reflect" if padding == "reflect" else "constant"
    return F.conv2d(F.pad(image, (1, 1, 1, 1), mode=mode), weight, bias)


def example(shape, dtype=torch.float64):
    """Image, weight, bias and the gradient of the result; all values are about 1, also the results."""
    count, channels, made, height, width = shape
    torch.manual_seed(0)
    image, weight = torch.randn(count, channels, height, width), torch.randn(made, channels, 3, 3)
    bias, gradient = torch.randn(made), torch.randn(count, made, height, width)
    return [one.to(dtype) for one in (image, weight / (9 * channels) ** 0.5, bias, gradient)]


def both(function, inputs, gradient, padding):
    """The result and the gradients to image, weight and bias."""
    inputs = [one.detach().clone().requires_grad_() for one in inputs]
    made = function(*inputs, padding)
    return [made, *torch.autograd.grad(made, inputs, gradient)]


@pytest.fixture(params=["products", "native"])
def way(request, monkeypatch):
    """How float32 is transformed."""
    if request.param == "products":
        monkeypatch.setattr(native, "_compiled", lambda: None)
    elif native._compiled() is None:
        pytest.skip("there is no C++ compiler")


def test_in_one_dimension_the_transforms_are_a_convolution():
    """The third sum of 1 * 1, 2 * 10, 3 * 100 and so on is 3 * 1 + 4 * 10 + 5 * 100."""
    patch, weight = torch.tensor([1.0, 2, 3, 4, 5, 6]), torch.tensor([1.0, 10, 100])
    evaluate, weights, interpolate = (torch.tensor(one) for one in (EVALUATE, WEIGHTS, INTERPOLATE))
    tile = interpolate @ ((evaluate @ patch) * (weights @ weight))
    torch.testing.assert_close(tile, torch.tensor([321.0, 432, 543, 654]))


@pytest.mark.parametrize("padding", ["zeros", "reflect"])
@pytest.mark.parametrize("shape", SHAPES)
def test_in_float64_it_is_the_convolution(shape, padding):
    image, weight, bias, gradient = example(shape)
    expected = both(plain, (image, weight, bias), gradient, padding)
    for own, given in itertools.product(FORMATS, FORMATS):
        inputs = (image.contiguous(memory_format=own), weight, bias)
        made = both(conv3x3, inputs, gradient.contiguous(memory_format=given), padding)
        assert made[0].is_contiguous(memory_format=torch.channels_last)
        for one, other in zip(made, expected, strict=True):
            torch.testing.assert_close(one, other, rtol=0, atol=1e-13)


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("padding", ["zeros", "reflect"])
@pytest.mark.parametrize("shape", [(1, 256, 64, 32, 32), (2, 21, 40, 13, 22)])
def test_in_float32_it_errs_by_less_than_1e_5_of_the_largest_value(shape, padding):
    *inputs, gradient = example(shape, torch.float32)
    made = both(conv3x3, inputs, gradient, padding)
    exact = both(plain, [one.double() for one in inputs], gradient.double(), padding)
    for one, other in zip(made, exact, strict=True):
        assert one.dtype == torch.float32
        assert (one - other).abs().max() < 1e-5 * other.abs().max()


@pytest.mark.parametrize("padding", ["zeros", "reflect"])
@pytest.mark.parametrize("tiles", [1, 10, 60])  # a row of an image at once; two rows; both images
def test_how_many_tiles_are_computed_at_once_does_not_matter(tiles, padding, monkeypatch):
    *inputs, gradient = example((2, 4, 6, 23, 17))
    expected = both(plain, inputs, gradient, padding)
    monkeypatch.setattr(winograd, "CHUNK", tiles)
    for one, other in zip(both(conv3x3, inputs, gradient, padding), expected, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-12)


@pytest.fixture(scope="module", params=["OpenMP's threads", "threads of our own"])
def machine_code(request):
    if native._compiled() is None:
        pytest.skip("there is no C++ compiler")
    absent = [] if "OpenMP" in request.param else ["-DGOMP_parallel=absent"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(native, "OPTIONS", (*native.OPTIONS, *absent))
        return native._bound(native._build())


@pytest.mark.parametrize("channels", [1, 16, 37])
def test_machine_code_transforms_as_products_of_matrices_do(channels, machine_code, monkeypatch):
    torch.manual_seed(0)
    images, tiles = torch.randn(3, 18, 14, channels)[1:, 4:], torch.randn(3, 5, 4, 3, 4, channels)[1:, 2:]  # views
    values = torch.randn(36, 2 * 3 * 3, channels)
    weight, filters = torch.randn(5, channels, 3, 3), torch.randn(36, 5, channels)
    monkeypatch.setattr(native, "SHARE", 100)

    def all_of(transforms):
        into, onto = torch.zeros(3, 5, 4, 3, 4, channels), torch.ones(3, 18, 14, channels)
        transforms.to_tiles(values, into[1:, 2:])
        transforms.to_patches(values, onto[1:, 4:])
        made = [transforms.from_patches(images), transforms.from_tiles(tiles), into, onto]
        return [*made, transforms.of_weights(weight), transforms.to_weights(filters)]

    results = []
    for threads in (1, 3):
        monkeypatch.setattr(torch, "get_num_threads", lambda threads=threads: threads)
        results.append(all_of(machine_code))
    others = all_of(PRODUCTS)
    for one, again, other in zip(*results, others, strict=True):
        torch.testing.assert_close(one, again, rtol=0, atol=0)
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("wanted", [one for one in itertools.product((False, True), repeat=3) if any(one)])
def test_only_gradients_that_are_wanted_are_made(wanted, monkeypatch):
    image, weight, bias, _ = example((1, 3, 5, 8, 8))
    inputs = [one.requires_grad_(yes) for one, yes in zip((image, weight, bias), wanted, strict=True)]
    asked = []
    monkeypatch.setattr(winograd, "_backward", lambda *given: asked.append(given[-1]) or BACKWARD(*given))
    conv3x3(*inputs).sum().backward()
    assert asked == [wanted[:2]]
    assert tuple(one.grad is not None for one in inputs) == wanted


def test_fixed_weights_are_transformed_once_and_give_the_same(monkeypatch):
    image, weight, bias, _ = example((1, 3, 5, 8, 8))
    other = weight * 2
    expected = [conv3x3(image, one, bias) for one in (weight, other)]
    kept = {}
    for _ in range(2):
        with fixed_weights(kept):
            made = [conv3x3(image, one, bias) for one in (weight, other)]
        torch.testing.assert_close(made, expected, rtol=0, atol=0)
        monkeypatch.setattr(
            winograd, "transforms", lambda dtype: replace(PRODUCTS, of_weights=None)
        )  # not needed again
    assert len(kept) == 2


def test_a_second_derivative_is_refused():
    image, weight, *_ = example((1, 3, 5, 8, 8))
    made = conv3x3(image.requires_grad_(), weight)
    with pytest.raises(RuntimeError, match="no second derivative: leave fast_kernels"):
        torch.autograd.grad(made.sum(), image, create_graph=True)


@pytest.mark.parametrize("missing", ["found", "broken"])
def test_without_a_compiler_the_log_says_so_once_and_products_are_taken(missing, monkeypatch, caplog, tmp_path):
    if missing == "broken":  # it is there, and fails
        (tmp_path / "c++").write_text("#!/bin/sh\necho no such option >&2\nexit 1\n")
        (tmp_path / "c++").chmod(0o755)
    monkeypatch.setenv("PATH", "/bin" if missing == "broken" else "")
    monkeypatch.setenv("CXX", str(tmp_path / "c++") if missing == "broken" else "")
    monkeypatch.setattr(native, "COMPILERS", ("no-such-compiler",))
    native._compiled.cache_clear()
    try:
        with caplog.at_level(logging.WARNING):
            assert native.transforms(torch.float32) is PRODUCTS
            assert native.transforms(torch.float32) is PRODUCTS
    finally:
        native._compiled.cache_clear()
    reason = "no such option" if missing == "broken" else "No such file or directory: 'no-such-compiler'"
    assert [reason in record.message for record in caplog.records] == [True]
    assert "for want of a C++ compiler" in caplog.text
