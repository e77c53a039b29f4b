"""Turns, with workers that are simulated: any order of starts, losses, peeks and `set_epoch` gives one epoch each."""

from __future__ import annotations

import copy
import os
import pickle
from multiprocessing import context
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dicom_etl.batches.turns import Start, Turns, WorkerKey
from dicom_etl.errors import ConfigError

WHOLE = bool(os.environ.get("DICOM_ETL_WHOLE_COUNTS"))


class Loader:
    """A DataLoader as far as turns go: workers start with a copy of the turns, and ask when they come to it."""

    def __init__(self, turns: Turns, persistent: bool) -> None:
        self.turns = turns
        self.persistent = persistent
        self.kept: list[list[Any]] = []

    def iterate(self, workers: int, seed: int, process: int) -> list[list[Any]]:
        """Start an iteration; return its workers as [turns, key, workers], none of which has asked yet."""
        if self.persistent and self.kept:
            self.kept = [[turns, key._replace(iteration=key.iteration + 1), n] for turns, key, n in self.kept]
            return self.kept
        key = WorkerKey(os.getpid(), seed, process, 0)
        started = [[copy.copy(self.turns), key, workers] for _ in range(workers)]
        if self.persistent:
            self.kept = started
        return started


@settings(max_examples=2000 if WHOLE else 150, deadline=None)
@given(data=st.data(), persistent=st.booleans(), same_seed=st.booleans())
def test_the_workers_of_an_iteration_serve_one_epoch(
    data: st.DataObject, persistent: bool, same_seed: bool
) -> None:
    turns = Turns(Start(0))
    loader = Loader(turns, persistent)
    late: list[tuple[list[Any], set[Start]]] = []
    expected, process = 0, 1
    for number in range(data.draw(st.integers(1, 6), "iterations")):
        if data.draw(st.integers(0, 3)) == 0:
            expected = data.draw(st.integers(0, 9), "set_epoch")
            turns.announce(Start(expected))
        workers = data.draw(st.sampled_from([1, 2, 4]), "workers")
        started = loader.iterate(workers, 7 if same_seed else number, process)
        process += workers
        found: set[Start] = set()
        asking = data.draw(st.permutations(started))
        slow = 0 if persistent else data.draw(st.integers(0, len(asking) - 1), "slow")
        for turn in asking[: len(asking) - slow]:
            found.add(turn[0].take(turn[1], turn[2]))
        assert found == {Start(expected)}
        late += [(turn, found) for turn in asking[len(asking) - slow :] if data.draw(st.booleans(), "lost")]
        expected += 1
        assert turns.next_start() == Start(expected)
        if data.draw(st.booleans(), "comes") and late:
            turn, of_its_own = late.pop()
            assert {turn[0].take(turn[1], turn[2])} == of_its_own


def test_a_copy_that_no_process_is_started_with_is_not_needed_to_find_the_file(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    turns = Turns(Start(3))
    monkeypatch.setattr(context, "get_spawning_popen", object)
    other = pickle.loads(pickle.dumps(turns))
    assert other.take(WorkerKey(os.getpid(), 5, 1, 0), 2) == Start(3)
    assert turns.next_start() == Start(4)
    assert turns.taken()


def test_ranks_that_share_the_file_do_not_take_each_others_turns() -> None:
    turns = Turns(Start(2))
    for owner in (11, 12, 13):
        for epoch in (2, 3):
            keys = [WorkerKey(owner, 100 * owner + epoch, 1, 0)] * 2
            assert {turns.take(key, 2) for key in keys} == {Start(epoch)}


def test_an_interrupted_start_with_the_same_seed_is_refused_instead_of_guessed() -> None:
    turns = Turns(Start(0))
    turns.take(WorkerKey(1, 5, 1, 0), 4)
    with pytest.raises(ConfigError, match="interrupted while its workers started"):
        turns.take(WorkerKey(1, 5, 2, 0), 4)


def test_a_line_cut_short_by_a_kill_is_passed_over_and_the_file_stays_small() -> None:
    turns = Turns(Start(0))
    with turns._path.open("ab") as stream:
        stream.write(b'\n{"key": [1, 2')
    for epoch in range(1500):
        turns.announce(Start(epoch))
    assert turns.take(WorkerKey(os.getpid(), 5, 1, 0), 1) == Start(1499)
    assert turns._path.stat().st_size < 1 << 17


def test_the_file_goes_with_the_turns() -> None:
    turns = Turns(Start(0))
    path = turns._path
    del turns
    assert not path.exists()
