from __future__ import annotations

import os
from collections import Counter
from itertools import chain
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dicom_etl.batches.sampler import EPOCH_LIMIT, Remainder, Schedule, sample_generator
from dicom_etl.errors import ConfigError

WHOLE = bool(os.environ.get("DICOM_ETL_WHOLE_COUNTS"))
MANY = settings(max_examples=2000 if WHOLE else 400)
SOME = settings(max_examples=500 if WHOLE else 100)


@st.composite
def schedules(draw: st.DrawFn) -> Schedule:
    remainder: Remainder = draw(st.sampled_from(["keep", "drop", "fill"]))
    batch_size = draw(st.integers(1, 13))
    count = draw(st.integers(1 if remainder == "keep" else batch_size, 120))
    world_size = draw(st.integers(1, 5))
    return Schedule(
        count=count,
        batch_size=batch_size,
        shuffle=draw(st.sampled_from(["full", "block", False])),
        block_size=draw(st.integers(1, 40)),
        block_window=draw(st.integers(1, 6)),
        seed=draw(st.integers(0, 2**70)),
        remainder=remainder,
        world_size=world_size,
        rank=draw(st.integers(0, world_size - 1)),
    )


def served(
    schedule: Schedule, epoch: int, *, workers: int = 1, start: int = 0
) -> list[tuple[int, list[int], list[bool]]]:
    """What all ranks and workers together serve, by number of the batch."""
    plan = schedule.epoch(epoch)
    found = []
    for rank in range(schedule.world_size):
        mine = _replaced(schedule, rank=rank)
        for worker in range(workers):
            for number in mine.numbers(start, worker, workers):
                positions, padding = plan.batch(number)
                found.append((number, positions.tolist(), padding.tolist()))
    return sorted(found)


def _replaced(schedule: Schedule, **changes: Any) -> Schedule:
    return Schedule(**{name: getattr(schedule, name) for name in schedule.__dataclass_fields__} | changes)


@MANY
@given(schedules(), st.integers(0, 1000), st.integers(1, 4))
def test_every_sample_is_served_exactly_once_whatever_the_ranks_and_workers(
    schedule: Schedule, epoch: int, workers: int
) -> None:
    batches = served(schedule, epoch, workers=workers)
    real = Counter(
        position
        for _, positions, padding in batches
        for position, pads in zip(positions, padding, strict=True)
        if not pads
    )
    expected = schedule.count - (schedule.count % schedule.batch_size if schedule.remainder == "drop" else 0)
    assert len(real) == real.total() == expected
    assert [number for number, _, _ in batches] == list(range(schedule.batches))
    for number, positions, padding in batches:
        assert len(set(positions)) == len(positions)
        if schedule.remainder != "keep" or number < schedule.batches - 1:
            assert len(positions) == schedule.batch_size
        assert not any(padding) or (schedule.remainder == "fill" and number == schedule.batches - 1)


@SOME
@given(schedules(), st.integers(0, 1000), st.integers(1, 5), st.integers(1, 4))
def test_which_samples_meet_does_not_depend_on_ranks_or_workers(
    schedule: Schedule, epoch: int, world_size: int, workers: int
) -> None:
    other = _replaced(schedule, world_size=world_size, rank=0)
    assert served(schedule, epoch) == served(other, epoch, workers=workers)


@SOME
@given(schedules(), st.integers(0, 1000))
def test_a_rank_goes_on_from_any_step_as_if_it_had_not_stopped(schedule: Schedule, epoch: int) -> None:
    whole = list(schedule.numbers())
    for done in range(len(whole) + 1):
        assert list(schedule.numbers(start=done * schedule.world_size)) == whole[done:]


@SOME
@given(schedules(), st.integers(0, 50), st.integers(1, 5), st.integers(0, 50))
def test_a_run_goes_on_with_another_number_of_ranks(
    schedule: Schedule, epoch: int, world_size: int, rounds: int
) -> None:
    start = min(rounds * schedule.world_size, schedule.batches)
    before = served(schedule, epoch)[:start]
    after = served(_replaced(schedule, world_size=world_size, rank=0), epoch, start=start)
    assert before + after == served(schedule, epoch)


@SOME
@given(schedules(), st.integers(1, 6))
def test_workers_taken_in_turn_give_the_order_of_one_worker(schedule: Schedule, workers: int) -> None:
    streams = [list(schedule.numbers(worker=worker, workers=workers)) for worker in range(workers)]
    longest = max(map(len, streams))
    in_turn = [stream[turn] for turn in range(longest) for stream in streams if turn < len(stream)]
    assert in_turn == list(schedule.numbers())


@SOME
@given(schedules(), st.integers(0, 100))
def test_even_ranks_take_equal_numbers_of_steps(schedule: Schedule, epoch: int) -> None:
    if schedule.remainder == "keep":
        with pytest.raises(ConfigError, match="even_ranks"):
            _replaced(schedule, even_ranks=True)
        return
    try:
        even = _replaced(schedule, even_ranks=True)
    except ConfigError:
        assert schedule.remainder == "drop"
        assert schedule.batches < schedule.world_size
        return
    assert len({len(_replaced(even, rank=rank).numbers()) for rank in range(even.world_size)}) == 1
    real = Counter(
        position
        for _, positions, padding in served(even, epoch)
        for position, pads in zip(positions, padding, strict=True)
        if not pads
    )
    assert len(real) == real.total()
    if schedule.remainder == "fill":
        assert len(real) == schedule.count
    else:
        assert schedule.count - len(real) < schedule.batch_size * (schedule.world_size + 1)


