"""What discriminators are shown keeps to the papers' ranges, and what nothing happens to stays as it was."""

import cv2
import numpy as np
import pytest
import torch
from conftest import ROOT
from skimage import data as skimage_data
from torch._subclasses.fake_tensor import FakeTensorMode

from translate.views import AdaptiveProbability, View, instance_noise
from translate.views.changes import CHANGES, warp

OPS = ("rotate", "scale", "colour", "flip", "rotate90", "translate", "cutout")
PAIR = {6: (3, 3), 3: (3,), 4: (1, 3), 1: (1,)}


def model_space(array):
    return torch.from_numpy(np.ascontiguousarray(array.transpose(2, 0, 1))).float() / 127.5 - 1


@pytest.fixture(scope="module")
def face():
    """(3, 64, 64): an astronaut's face."""
    return model_space(skimage_data.astronaut()[60:188:2, 160:288:2])


@pytest.fixture(scope="module")
def cup():
    """(3, 33, 46): odd sides, not square."""
    return model_space(skimage_data.coffee()[100:298:6, 200:476:6])


@pytest.fixture(scope="module")
def emoji():
    """(6, 64, 64): a drawing beside its picture."""
    name = sorted((ROOT / "pipelines" / "pictures" / "sketch").glob("*.png"))[0].name
    sides = [cv2.imread(str(ROOT / "pipelines" / "pictures" / side / name))[::2, ::2] for side in ("sketch", "render")]
    return torch.cat([model_space(side[..., ::-1]) for side in sides])


def many(image, number=200):
    return image.expand(number, *image.shape)


def changed(image, *policy, probability=1.0, number=200):
    """`number` views of one image."""
    torch.manual_seed(7)
    (shown,) = View(0.0, probability, policy, PAIR)(many(image, number))
    assert shown.shape == (number, *image.shape)
    return shown


def same(shown, image):
    """For each image whether it is exactly that one."""
    return (shown == image).flatten(1).all(dim=1)


@pytest.mark.parametrize("view", [View(0.0, 0.0, (), {}), View(0.0, 0.0, OPS, PAIR), View(0.0, 0.5, (), {})])
def test_a_view_with_nothing_to_do_returns_the_very_tensors_and_draws_nothing(view, face):
    batches = [many(face, 2), many(-face, 2)]
    before = torch.get_rng_state()
    shown = view(*batches)
    assert shown[0] is batches[0]
    assert shown[1] is batches[1]
    assert torch.equal(torch.get_rng_state(), before)


def test_a_probability_of_0_on_the_device_leaves_every_bit(emoji, cup):
    torch.manual_seed(0)
    view = View(0.0, torch.tensor(0.0), OPS, PAIR)
    for image in (emoji, cup, emoji.double(), emoji.bfloat16()):
        (shown,) = view(many(image, 3))
        assert same(shown, image).all()


@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize("probability", [0.3, 1.0])
def test_each_change_happens_with_its_probability_and_the_others_stay_bit_for_bit(op, probability, face):
    # Half of the flips and a quarter of the quarter turns are none. An image must escape all three changes of colour.
    none = {"flip": 1 / 2, "rotate90": 1 / 4}.get(op, 0.0)
    expected = (1 - probability) ** (3 if op == "colour" else 1) + probability * none
    share = same(changed(face, op, probability=probability, number=600), face).float().mean()
    assert share == pytest.approx(expected, abs=0.06)


def test_flips_mirror_half_of_the_images_exactly(cup):
    shown = changed(cup, "flip")
    mirrored = same(shown, cup.flip(-1))
    assert (mirrored | same(shown, cup)).all()
    assert 0.4 < mirrored.float().mean() < 0.6


def test_quarter_turns_are_exact_and_all_four_are_alike_likely(face):
    shown = changed(face, "rotate90", number=400)
    turned = torch.stack([same(shown, torch.rot90(face, quarters, (-2, -1))) for quarters in range(4)])
    assert (turned.sum(dim=0) == 1).all()
    assert ((turned.float().mean(dim=1) - 0.25).abs() < 0.06).all()


