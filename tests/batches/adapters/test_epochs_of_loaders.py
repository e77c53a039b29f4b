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
    reader = BatchReader(path, batch_size=5)
    loaders: dict[int, Any] = {}
    views: Any = None
    epochs: list[set[int]] = []
    chosen_during = False
    for step in steps:
        workers = step["workers"]
        if workers not in loaders or not persistent:
            loaders[workers] = opened(reader, kind, workers, method, persistent)
        loader = loaders[workers]
        views = loader.dataset
        if step["interrupt"] and workers:
            interrupted(loader, step["interrupt"] % workers)
        if step["peek"]:
            next(iter(loader))
        if step["set_epoch"] == "before":
            views.set_epoch(20)
        batches = iter(loader)
        first = next(batches)
        if step["set_epoch"] == "during":
            views.set_epoch(30)
        epoch, samples = served(itertools.chain([first], batches))
        assert len(epoch) == 1, step
        assert samples == list(range(40)), step
        if step["set_epoch"] == "before":
            assert epoch == {20}
        elif epochs and not chosen_during:
            assert epoch != epochs[-1]
        chosen_during = step["set_epoch"] == "during"
        epochs.append(epoch)
    del loaders, loader, batches


STEPS = st.fixed_dictionaries(
    {
        "workers": st.sampled_from([0, 2, 4]),
        "peek": st.booleans(),
        "set_epoch": st.sampled_from(["never", "never", "before", "during"]),
        "interrupt": st.sampled_from([0, 0, 0, 1, 2]),
    }
)


@pytest.mark.slow
@settings(
    max_examples=2000 if WHOLE else 12,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(
    kind=st.sampled_from([BARE, "own"]),
    method=st.just("fork") if not WHOLE else st.sampled_from(["fork"] * 8 + ["spawn", "forkserver"]),
    persistent=st.booleans(),
    steps=st.lists(STEPS, min_size=2, max_size=3),
)
def test_every_epoch_serves_every_sample_once(
    plain: Path, kind: str, method: str, persistent: bool, steps: list[dict[str, Any]]
) -> None:
    run(plain, kind, method, persistent, steps)


@pytest.mark.slow
@pytest.mark.parametrize(("method", "kind"), [("spawn", BARE), ("forkserver", "own")])
def test_other_ways_to_start_workers(plain: Path, method: str, kind: str) -> None:
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"no {method} here")
    steps = [
        {"workers": 2, "peek": True, "set_epoch": "never", "interrupt": 0},
        {"workers": 2, "peek": False, "set_epoch": "during", "interrupt": 0},
    ]
    run(plain, kind, method, True, steps)


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
