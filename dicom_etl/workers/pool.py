"""A pool of processes on this machine: this one, and workers.

Workers are fresh interpreters. A fork of this process would start faster, but it would inherit the locks of
the HDF5 library and of threads (progress bars, BLAS) as they are at that moment, and half-written state with
them. Starting costs little that a person sees, because this process works on the first items itself until a
worker is ready, and no worker is started for what is done within a fraction of a second. It goes on to do so
whenever it has nothing to hand out, to take in or to pass on: one process less to start and to feed, and no core
idles.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterable, Iterator
from selectors import EVENT_READ, DefaultSelector
from types import TracebackType
from typing import Any, Self

from dicom_etl.errors import DicomEtlError, ItemError
from dicom_etl.workers import InProcess, Item, Result
from dicom_etl.workers.chunks import Run
from dicom_etl.workers.interrupts import stop_if_asked
from dicom_etl.workers.process import AHEAD, GoneError, Worker

PATIENCE_SECONDS = 0.2
"""What is done sooner than this is done here, without workers: about as long as a worker takes to start."""
_FAILED_STARTS = 3


class ProcessPool:
    """Runs items in processes of this machine; see `dicom_etl.workers.Executor`.

    Parameters
    ----------
    jobs : int
        Processes at work, this one included.
    patience_seconds : float
        How long items are run in this process alone before workers are started; 0: not one item is run here, and
        there are as many workers as jobs.

    Notes
    -----
    A worker that dies (killed for its memory, crashed by a codec) costs nothing: its items are run again, and
    the one it was working on is tried once more. When that ends a second worker too, this item alone is an
    `ItemError`. Items are taken, and results kept, only as far ahead as keeps the workers busy, so memory does
    not grow with their number. One `map` is at work at a time; a second one begins when the first has ended or
    was given up.
    """

    def __init__(self, jobs: int, *, patience_seconds: float = PATIENCE_SECONDS) -> None:
        if jobs < 1:
            raise ValueError(f"a pool needs at least one job, not {jobs}")
        self._runs_here = patience_seconds > 0
        self._most_workers = jobs - 1 if self._runs_here else jobs
        self._most_chunks = (AHEAD + 2) * max(1, self._most_workers)
        self._patience = patience_seconds
        self._workers: list[Worker] = []
        self._answers = DefaultSelector()
        self._failed_starts = 0

    def map(
        self, function: Callable[[Item], Result], items: Iterable[Item]
    ) -> Iterator[tuple[Item, Result | ItemError]]:
        """Run ``function`` on all items; see `dicom_etl.workers.Executor.map`.

        Raises
        ------
        DicomEtlError
            When workers cannot be started.
        Exception
            What the function raised that is no `ItemError`, at the place of its item.
        """
        rest = iter(items)
        if self._runs_here and (yield from self._here(function, rest)):
            return
        run: Run[Item, Result] = Run(function, rest)
        try:
            while True:
                stop_if_asked()
                self._hand_out(run)
                if run.ready:
                    yield from run.finished()
                elif run.done:
                    return
                elif not self._collect(run, wait=False) and not self._help(run):
                    self._collect(run, wait=True)
        finally:
            run.give_up()

    def close(self) -> None:
        """Let the workers end."""
        for worker in self._workers:
            worker.dismiss()
        while self._workers:
            self._end(self._workers[-1])
        self._answers.close()

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let the workers end; end them at once when the block failed or was interrupted."""
        if error is not None:
            for worker in self._workers:
                worker.kill()
        self.close()

    def _here(
        self, function: Callable[[Item], Result], items: Iterator[Item]
    ) -> Generator[tuple[Item, Result | ItemError], None, bool]:
        """Run items in this process until workers are worth their start, and then until one is ready.

        Returns whether there was no more to run.
        """
        results = InProcess().map(function, items)
        while self._patience > 0:
            started = time.perf_counter()
            result = next(results, None)
            self._patience -= time.perf_counter() - started
            if result is None:
                return True
            yield result
        self._fill_up(function)
        # What can be read from a worker that is not ready yet is that it is, or its end.
        while not any(worker.ready for worker in self._workers) and not self._answers.select(0):
            result = next(results, None)
            if result is None:
                return True
            yield result
        return False

    def _fill_up(self, function: Callable[..., Any]) -> None:
        """Start the workers that are missing; they load what ``function`` needs."""
        while len(self._workers) < self._most_workers:
            worker = Worker(function)
            self._workers.append(worker)
            self._answers.register(worker.answers, EVENT_READ, worker)

    def _hand_out(self, run: Run[Any, Any]) -> None:
        """Give chunks to the workers that have least to do."""
        self._fill_up(run.function)
        for waiting in range(AHEAD):
            for worker in self._workers:
                if worker.ready and len(worker.chunks) == waiting:
                    chunk = run.next_chunk(worker.region_bytes, self._most_chunks)
                    if chunk is None:
                        return
                    worker.send(chunk)

    def _help(self, run: Run[Any, Any]) -> bool:
        """Run one item in this process; return whether there was one to run."""
        return self._runs_here and run.make_here(self._most_chunks)

    def _collect(self, run: Run[Any, Any], *, wait: bool) -> bool:
        """Take in answers, and the ends of workers; return whether there were any. Can wait until there are."""
        ready = [key.data for key, _ in self._answers.select(None if wait else 0)]
        for worker in ready:
            try:
                worker.receive()
                self._failed_starts = 0
            except GoneError:
                self._replace(worker, run)
        return bool(ready)

    def _replace(self, worker: Worker, run: Run[Any, Any]) -> None:
        """Take back the chunks of a worker that died, and blame the item it was working on, if it had begun."""
        reason = self._end(worker)
        number, position = worker.progress()
        if not worker.ready:
            self._failed_starts += 1
            if self._failed_starts >= _FAILED_STARTS:
                raise DicomEtlError(f"worker processes cannot be started ({reason}); `jobs` 1 needs none")
        for chunk in worker.chunks:
            chunk.run.take_back(chunk, position if chunk.number == number else None, reason)
        self._fill_up(run.function)

    def _end(self, worker: Worker) -> str:
        """Let go of a worker, once it has ended; return how it did."""
        self._workers.remove(worker)
        self._answers.unregister(worker.answers)
        return worker.wait()