def test_pictures_that_are_not_square_are_turned_by_half_turns_only(cup):
    shown = changed(cup, "rotate90")
    half = same(shown, cup.flip(-1, -2))
    assert (half | same(shown, cup)).all()
    assert 0.4 < half.float().mean() < 0.6


def test_a_flip_and_a_quarter_turn_together_are_both_exact(face):
    shown = changed(face, "flip", "rotate90", number=400)
    views = [torch.rot90(image, quarters, (-2, -1)) for image in (face, face.flip(-1)) for quarters in range(4)]
    found = torch.stack([same(shown, view) for view in views])
    assert (found.sum(dim=0) == 1).all()
    assert (found.sum(dim=1) > 25).all()


def test_translation_moves_whole_pixels_up_to_an_eighth_and_fills_with_mid_grey(cup):
    height, width = cup.shape[-2:]  # an eighth, rounded: 4 and 6
    padded = torch.nn.functional.pad(cup, (6, 6, 4, 4))
    shifts = [(down, right) for down in range(9) for right in range(13)]
    shown = changed(cup, "translate", number=600)
    found = torch.stack([same(shown, padded[:, y : y + height, x : x + width]) for y, x in shifts])
    assert (found.sum(dim=0) == 1).all()
    which = found.int().argmax(dim=0)
    assert set((which // 13).tolist()) == set(range(9))
    assert set((which % 13).tolist()) == set(range(13))


def test_cutout_greys_a_rectangle_of_half_the_sides_that_may_lie_across_the_border(cup):
    image = cup.clone()
    image[image == 0] = 0.001  # so that only the hole is 0
    shown = changed(image, "cutout", number=300)
    hole = shown == 0
    torch.testing.assert_close(shown, many(image, 300).masked_fill(hole, 0), rtol=0, atol=0)
    rows, columns = hole.any(dim=1).any(dim=2), hole.any(dim=1).any(dim=1)
    assert torch.equal(hole, (rows[:, :, None] & columns[:, None, :])[:, None].expand_as(hole))
    for lines, side, size in ((rows, 33, 17), (columns, 46, 23)):
        assert (lines.int().diff(dim=1).abs().sum(dim=1) <= 2).all(), "one piece"
        assert set(lines.sum(dim=1).tolist()) <= set(range(size // 2, size + 1))
        assert lines[:, 0].any()
        assert lines[:, -1].any()
        assert 0.3 < (lines.sum(dim=1) == size).float().mean() < 0.7, f"{side - size + 1} of {side} places are inside"


def colours(shown, image):
    """Brightness added, contrast factor and saturation factor, (N,) each, and what they do not explain.

    Saturation keeps each pixel's mean, and contrast the picture's: so the three can be told apart.
    """
    grey, shown_grey = image.mean(dim=0), shown.mean(dim=1)
    brightness = shown_grey.mean(dim=(1, 2)) - grey.mean()
    from_mean = grey - grey.mean()
    contrast = ((shown_grey - shown_grey.mean(dim=(1, 2), keepdim=True)) * from_mean).sum(dim=(1, 2))
    contrast = contrast / from_mean.square().sum()
    from_grey = image - grey
    both = ((shown - shown_grey[:, None]) * from_grey).sum(dim=(1, 2, 3)) / from_grey.square().sum()
    explained = from_grey * both[:, None, None, None] + (from_mean * contrast[:, None, None])[:, None]
    rest = shown - explained - (brightness + grey.mean())[:, None, None, None]
    return brightness, contrast, both / contrast, rest.abs().max()


def test_colour_keeps_to_the_ranges_of_diffaugment_and_clips_nothing(face):
    shown = changed(face.double(), "colour", number=400)
    brightness, contrast, saturation, rest = colours(shown, face.double())
    assert rest < 1e-12
    for values, low, high in ((brightness, -0.5, 0.5), (contrast, 0.5, 1.5), (saturation, 0, 2)):
        assert low - 1e-9 < values.min() < low + 0.05
        assert high - 0.05 < values.max() < high + 1e-9
        assert values.mean() == pytest.approx((low + high) / 2, abs=0.08)
    assert shown.max() > 1.2
    together = torch.corrcoef(torch.stack([brightness, contrast, saturation])) - torch.eye(3)
    assert together.abs().max() < 0.15, "drawn apart"


def test_colour_treats_source_and_translation_alike_and_each_by_itself(emoji, face):
    brightness, contrast, saturation, _ = colours(changed(face.double(), "colour"), face.double())
    for other in (emoji[3:].double(), face.double() / 2):
        pair = changed(torch.cat([face.double(), other]), "colour")  # the same seed: the same draws
        for picture, image in ((pair[:, :3], face.double()), (pair[:, 3:], other)):
            own = colours(picture, image)
            for values, expected in zip(own[:3], (brightness, contrast, saturation), strict=True):
                torch.testing.assert_close(values, expected, rtol=0, atol=1e-9)
            assert own[3] < 1e-12


def test_saturation_is_for_pictures_of_3_channels(face):
    image = face.double()
    image = torch.cat([image.mean(dim=0, keepdim=True), image, image[:2]])
    torch.manual_seed(7)
    (shown,) = View(0.0, 1.0, ("colour",), {6: (1, 3, 2)})(many(image))
    torch.testing.assert_close(shown[:, 0], shown[:, 1:4].mean(dim=1), rtol=0, atol=1e-9)
    saturation = colours(shown[:, 4:], image[4:])[2]
    torch.testing.assert_close(saturation, torch.ones(200).double(), rtol=0, atol=1e-9)


@pytest.mark.parametrize("op", [*OPS, OPS])
def test_source_and_translation_stay_registered(op, face, cup):
    policy = op if isinstance(op, tuple) else (op,)
    for image in (face, cup):
        shown = changed(torch.cat([image, image]), *policy, number=20)
        assert torch.equal(shown[:, :3], shown[:, 3:])


def blob(height, width, row, column, sigma=2.0):
    """(1, H, W): a soft spot on 0."""
    rows, columns = torch.arange(height)[:, None] - row, torch.arange(width) - column
    return torch.exp(-(rows**2 + columns**2) / (2 * sigma**2))[None].double()


def place(shown):
    """Row and column of the middle of each soft spot, from the picture's centre."""
    height, width = shown.shape[-2:]
    mass = shown[:, 0] / shown[:, 0].sum(dim=(1, 2), keepdim=True)
    row = (mass.sum(dim=2) * (torch.arange(height) - (height - 1) / 2)).sum(dim=1)
    return row, (mass.sum(dim=1) * (torch.arange(width) - (width - 1) / 2)).sum(dim=1)


def test_rotation_keeps_a_spot_on_its_circle_and_reaches_all_angles_alike():
    spot = blob(61, 75, 30, 37 + 15)
    row, column = place(changed(spot, "rotate", number=400))
    torch.testing.assert_close(torch.hypot(row, column), torch.full((400,), 15.0).double(), rtol=0, atol=0.05)
    share = torch.histc(torch.atan2(row, column).float(), 4, -np.pi, np.pi) / 400
    assert ((share - 0.25).abs() < 0.08).all(), share


def test_scale_moves_a_spot_by_a_factor_whose_logarithm_is_normal():
    row, column = place(changed(blob(81, 81, 40, 40 + 12), "scale", number=400))
    assert row.abs().max() < 0.01
    factor = torch.log2(column / 12)
    assert factor.mean().abs() < 0.03
    assert factor.std() == pytest.approx(0.2, abs=0.02)


def test_a_spot_that_is_enlarged_grows_in_both_directions():
    # Its mass grows with the square of the factor.
    spot = blob(81, 81, 40, 40, sigma=5)
    shown = changed(spot, "scale")
    _, column = place(changed(blob(81, 81, 40, 40 + 12), "scale"))  # the same seed: the same factors
    torch.testing.assert_close(shown.sum(dim=(1, 2, 3)) / spot.sum(), (column / 12) ** 2, rtol=0.02, atol=0)


@pytest.mark.parametrize(("turn", "flips"), [(0.5, ()), (1.0, (-1, -2)), (0.0, (-1, -2))])
def test_a_warp_by_half_turns_is_exact_to_rounding(turn, flips, cup):
    shown = warp(cup[None], torch.full((1, 1, 1), turn), torch.full((1, 1, 1), 1e-9))
    torch.testing.assert_close(shown[0], cup.flip(flips), rtol=0, atol=2e-4)


def test_a_warp_by_a_quarter_is_the_quarter_turn(face):
    shown = warp(face[None], torch.full((1, 1, 1), 0.75), torch.zeros(1, 1, 1))
    both = [(shown[0] - torch.rot90(face, quarters, (-2, -1))).abs().max() for quarters in (1, 3)]
    assert min(both) < 2e-4
    assert max(both) > 0.5


def test_a_warp_to_half_the_size_reflects_at_the_border_pixel(cup):
    image = cup[:, :, :45]  # odd sides, so that pixels meet pixels
    shown = warp(image[None], torch.full((1, 1, 1), 0.5), torch.full((1, 1, 1), -5.0))  # 2 ** (0.2 * -5) = 1 / 2
    expected = torch.nn.functional.pad(image, (22, 22, 16, 16), mode="reflect")[:, ::2, ::2]
    torch.testing.assert_close(shown[0], expected, rtol=0, atol=5e-4)


def test_rotation_and_scale_together_resample_once(face):
    # Half the size and a quarter turn is still pixel on pixel: a second resampling would blur.
    image = face[:, :63, :63]
    shown = warp(image[None], torch.full((1, 1, 1), 0.75), torch.full((1, 1, 1), -5.0))
    turned = warp(image[None], torch.full((1, 1, 1), 0.75), torch.zeros(1, 1, 1))[0]
    expected = torch.nn.functional.pad(turned, (31, 31, 31, 31), mode="reflect")[:, ::2, ::2]
    torch.testing.assert_close(shown[0], expected, rtol=0, atol=1e-3)


def test_image_i_of_every_batch_is_changed_alike_and_images_differ(emoji):
    torch.manual_seed(3)
    one, two = View(0.0, 0.8, OPS, PAIR)(many(emoji, 6), many(emoji, 6))
    assert torch.equal(one, two)
    assert len(torch.unique(one.flatten(1), dim=0)) == 6


def test_every_call_draws_anew_and_the_seed_decides(emoji):
    view = View(0.1, 0.8, OPS, PAIR)
    torch.manual_seed(3)
    first, second = view(many(emoji, 2))[0], view(many(emoji, 2))[0]
    assert not torch.equal(first, second)
    torch.manual_seed(3)
    assert torch.equal(view(many(emoji, 2))[0], first)
    state = torch.get_rng_state()
    third = view(many(emoji, 2))[0]
    torch.set_rng_state(state)
    assert torch.equal(view(many(emoji, 2))[0], third)


def test_batches_may_differ_in_size_but_not_in_number(face, cup):
    torch.manual_seed(0)
    shown = View(0.0, 1.0, OPS, PAIR)(many(face, 3), many(cup, 3))
    assert [tuple(images.shape) for images in shown] == [(3, 3, 64, 64), (3, 3, 33, 46)]
    with pytest.raises(ValueError, match=r"image i of every batch alike, got batches of \[2, 3\] images"):
        View(0.0, 1.0, OPS, PAIR)(many(face, 3), many(face, 2))


def test_instance_noise_has_its_deviation_is_white_and_is_drawn_for_each_batch(face):
    torch.manual_seed(0)
    images = many(face, 20)
    one, two = View(0.1, 0.0, (), {})(images, images)
    noise = one - images
    assert noise.std() == pytest.approx(0.1, rel=0.01)
    assert noise.mean().abs() < 0.001
    assert (noise[:, :, 1:] * noise[:, :, :-1]).mean().abs() < 1e-4
    assert (one - two).std() == pytest.approx(0.1 * 2**0.5, rel=0.01)


def test_instance_noise_lies_on_top_of_the_changes(face):
    torch.manual_seed(0)
    (shown,) = View(0.1, 1.0, ("cutout",), {})(many(face, 20))
    assert not (shown == 0).any()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.float64])
def test_dtypes_are_kept_and_only_rounding_differs(dtype, emoji):
    shown = changed(emoji.to(dtype), *OPS, number=4)
    assert shown.dtype == dtype
    expected = changed(emoji.to(dtype).double(), *OPS, number=4)
    # What float32 coordinates do to a drawing's sharpest edge is 1e-4; the low precisions round the values.
    limit = {torch.float64: 1e-12, torch.float32: 1e-3}.get(dtype, 0.05)
    assert (shown.double() - expected).abs().max() < limit
    (noisy,) = View(0.1, 0.5, OPS, PAIR)(shown)
    assert noisy.dtype == dtype


def test_channels_last_gives_the_same_values(emoji):
    torch.manual_seed(0)
    images = torch.stack([emoji, -emoji, emoji.flip(-1)]).to(memory_format=torch.channels_last)
    view = View(0.0, 0.8, OPS, PAIR)
    shown, expected = view(images, images.contiguous())
    torch.testing.assert_close(shown, expected, rtol=0, atol=1e-6)


def test_autocast_does_not_coarsen_the_geometry(emoji):
    expected = changed(emoji, *OPS, number=4)
    with torch.autocast("cpu", torch.bfloat16):
        shown = changed(emoji, *OPS, number=4)
    torch.testing.assert_close(shown, expected, rtol=0, atol=0)


@pytest.mark.parametrize("policy", [*((op,) for op in OPS), OPS])
def test_gradients_flow_to_the_images(policy, cup):
    images = torch.stack([cup[:, 4:11, 4:10], cup[:, 14:21, 14:20]]).repeat(1, 2, 1, 1).double().requires_grad_()

    def shown(images):
        torch.manual_seed(5)
        return View(0.1, 0.9, policy, PAIR)(images)[0]

    assert torch.autograd.gradcheck(shown, (images,), fast_mode=True)
    (gradient,) = torch.autograd.grad(shown(images).sum(), images)
    assert gradient.abs().sum() > 0


def test_nothing_asks_the_device_for_a_value():
    """Fake tensors have no values: whatever would wait for a GPU to give one raises."""
    with FakeTensorMode():
        controller = AdaptiveProbability(0.6, 500_000, "cpu")
        controller.add(torch.randn(2, 1, 6, 6).sign().mean())
        controller.update(16, lambda tensor: tensor)
        (shown,) = View(0.1, controller.probability, OPS, PAIR)(torch.randn(2, 6, 32, 32))
        assert shown.shape == (2, 6, 32, 32)
        controller.load(controller.state(), "cpu")


def test_every_operation_draws_something():
    assert {change.op for change in CHANGES.values()} == set(OPS)


def test_a_view_refuses_what_it_cannot_do(face):
    with pytest.raises(ValueError, match=r"op must be one of 'rotate', .*, got 'color': choose one of them"):
        View(0.0, 1.0, ("color",), {})
    with pytest.raises(ValueError, match=r"sigma must not be negative, got -0\.1: use 0 for no noise"):
        View(-0.1, 1.0, (), {})
    for probability in (1.5, -0.5):
        with pytest.raises(ValueError, match=rf"probability must be from 0 to 1, got {probability}"):
            View(0.0, probability, (), {})
    with pytest.raises(ValueError, match=r"pictures of 6 channels must have 6 together, got \(3, 1\)"):
        View(0.0, 1.0, (), {6: (3, 1)})
    with pytest.raises(ValueError, match=r"side by side in 3 channels, got groups for \[6\]: add 3 to groups"):
        View(0.0, 1.0, ("colour",), {6: (3, 3)})(many(face, 2))


def test_instance_noise_falls_linearly_to_nothing():
    assert [instance_noise(step, 1000, 0.2, 0.5) for step in (0, 250, 500, 900)] == pytest.approx([0.2, 0.1, 0, 0])
    assert instance_noise(1000, 1000, 0.2, 1.0) == 0
    assert instance_noise(0, 1000, 0.2, 0.0) == 0


def alone(tensor):
    return tensor


def run(controller, signs, images=5000, reduce=alone):
    for sign in signs:
        controller.add(torch.tensor(sign))
    controller.update(images, reduce)
    return controller.probability.item()


def test_the_probability_rises_above_the_target_falls_below_it_and_keeps_its_bounds():
    controller = AdaptiveProbability(0.6, 500_000, "cpu")
    assert run(controller, [0.0]) == 0, "it starts at 0 and does not fall below"
    # Mean 0.65 above the target: 5000 of 500 000 images are a hundredth.
    assert run(controller, [0.9, 0.4]) == pytest.approx(0.01)
    assert run(controller, [1.0, 1.0]) == pytest.approx(0.02), "by a constant rate"
    assert run(controller, [0.5, 0.6]) == pytest.approx(0.01), "what was before the last update is forgotten"
    assert run(controller, [1.0], images=10_000_000) == pytest.approx(0.8), "the paper's limit"
    assert run(controller, [1.0]) == pytest.approx(0.8)
    assert run(controller, [0.6]) == pytest.approx(0.8), "on target nothing moves"


def test_many_small_steps_add_up_to_the_rate_of_the_paper():
    controller = AdaptiveProbability(0.6, 500_000, "cpu", start=0.7)
    for _ in range(1000):
        run(controller, [0.9], images=16)
    assert controller.probability.item() == pytest.approx(0.7 + 16_000 / 500_000, rel=1e-4)


def test_a_step_that_is_not_a_number_does_not_count():
    controller = AdaptiveProbability(0.6, 500_000, "cpu", start=0.5)
    assert run(controller, [float("nan"), 0.9, float("nan")]) == pytest.approx(0.51)
    assert run(controller, [float("nan")]) == pytest.approx(0.51)
    assert run(controller, []) == pytest.approx(0.51)


def test_all_processes_decide_together():
    one, two = (AdaptiveProbability(0.6, 500_000, "cpu", start=0.5) for _ in range(2))
    one.add(torch.tensor(0.7))
    two.add(torch.tensor(0.3))
    two.add(torch.tensor(0.3))
    average = (one.seen + two.seen) / 2
    one.update(5000, lambda seen: average)
    two.update(5000, lambda seen: average)
    assert one.probability.item() == two.probability.item() == pytest.approx(0.49)


def test_a_controller_that_was_saved_goes_on_exactly():
    controller = AdaptiveProbability(0.6, 500_000, "cpu", start=0.3)
    run(controller, [0.9])
    controller.add(torch.tensor(0.2))  # in the middle of an interval
    state = controller.state()
    other = AdaptiveProbability(0.6, 500_000, "cpu")
    view = View(0.0, other.probability, ("flip",), {})
    other.load(state, torch.device("cpu"))
    assert view.probability is other.probability
    for signs in ([0.9], [0.9, 0.9], [0.1]):
        assert run(controller, signs) == run(other, signs)
    assert state["probability"].item() == pytest.approx(0.31), "what was saved does not change any more"
    torch.testing.assert_close(state["seen"], torch.tensor([0.2, 1.0]))


def test_a_view_follows_its_controller(cup):
    controller = AdaptiveProbability(0.6, 100, "cpu")
    view = View(0.0, controller.probability, ("translate",), {})
    torch.manual_seed(0)
    assert same(view(many(cup))[0], cup).all()
    run(controller, [1.0], images=50)
    assert 0.4 < same(view(many(cup))[0], cup).float().mean() < 0.6


@pytest.mark.parametrize(("target", "images", "start"), [(1.1, 100, 0.0), (0.6, 0, 0.0), (0.6, 100, 0.9)])
def test_a_controller_refuses_what_is_out_of_range(target, images, start):
    with pytest.raises(ValueError, match=rf"got target {target}, images {images} and start {start}: the paper has 0.6"):
        AdaptiveProbability(target, images, "cpu", start)
