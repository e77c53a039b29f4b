"""The process pool under fire: dying workers, large results, interrupts."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from dicom_etl.errors import DicomEtlError, ItemError
from dicom_etl.workers import pool as pools
from dicom_etl.workers.pool import ProcessPool
from tests.processes import alive, descendants, started_beside, wait_until_gone
from tests.workers import work


@pytest.fixture(autouse=True)
def others() -> list[int]:
    return descendants(os.getpid())


@pytest.fixture
def pool() -> Iterator[ProcessPool]:
    with ProcessPool(2, patience_seconds=0) as made:
        yield made


@pytest.mark.parametrize(("kind", "words"), [("die", "ended by SIGKILL"), ("exit", "ended with code 7")])
def test_an_item_that_ends_its_worker_costs_itself_alone(pool: ProcessPool, kind: str, words: str) -> None:
    items = [work.Trouble(n, kind if n in {5, 30} else "") for n in range(60)]
    results = {item.number: result for item, result in pool.map(work.run, items)}
    assert list(results) == list(range(60))
    for number, result in results.items():
        if number in {5, 30}:
            assert isinstance(result, ItemError)
            assert words in str(result)
        else:
            assert result == number


def test_a_worker_killed_from_outside_costs_nothing(pool: ProcessPool, tmp_path: Path) -> None:
    items = [
        work.Trouble(n, "die once", tmp_path / str(n)) if n % 9 == 4 else work.Trouble(n) for n in range(60)
    ]
    assert [result for _, result in pool.map(work.run, items)] == list(range(60))
    assert len(list(tmp_path.iterdir())) == 7


def test_all_workers_killed_at_once_cost_nothing(pool: ProcessPool, others: list[int]) -> None:
    results = []
    for number, result in pool.map(work.slow_square, range(400)):
        if number in {50, 51, 200}:
            for pid in started_beside(others):
                os.kill(pid, signal.SIGKILL)
        results.append(result)
    assert results == [n * n for n in range(400)]


@pytest.mark.parametrize(("kind", "error"), [("unpicklable", RuntimeError), ("no result", Exception)])
def test_what_cannot_travel_is_raised_and_hangs_nothing(
    pool: ProcessPool, kind: str, error: type[Exception]
) -> None:
    with pytest.raises(error) as caught:
        list(pool.map(work.run, [work.Trouble(1), work.Trouble(2, kind)]))
    assert "in a worker process" in caught.value.__notes__[0]


def test_a_function_that_workers_cannot_import_is_named(pool: ProcessPool) -> None:
    function = type(sys)("nowhere")
    exec("def lost(item): return item", function.__dict__)
    sys.modules["nowhere"] = function
    try:
        with pytest.raises(ModuleNotFoundError, match="nowhere"):
            list(pool.map(function.lost, [1]))
    finally:
        del sys.modules["nowhere"]


def test_workers_that_cannot_start_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pools, "_PROGRAM", "raise SystemExit(3)")
    with pytest.raises(DicomEtlError, match=r"code 3.*`jobs` 1"), ProcessPool(2, patience_seconds=0) as pool:
        list(pool.map(work.square, range(9)))


def test_large_results_arrive_whole_and_their_memory_is_used_again(pool: ProcessPool) -> None:
    kept = []
    for number, result in pool.map(work.array, range(300)):
        assert isinstance(result, np.ndarray)
        assert len(result) == number % 5 * 40_000
        assert (result == number).all()
        if number % 50 == 4:
            kept.append((number, result))
    # What somebody holds on to is never overwritten.
    assert len(kept) == 6
    assert all((result == number).all() for number, result in kept)


def test_more_than_shared_memory_holds_goes_through_the_socket(pool: ProcessPool) -> None:
    for number, result in pool.map(work.large_array, range(12)):
        assert isinstance(result, np.ndarray)
        assert result.nbytes == (number % 3 + 1) << 21
        assert (result == number).all()


def test_both_workers_work_and_take_one_core_each(pool: ProcessPool) -> None:
    assert len({pid for _, pid in pool.map(work.where, range(60))}) == 2
    ((_, settings),) = pool.map(work.threads, [0])
    assert isinstance(settings, dict)
    assert settings["OPENBLAS_NUM_THREADS"] == "1"


def test_short_work_waits_for_no_worker_and_starts_one(others: list[int]) -> None:
    with ProcessPool(5) as pool:
        assert {pid for _, pid in pool.map(work.where, range(5))} == {os.getpid()}
        workers = started_beside(others)
        assert len(workers) == 1
    assert not alive(workers)


def test_this_process_and_one_worker_do_the_work_of_two_jobs(others: list[int]) -> None:
    with ProcessPool(2, patience_seconds=1e-9) as pool:
        places = [pid for _, pid in pool.map(work.where, range(300))]
        (worker,) = started_beside(others)
        assert set(places) == {os.getpid(), worker}
        # Not only at the start: this process goes on to take what nobody has begun.
        last_of_worker = len(places) - places[::-1].index(worker)
        assert os.getpid() in places[places.index(worker) : last_of_worker]


def test_while_its_only_worker_is_started_again_this_process_goes_on(others: list[int]) -> None:
    results = []
    with ProcessPool(2, patience_seconds=1e-9) as pool:
        for number, result in pool.map(work.slow_square, range(400)):
            if number % 100 == 50:
                for pid in started_beside(others):
                    os.kill(pid, signal.SIGKILL)
            results.append(result)
    assert results == [n * n for n in range(400)]


@pytest.mark.parametrize("seconds", [0.001, 0.02])
def test_a_worker_is_told_what_comes_next_in_whatever_chunk(seconds: float) -> None:
    """Chunks of long items hold one each: images in JPEG 2000 were decoded while nobody did anything else."""
    with ProcessPool(1, patience_seconds=0) as pool:
        announced = [result[1] for _, result in pool.map(work.Listener(seconds), range(40))]  # type: ignore[index]
    assert announced.count(True) >= 35


def test_few_long_items_are_not_kept_for_one_worker() -> None:
    with ProcessPool(2, patience_seconds=1e-9) as pool:
        while not any(worker.ready for worker in pool._workers):
            list(pool.map(work.where, range(3)))
        held = [
            len(worker.chunks) for _ in pool.map(work.Listener(0.06), range(8)) for worker in pool._workers
        ]
    assert max(held) <= 2


def test_closing_leaves_no_process(others: list[int]) -> None:
    with ProcessPool(3, patience_seconds=0) as pool:
        results = pool.map(work.run, [work.Trouble(0), *[work.Trouble(n, "sleep") for n in range(9)]])
        next(results)
        workers = started_beside(others)
        assert len(workers) == 3
        started = time.monotonic()
        with pytest.raises(KeyboardInterrupt), pool:
            raise KeyboardInterrupt
        assert time.monotonic() - started < 30  # they sleep for a minute
    assert not alive(workers)


SCRIPT = """
import signal, sys
# A shell in the background starts programs that ignore Ctrl-C, and so would this one.
signal.signal(signal.SIGINT, signal.default_int_handler)
from dicom_etl.workers.pool import ProcessPool
from tests.workers import work
from tests.processes import alive, descendants, started_beside, wait_until_gone
with ProcessPool(2, patience_seconds=0) as pool:
    for item, _ in pool.map(work.run, [work.Trouble(0), *[work.Trouble(n, "sleep") for n in range(9)]]):
        print("working", flush=True)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL, signal.SIGTERM])
def test_workers_end_with_the_program(number: signal.Signals) -> None:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    program = subprocess.Popen(
        [sys.executable, "-c", SCRIPT], env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert program.stdout is not None
    assert program.stdout.readline() == b"working\n"
    workers = descendants(program.pid)
    assert len(workers) == 2
    program.send_signal(number)
    program.wait(timeout=10)
    program.stdout.close()
    wait_until_gone(workers)


def test_an_item_that_was_sent_to_a_dead_worker_is_not_blamed() -> None:
    """A worker that was killed may be given work before that is noticed, again and again."""
    run = pools._Run(work.square, iter([3]), most_chunks=5)
    with ProcessPool(1, patience_seconds=0) as pool:
        for _ in range(3):
            pool._start_workers()
            pool._hand_out(run)
            (worker,) = pool._workers
            while not worker.ready:
                pool._collect(seconds=None)
            worker.process.kill()
            worker.process.wait()
            pool._hand_out(run)
            assert len(worker.chunks) == 1
            pool._collect(seconds=None)
        while not run.ready:
            pool._start_workers()
            pool._hand_out(run)
            pool._collect(seconds=None)
    assert list(run.finished()) == [(3, 9)]
