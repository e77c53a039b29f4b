"""From a schedule to an iterator of batches, the next of which are made in threads while the last one is in use."""

from __future__ import annotations

import multiprocessing
import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from dicom_etl.batches.batch import Assembler, Batch
from dicom_etl.batches.sampler import EpochPlan, Schedule
from dicom_etl.errors import check_option
from dicom_etl.workers import usable_cores

Made = TypeVar("Made")
_BATCHES_ASKED_FOR = 8
"""How many batches ahead the system is told to read from disk: of 1,600 samples in no cache, served between steps of
4 ms, a loop waits 0.06 s at most, and 0.25 s where the system is not told."""
_MOST_THREADS = 4
"""By default; what more would gain is bounded by the speed of memory."""
_BYTES_AHEAD = 6 << 20
"""Made ahead by default, so that memory is written again while it is still in the processor's cache: with batches of
3 MB, a slice of 128 kB costs 13 us with four batches ahead, 10 with one."""


@dataclass(frozen=True, slots=True, eq=False)
class Stream:
    """Makes the batches of any epoch; holds no position.

    The schedule's positions count in ``rows``, the rows of the file that are served: (sample,), or (sample, place) of
    whole stacks and cines.
    """

    assembler: Assembler
    rows: NDArray[np.int64]
    schedule: Schedule
    prefetch: int | None = None
    threads: int | None = None

    def __post_init__(self) -> None:
        check_option(self.prefetch is None or self.prefetch >= 0, "prefetch", self.prefetch, "0 or more")
        check_option(self.threads is None or self.threads >= 1, "threads", self.threads, "at least 1")

    def batches(self, epoch: int, start: int = 0, worker: int = 0, workers: int = 1) -> Iterator[Batch]:
        """Iterate over the share of one loader worker of this rank, of an epoch of which ``start`` batches are done.

        ``start`` counts all ranks. Taken in turn, the workers' batches are those of one worker.
        """
        plan = self.schedule.epoch(epoch)
        numbers = self.schedule.numbers(start, worker, workers)
        cold = self.assembler.store.is_cold(self.rows[self.rows >= 0])

        def make(index: int) -> Batch:
            if cold:
                self._ask_for(plan, numbers, index)
            positions, padding = plan.batch(numbers[index])
            step = self.schedule.step_after(numbers[index], start)
            return self.assembler.make(self.rows[positions], padding, self.schedule.seed, epoch, step)

        return prefetched(make, len(numbers), *self._threads_and_depth())

    def _threads_and_depth(self) -> tuple[int, int]:
        """Choose who makes batches, and how far ahead; by default nobody but the one who asks, where others do harm.

        Transforms of the user's need not bear several threads, and the processes of a loader share the cores already.
        """
        threads = self.threads
        if threads is None:
            alone = self.assembler.serving.transforms or multiprocessing.parent_process() is not None
            threads = 1 if alone else min(usable_cores(), _MOST_THREADS)
        depth = self.prefetch
        if depth is None:
            samples = self.schedule.batch_size * self.rows[0].size
            in_cache = _BYTES_AHEAD // self.assembler.bytes_of(samples)
            depth = min(max(in_cache, threads - 1), threads + 2) if threads > 1 else 0
        return threads, depth

    def _ask_for(self, plan: EpochPlan, numbers: range, index: int) -> None:
        """Have the system read what is served some batches later; at the start, all up to there."""
        first = 0 if index == 0 else index + _BATCHES_ASKED_FOR - 1
        for number in numbers[first : index + _BATCHES_ASKED_FOR]:
            rows = self.rows[plan.batch(number)[0]]
            self.assembler.store.ask_for(rows[rows >= 0])


def prefetched(make: Callable[[int], Made], count: int, threads: int, ahead: int) -> Iterator[Made]:
    """Yield ``make(number)`` for each number below ``count``, in order.

    ``ahead`` are made before they are asked for, perhaps in vain; with 0 the thread that asks makes each. Of several
    ``threads`` the one that asks is one, and makes what nobody has begun. Errors come out in their place. When the
    iterator is closed, its threads end before anything else happens. A process that is forked meanwhile may go on with
    its copy of the iterator, and does so alone.
    """
    number = 0
    process = os.getpid()
    if ahead:
        ready: deque[Future[Made]] = deque()
        unbegun: deque[tuple[int, Future[Made]]] = deque()
        pool = ThreadPoolExecutor(max(1, threads - 1), thread_name_prefix="dicom-etl-ahead")
        helpers: deque[Future[None]] = deque(maxlen=max(1, threads - 1))
        try:
            while number < count and os.getpid() == process:
                while len(ready) <= ahead and number + len(ready) < count:
                    made: Future[Made] = Future()
                    unbegun.append((number + len(ready), made))  # from here on a helper may take it
                    ready.append(made)
                    if threads == 1:
                        pool.submit(_make_some, make, unbegun)
                # Waking a thread, or waiting for one, takes as long as gathering a batch. So a helper goes on while
                # there is something to make, and the one that asks makes what nobody has begun before it waits.
                if threads > 1:
                    if len(helpers) < threads - 1 or helpers[0].done():
                        helpers.append(pool.submit(_make_some, make, unbegun))
                    while not ready[0].done() and _make_one(make, unbegun):
                        pass
                number += 1
                yield ready.popleft().result()
        finally:
            if os.getpid() == process:
                unbegun.clear()
                pool.shutdown(wait=True, cancel_futures=True)
    yield from map(make, range(number, count))  # forked: the threads, and what they made, stayed behind


def _make_some(make: Callable[[int], Made], unbegun: deque[tuple[int, Future[Made]]]) -> None:
    while _make_one(make, unbegun):
        pass


def _make_one(make: Callable[[int], Made], unbegun: deque[tuple[int, Future[Made]]]) -> bool:
    """Make what is asked for first among what nobody has begun; return whether there was anything."""
    try:
        number, made = unbegun.popleft()
    except IndexError:
        return False
    try:
        made.set_result(make(number))
    except BaseException as error:  # noqa: BLE001  # raised again where the number is asked for
        made.set_exception(error)
    return True
