"""Every epoch of a loader serves every sample once, however the loader is used."""

from __future__ import annotations

import itertools
import multiprocessing
import os
from contextlib import suppress
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dicom_etl.batches import BatchReader

torch = pytest.importorskip("torch", reason="the extra torch is not installed")
from torch.utils.data import DataLoader  # noqa: E402  (after the check above)

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*use of fork.*:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning"),  # more workers than cores
    # torch takes an iterator whose start was interrupted for a whole one when it lets go of it
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
WHOLE = bool(os.environ.get("DICOM_ETL_WHOLE_COUNTS"))
BARE = "bare"


def opened(reader: BatchReader, kind: str, workers: int, method: str | None, persistent: bool) -> Any:
    options: dict[str, Any] = {}
    if workers:
        options = {"multiprocessing_context": method, "persistent_workers": persistent}
    if kind == BARE:
        return DataLoader(reader.torch(), num_workers=workers, **options)
    return reader.loader(workers, **options)


def served(batches: Any) -> tuple[set[int], list[int]]:
    """Return the epochs and the samples of an iteration."""
    taken = list(batches)
    return {batch.epoch for batch in taken}, sorted(i for batch in taken for i in batch.indices.tolist())


def interrupted(loader: Any, at: int) -> None:
    """Begin an iteration that is interrupted when its worker ``at`` is started."""
    start, count = BaseProcess.start, itertools.count()
    before = set(multiprocessing.active_children())

    def failing(self: BaseProcess) -> None:
        if next(count) == at:
            raise KeyboardInterrupt
        start(self)

    with pytest.MonkeyPatch.context() as patch, suppress(KeyboardInterrupt):
        patch.setattr(BaseProcess, "start", failing)
        next(iter(loader))  # workers that are kept are not started again, so nothing is interrupted
    for left_behind in set(multiprocessing.active_children()) - before if at else ():
        left_behind.kill()


def run(path: Path, kind: str, method: str | None, persistent: bool, steps: list[dict[str, Any]]) -> None:
    """Serve an epoch a step; each is the one due, or the one after it where an interrupt may have begun that."""
    reader = BatchReader(path, batch_size=5)
    loaders: dict[int, Any] = {}
    due = 0
    for step in steps:
        workers, begun = step["workers"], 0
        if workers not in loaders or not persistent:
            loaders[workers] = opened(reader, kind, workers, method, persistent)
        loader = loaders[workers]
        if step["interrupt"] and workers:
            interrupted(loader, step["interrupt"] % workers)
            begun = 1
        if step["peek"]:
            next(iter(loader))
            due += 1
        if step["set_epoch"] == "before":
            loader.dataset.set_epoch(20)
            due, begun = 20, 0
        batches = iter(loader)
        first = next(batches)
        if step["set_epoch"] == "during":
            loader.dataset.set_epoch(30)
        [epoch], samples = served(itertools.chain([first], batches))
        assert samples == list(range(40)), step
        assert due <= epoch <= due + begun, step
        due = 30 if step["set_epoch"] == "during" else epoch + 1
    del loaders, loader, batches


STEPS = st.fixed_dictionaries(
    {
        "workers": st.sampled_from([0, 2, 4]),
        "peek": st.booleans(),
        "set_epoch": st.sampled_from(["never", "never", "before", "during"]),
        "interrupt": st.sampled_from([0, 0, 0, 1, 2]),
    }
)
CASES = {"fork": 490, "forkserver": 490, "spawn": 20} if WHOLE else {"fork": 6, "forkserver": 4}
"""For each kind of loader. A spawned worker imports torch anew, 2.5 s of processor time; a forked one takes 30 ms."""


@pytest.fixture(scope="module", autouse=True)
def _imported_once() -> None:
    """Have a fork server import torch before it forks, if it does not run yet."""
    multiprocessing.set_forkserver_preload(["__main__", "dicom_etl.batches.adapters.torch"])


@pytest.mark.slow
@pytest.mark.parametrize("kind", [BARE, "own"])
@pytest.mark.parametrize("method", CASES)
def test_every_epoch_serves_every_sample_once(plain: Path, method: str, kind: str) -> None:
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"no {method} here")

    @settings(
        max_examples=CASES[method], deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow]
    )
    @given(persistent=st.booleans(), steps=st.lists(STEPS, min_size=2, max_size=3))
    def holds(persistent: bool, steps: list[dict[str, Any]]) -> None:
        run(plain, kind, method, persistent, steps)

    holds()


@pytest.mark.slow
def test_spawned_workers_are_told_the_epoch_too(plain: Path) -> None:
    steps = [
        {"workers": 2, "peek": True, "set_epoch": "never", "interrupt": 0},
        {"workers": 2, "peek": False, "set_epoch": "during", "interrupt": 0},
    ]
    run(plain, BARE, "spawn", True, steps)


def test_a_peek_and_a_lost_worker_shift_nothing(plain: Path) -> None:
    """What was reported: after a peek with 2 workers, 26 of 96 samples came twice and 26 never, in every epoch."""
    loader = DataLoader(BatchReader(plain, batch_size=5).torch(), num_workers=2)
    next(iter(loader))
    for epoch in (1, 2):
        assert served(loader) == ({epoch}, list(range(40)))
    interrupted(loader, 1)
    epochs = [served(loader) for _ in range(2)]
    assert [samples for _, samples in epochs] == [list(range(40))] * 2
    assert epochs[0][0] != epochs[1][0]


def test_set_epoch_during_an_iteration_is_for_the_next_one(plain: Path) -> None:
    reader = BatchReader(plain, batch_size=5)
    loader = reader.loader(2)
    batches = iter(loader)
    first = next(batches)
    loader.set_epoch(7)
    assert served(itertools.chain([first], batches)) == ({0}, list(range(40)))
    assert reader.state_dict()["epoch"] == 7
    assert served(loader) == ({7}, list(range(40)))
    assert reader.state_dict()["epoch"] == 8
