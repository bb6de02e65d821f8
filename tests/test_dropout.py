"""Dropout: torch's own in training; after it nothing, but inside `noise` one mask for each seed."""

import threading

import pytest
import torch
from torch import nn

from translate.networks import ResNet, UNet
from translate.networks.dropout import Dropout, noise

ONES = torch.ones(2, 8, 16, 16)


def dropped(seeds, images=ONES):
    with noise(seeds):
        return Dropout(0.5).eval()(images)


def test_in_training_it_is_torchs_to_the_last_bit():
    images = torch.randn(2, 8, 16, 16)
    results = []
    for layer in (Dropout(0.5), nn.Dropout(0.5)):
        torch.manual_seed(3)
        with noise([1, 2]):  # which training knows nothing of
            results.append((layer(images), torch.rand(3)))
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=0)


@pytest.mark.parametrize("network", [UNet(width=2, depth=6, dropout=True), ResNet(width=2, blocks=1, dropout=True)])
def test_a_network_trains_as_it_did_with_torchs_layer(network):
    images = torch.randn(2, 3, 64, 64)
    torch.manual_seed(0)
    ours = network.train()(images)
    for parent in list(network.modules()):
        for name, child in parent.named_children():
            if isinstance(child, Dropout):
                setattr(parent, name, nn.Dropout(child.p))
    assert not any(isinstance(layer, Dropout) for layer in network.modules())
    torch.manual_seed(0)
    torch.testing.assert_close(network(images), ours, rtol=0, atol=0)


def test_weights_keep_the_names_that_model_folders_have():
    names = ResNet(width=2, blocks=1, dropout=True).state_dict().keys()
    assert {"blocks.0.change.0.weight", "blocks.0.change.4.weight"} <= names  # 1 norm, 2 ReLU, 3 dropout
    assert UNet(width=2, depth=6, dropout=True).state_dict().keys() == UNet(width=2, depth=6).state_dict().keys()


def test_after_training_it_gives_what_it_gets():
    assert Dropout(0.5).eval()(ONES) is ONES


def test_noise_drops_half_and_doubles_the_rest():
    result = dropped([1, 2])
    assert set(result.unique().tolist()) == {0.0, 2.0}
    assert 0.95 < result.mean() < 1.05
    with noise([1, 2]):
        quarter = Dropout(0.25).eval()(ONES)
    assert quarter.unique().tolist() == [0.0, pytest.approx(4 / 3)]
    assert 0.22 < (quarter == 0).float().mean() < 0.28


def test_the_mask_of_a_sample_depends_on_its_own_seed_only():
    together = dropped([1, 2])
    assert not torch.equal(together[0], together[1])
    torch.manual_seed(99)
    for index, seed in enumerate([1, 2]):
        assert torch.equal(dropped([seed], ONES[:1])[0], together[index])
    assert torch.equal(dropped([2, 2])[0], together[1])


def test_every_layer_of_a_network_has_its_own_mask():
    layers = nn.Sequential(Dropout(0.5), Dropout(0.5)).eval()
    with noise([1, 2]):
        kept = layers(ONES).count_nonzero() / ONES.numel()
    assert 0.2 < kept < 0.3  # one mask twice would keep half


def test_noise_leaves_torchs_random_numbers_alone():
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    dropped([1, 2])
    assert torch.equal(torch.rand(3), expected)


def test_noise_ends_also_after_an_error():
    with pytest.raises(KeyError), noise([1, 2]):
        raise KeyError
    assert Dropout(0.5).eval()(ONES) is ONES


def test_another_thread_sees_no_noise():
    layer, results = Dropout(0.5).eval(), []
    with noise([1, 2]):
        thread = threading.Thread(target=lambda: results.append(layer(ONES)))
        thread.start()
        thread.join()
        assert torch.equal(layer(ONES), dropped([1, 2]))
    assert results[0] is ONES


def test_threads_have_noise_of_their_own():
    layer, results, inside = Dropout(0.5).eval(), {}, threading.Barrier(2, timeout=10)

    def drop(seed):
        with noise([seed, seed]):
            inside.wait()
            results[seed] = layer(ONES)
            inside.wait()

    threads = [threading.Thread(target=drop, args=(seed,)) for seed in (1, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for seed in (1, 2):
        assert torch.equal(results[seed], dropped([seed, seed]))


def test_a_batch_needs_one_seed_for_each_sample():
    with pytest.raises(ValueError, match="noise was given 3 seeds for a batch of 2: give one a sample"):
        dropped([1, 2, 3])
