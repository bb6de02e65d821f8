"""Which samples make which batch: every item once an epoch, the same whatever the processes and wherever it starts."""

from collections import Counter
from itertools import chain

import pytest

from translate.data.sampling import StepSampler


def draws(lengths=(10,), batch_size=2, seed=0, start=0, stop=5, **processes):
    """All batches as a list of lists of Draw."""
    return list(StepSampler(lengths, batch_size, seed, start, stop, **processes))


def test_an_epoch_sees_every_item_once():
    epoch = list(chain(*draws()))
    assert sorted(draw.indices[0] for draw in epoch) == list(range(10))
    assert [draw.place for draw in epoch] == list(range(10))
    assert {draw.epoch for draw in epoch} == {0}


def test_what_is_left_over_is_dropped_and_differs_between_epochs():
    batches = draws((10,), batch_size=4, stop=2 * 40)
    left = []
    for epoch in range(40):
        seen = [draw.indices[0] for draw in chain(*batches[2 * epoch : 2 * epoch + 2])]
        assert len(set(seen)) == 8
        left += set(range(10)) - set(seen)
    assert set(left) == set(range(10))


def test_every_epoch_and_every_seed_has_an_order_of_its_own():
    orders = [
        tuple(d.indices[0] for d in chain(*draws(seed=seed, stop=15)[5 * e : 5 * e + 5]))
        for seed in (0, 1)
        for e in (0, 1, 2)
    ]
    assert len(set(orders)) == 6


@pytest.mark.parametrize("start", range(13))
def test_starting_at_any_batch_goes_on_with_the_same_draws(start):
    assert draws((10, 7), stop=13, start=start) == draws((10, 7), stop=13)[start:]


@pytest.mark.parametrize("processes", [2, 3])
def test_several_processes_share_the_batch_of_one(processes):
    whole = draws((20, 6), batch_size=6, stop=7)
    parts = [draws((20, 6), 6 // processes, stop=7, rank=rank, processes=processes) for rank in range(processes)]
    assert [list(chain(*step)) for step in zip(*parts, strict=True)] == whole


def test_the_shorter_list_is_drawn_through_as_often_as_needed():
    epoch = list(chain(*draws((10, 4))))
    assert Counter(draw.indices[0] for draw in epoch) == dict.fromkeys(range(10), 1)
    assert Counter(draw.indices[1] for draw in epoch[:4]) == dict.fromkeys(range(4), 1)
    assert sorted(Counter(draw.indices[1] for draw in epoch).values()) == [2, 2, 3, 3]


def test_the_two_lists_are_ordered_independently():
    assert any(draw.indices[0] != draw.indices[1] for draw in chain(*draws((10, 10))))


def test_the_length_is_what_is_left_to_do():
    assert len(StepSampler((10,), 2, 0, 3, 12)) == 9


def test_fewer_images_than_a_step_needs_are_refused():
    with pytest.raises(
        ValueError, match=r"7 training images are fewer than one step needs, 4 x 2 .*: lower the batch size"
    ):
        StepSampler((7, 5), 4, 0, 0, 1, processes=2)