@SOME
@given(schedules(), st.integers(1, 5), st.integers(0, 130))
def test_the_rest_of_an_epoch_is_even_too(schedule: Schedule, before: int, done: int) -> None:
    """A state of another number of ranks need not divide by this one's: with ranks uneven, all would wait for ever."""
    try:
        even = _replaced(schedule, even_ranks=True)
        start = min(done, _replaced(even, world_size=before, rank=0).batches)
    except ConfigError:
        return
    [steps] = {len(_replaced(even, rank=rank).numbers(start)) for rank in range(even.world_size)}
    assert even.is_over(start) == (steps == 0)
    rest = [number for number, _, _ in served(even, 0, start=start)]
    assert rest == list(range(start, start + steps * even.world_size))
    assert (
        (len(rest) >= even.cut - start)
        if even.remainder == "fill"
        else even.cut - start - len(rest) < even.world_size
    )
    after = [even.step_after(number, start) for number in even.numbers(start)]
    assert (
        after
        == [*range(start + even.world_size, start + len(rest), even.world_size), even.batches][: len(after)]
    )


def test_one_order_is_pinned_for_good() -> None:
    schedule = Schedule(count=20, batch_size=8, seed=0, remainder="fill")
    plan = schedule.epoch(0)
    assert plan.order.tolist() == PINNED_FULL + PINNED_FILLER
    assert schedule.epoch(1).order[:20].tolist() == PINNED_FULL_1
    block = Schedule(count=20, seed=7, shuffle="block", block_size=3, block_window=2)
    assert block.epoch(3).order.tolist() == PINNED_BLOCK


def test_seed_and_epoch_do_not_stand_in_for_each_other() -> None:
    orders = {
        tuple(Schedule(count=50, seed=seed).epoch(epoch).order.tolist())
        for seed in range(20)
        for epoch in range(20)
    }
    assert len(orders) == 400


def test_a_full_shuffle_puts_every_sample_anywhere() -> None:
    """Chi-squared over (sample, place): 29 x 29 degrees of freedom, 5 standard deviations are 205."""
    count, epochs = 30, 3000
    schedule = Schedule(count=count, seed=11)
    hits = np.zeros((count, count))
    for epoch in range(epochs):
        hits[schedule.epoch(epoch).order, np.arange(count)] += 1
    expected = epochs / count
    assert 841 - 205 < ((hits - expected) ** 2 / expected).sum() < 841 + 205


@SOME
@given(st.integers(1, 300), st.integers(1, 20), st.integers(1, 5), st.integers(0, 99))
def test_a_window_of_a_block_shuffle_holds_whole_blocks(
    count: int, size: int, window: int, epoch: int
) -> None:
    order = Schedule(count=count, shuffle="block", block_size=size, block_window=window).epoch(epoch).order
    blocks = order // size
    seen: set[int] = set()
    start = 0
    while start < count:
        inside: set[int] = set()
        stop = start
        # a window ends where all samples of ``window`` blocks, or of the blocks that are left, have been
        # served
        while stop < count and (blocks[stop] in inside or len(inside) < window):
            inside.add(int(blocks[stop]))
            stop += 1
        samples = set(order[start:stop].tolist())
        assert samples == set(
            chain.from_iterable(range(b * size, min((b + 1) * size, count)) for b in inside)
        )
        assert not inside & seen
        seen |= inside
        start = stop


def test_unshuffled_order_is_that_of_the_rows() -> None:
    assert Schedule(count=9, shuffle=False).epoch(4).order.tolist() == list(range(9))


def test_streams_of_samples_are_distinct_and_reproducible() -> None:
    keys = [(seed, epoch, row) for seed in range(4) for epoch in range(10) for row in range(100)]
    first = [tuple(sample_generator(*key).integers(0, 2**63, 2).tolist()) for key in keys]
    again = [tuple(sample_generator(*key).integers(0, 2**63, 2).tolist()) for key in keys]
    assert first == again
    assert len(set(first)) == len(keys)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"count": 0}, "count is 0"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"block_size": 0}, "block_size is 0"),
        ({"block_window": -1}, "block_window is -1"),
        ({"world_size": 0}, "world_size is 0"),
        ({"rank": 2, "world_size": 2}, "rank is 2"),
        ({"rank": -1}, "rank is -1"),
        ({"seed": -1}, "seed is -1"),
        ({"shuffle": "some"}, "shuffle is 'some'"),
        ({"shuffle": True}, "shuffle is True"),
        ({"remainder": "pad"}, "remainder is 'pad'"),
        ({"batch_size": 11, "remainder": "drop"}, "leaves no batch"),
        ({"batch_size": 11, "remainder": "fill"}, "leaves no batch"),
        (
            {"remainder": "drop", "even_ranks": True, "world_size": 11, "batch_size": 1},
            "do not go round 11 ranks",
        ),
    ],
)
def test_options_that_cannot_be_used_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Schedule(**{"count": 10} | changes)


@pytest.mark.parametrize("epoch", [-1, EPOCH_LIMIT])
def test_epochs_outside_the_streams_are_refused(epoch: int) -> None:
    with pytest.raises(ConfigError, match="epoch is"):
        Schedule(count=3).epoch(epoch)


PINNED_FULL = [17, 6, 11, 14, 3, 8, 1, 4, 18, 19, 15, 5, 16, 9, 2, 7, 10, 12, 13, 0]
PINNED_FILLER = [17, 3, 7, 4]
PINNED_FULL_1 = [15, 14, 12, 16, 1, 18, 3, 8, 19, 6, 2, 11, 0, 7, 17, 5, 13, 4, 10, 9]
PINNED_BLOCK = [8, 7, 5, 3, 6, 4, 11, 9, 12, 10, 13, 14, 18, 16, 15, 17, 19, 1, 2, 0]
