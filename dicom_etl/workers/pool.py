"""A pool of processes on this machine: this one, and workers.

Workers are fresh interpreters. A fork of this process would start faster, but it would inherit the locks of
the HDF5 library and of threads (progress bars, BLAS) as they are at that moment, and half-written state with
them. Starting costs little that a person sees: one worker starts at once, while this process works on the first items
itself, and the others only where these take longer than a worker does. This process goes on to do so whenever it has
nothing to hand out, to take in or to pass on: one process less to start and to feed, and no core idles.
"""

from __future__ import annotations

import mmap
import os
import pickle
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import cached_property
from itertools import islice
from multiprocessing.connection import Pipe
from selectors import EVENT_READ, DefaultSelector
from typing import Any, NamedTuple

from dicom_etl.errors import DicomEtlError, ItemError
from dicom_etl.workers import ONE_THREAD, Executor, Item, Result, Results
from dicom_etl.workers.interrupts import stop_if_asked
from dicom_etl.workers.worker import AHEAD, BEGUN, HEAD_BYTES, SLOT_BYTES, ChunkResults, Failure, Request

PATIENCE_SECONDS = 0.2
"""What is done sooner than this needs no second worker: about as long as one takes to start."""
_CHUNK_SECONDS = 0.01
"""What a chunk should take: long against passing a message (0.1 ms), short against the whole run."""
_LARGEST_CHUNK = 32
_LONG_SECONDS = 0.05
_TRIES = 2
_FAILED_STARTS = 3
_GRACE_SECONDS = 5.0
_PROGRAM = "from dicom_etl.workers.worker import main; main()"


class ProcessPool(Executor):
    """Runs items in ``jobs`` processes of this machine, this one included; see `dicom_etl.workers.Executor`.

    For ``patience_seconds`` items are run in this process before more than one worker is started; 0: not one item is
    run here, and there are as many workers as jobs. A worker imports the module ``preload`` before its first item.

    A worker that dies (killed for its memory, crashed by a codec) costs nothing: its items are run again, one by
    one. An item that then ends two workers is an `ItemError`. Items are taken, and results kept, only as far ahead
    as keeps the workers busy, so memory does not grow with their number. One `map` is at work at a time; a second
    one begins when the first has ended or was given up.
    """

    def __init__(self, jobs: int, *, patience_seconds: float = PATIENCE_SECONDS, preload: str = "") -> None:
        self._runs_here = patience_seconds > 0
        self._most_workers = jobs - 1 if self._runs_here else jobs
        self._patience, self._preload = patience_seconds, preload
        self._workers: list[_Worker] = []
        self._answers = DefaultSelector()
        self._failed_starts = 0
        self._start_workers()

    def map(self, function: Callable[[Item], Result], items: Iterable[Item]) -> Results[Item, Result]:
        """Run ``function`` on all items; what it raises that is no `ItemError` is raised at the place of its item."""
        # What is ready here may wait for workers: with 7 chunks less, two jobs on RLE images take 4.0 s instead of 3.5.
        run = _Run(function, iter(items), most_chunks=(AHEAD + 2) * max(1, self._most_workers) + 7)
        try:
            while True:
                stop_if_asked()
                self._start_workers()
                self._hand_out(run)
                if run.ready:
                    yield from run.finished()
                elif run.done:
                    return
                elif not (self._collect(seconds=0) or self._help(run) or run.done):
                    self._collect(seconds=None)
        finally:
            run.given_up = True

    def __exit__(self, *error: object) -> None:
        """End the workers, whatever they do."""
        for worker in self._workers:
            worker.process.kill()
        for worker in self._workers:
            worker.end()
        self._workers.clear()
        self._answers.close()

    def _hand_out(self, run: _Run) -> None:
        for waiting in range(run.depth):
            for worker in self._workers:
                if worker.ready and len(worker.chunks) == waiting:
                    chunk = run.next_chunk()
                    if chunk is None:
                        return
                    worker.send(chunk)

    def _start_workers(self) -> None:
        """Start those that are missing, but one where it is not known yet whether there is work for more."""
        while len(self._workers) < min(self._most_workers, 1 if self._patience > 0 else self._most_workers):
            worker = _Worker(self._preload)
            self._workers.append(worker)
            self._answers.register(worker.connection, EVENT_READ, worker)

    def _help(self, run: _Run) -> bool:
        started = time.perf_counter()
        ran = self._runs_here and run.run_here()
        # Without more to run, the last of it is waited for.
        self._patience -= time.perf_counter() - started
        return ran

    def _collect(self, *, seconds: float | None) -> bool:
        """Take in answers, and the ends of workers; return whether there were any. Can wait until there are."""
        ready: list[_Worker] = [key.data for key, _ in self._answers.select(seconds)]
        for worker in ready:
            try:
                worker.receive()
                self._failed_starts = 0
            except (EOFError, ConnectionError):
                self._take_back(worker)
        return bool(ready)

    def _take_back(self, worker: _Worker) -> None:
        """Queue what a worker that died had to do; the item is blamed that it was working on alone."""
        self._workers.remove(worker)
        self._answers.unregister(worker.connection)
        reason = worker.end()
        self._failed_starts += not worker.ready
        if self._failed_starts >= _FAILED_STARTS:
            raise DicomEtlError(f"worker processes cannot be started ({reason}); `jobs` 1 needs none")
        for place, chunk in enumerate(worker.chunks):
            blamed = place == 0 and worker.at_work and len(chunk.items) == 1
            chunk.run.take_back(chunk, reason, blamed=blamed)


class _Chunk(NamedTuple):
    """Some items of a run, from the item at ``first`` on."""

    run: _Run
    first: int
    items: list[Any]


class _Run:
    """One `map`: what is still to be run, and what waits for its turn."""

    def __init__(self, function: Callable[[Any], Any], items: Iterator[Any], most_chunks: int) -> None:
        self.function = function
        self.given_up = False
        self._source, self._exhausted = items, False
        self._most_chunks, self._chunk_size = most_chunks, 1
        self.depth = 1
        """How many chunks a worker has at a time: one until it is known how long they take, and few long ones."""
        self._taken = self._yielded = 0
        self._again: deque[_Chunk] = deque()
        self._results: dict[int, tuple[Any, Any]] = {}
        self._tries: Counter[int] = Counter()
        self._announce: Callable[[Any], None] | None = getattr(function, "announce", None)
        self._mine: _Chunk | None = None
        """What was announced here, and is run here next."""

    @cached_property
    def pickled(self) -> bytes:
        return pickle.dumps(self.function, protocol=5)

    @property
    def ready(self) -> bool:
        return self._yielded in self._results

    @property
    def done(self) -> bool:
        return self._exhausted and self._yielded == self._taken

    def next_chunk(self) -> _Chunk | None:
        """Return the next chunk, those to be repeated first: others may wait for them. None when there is none."""
        return self._again.popleft() if self._again else self._new_chunk(self._chunk_size)

    def run_here(self) -> bool:
        """Run the next new item in this process; return whether there was one."""
        chunk = self._mine or self._new_chunk(1)
        self._mine = None
        if chunk is None:
            return False
        item = chunk.items[0]
        if self._announce is not None and (following := self._new_chunk(1)) is not None:
            self._mine = following
            self._announce(following.items[0])
        try:
            self._results[chunk.first] = item, self.function(item)
        except ItemError as error:
            self._results[chunk.first] = item, error
        except Exception as error:  # noqa: BLE001  - raised when it is its turn
            self._results[chunk.first] = item, Failure(error)
        return True

    def take(self, chunk: _Chunk, results: list[Any], seconds: float) -> None:
        """Keep the results of a chunk, and learn from it how large chunks should be."""
        pairs = zip(chunk.items, results, strict=True)
        self._results.update(enumerate(pairs, start=chunk.first))
        fitting = int(_CHUNK_SECONDS * len(results) / max(seconds, 1e-6))
        self._chunk_size = max(1, min(fitting, 2 * self._chunk_size, _LARGEST_CHUNK))
        self.depth = AHEAD if seconds < _LONG_SECONDS else 2

    def take_back(self, chunk: _Chunk, reason: str, *, blamed: bool) -> None:
        """Queue the items of a chunk again, one by one; give up on one that was blamed before."""
        if blamed:
            self._tries[chunk.first] += 1
        if self._tries[chunk.first] == _TRIES:
            error = ItemError(f"{_TRIES} worker processes were {reason} while they read it")
            self._results[chunk.first] = chunk.items[0], error
        else:
            self._again.extend(
                _Chunk(self, index, [item]) for index, item in enumerate(chunk.items, chunk.first)
            )

    def finished(self) -> Iterator[tuple[Any, Any]]:
        """Yield the results whose turn it is, and raise what an item raised that is no `ItemError`."""
        while self.ready:
            item, result = self._results.pop(self._yielded)
            self._yielded += 1
            if isinstance(result, Failure):
                result.throw()
            yield item, result

    def _new_chunk(self, size: int) -> _Chunk | None:
        if self._taken - self._yielded > self._most_chunks * self._chunk_size:
            return None
        items = list(islice(self._source, size))
        self._exhausted = self._exhausted or len(items) < size
        chunk = _Chunk(self, self._taken, items)
        self._taken += len(items)
        return chunk if items else None


class _Worker:
    """One worker as the pool sees it: the connection to it, the memory shared with it, and the chunks it has."""

    def __init__(self, preload: str) -> None:
        self.ready = False
        self.chunks: deque[_Chunk] = deque()
        self._sent = self._answered = 0
        self._memory, memory_fd = _shared_memory(HEAD_BYTES + AHEAD * SLOT_BYTES)
        self.connection, theirs = Pipe()
        passed = (theirs.fileno(), memory_fd)
        try:
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-c", _PROGRAM, *map(str, passed), preload],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,  # a parser may print what a header holds
                env=os.environ | ONE_THREAD | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
                pass_fds=passed,
            )
        finally:
            theirs.close()
            os.close(memory_fd)

    def send(self, chunk: _Chunk) -> None:
        """Give it a chunk; a worker that has died keeps the chunk in `chunks`, for others to run."""
        self.chunks.append(chunk)
        request = Request(chunk.run.pickled, chunk.items, self._sent % AHEAD)
        self._sent += 1
        message = pickle.dumps(request, protocol=5)
        with suppress(OSError):  # it has died, which `receive` tells
            self.connection.send_bytes(message)

    def receive(self) -> None:
        """Take an answer, and hand its results to the run of its chunk; `EOFError` where the process has died."""
        message = self.connection.recv_bytes()
        if not self.ready:
            self.ready = True
            return
        answer: ChunkResults = pickle.loads(message)
        chunk = self.chunks.popleft()
        self._answered += 1
        # A copy, so that the slot is free for the next chunk, however long somebody keeps the result: 25 us a slice.
        buffers = [self._memory[start:end] for start, end in answer.spans]
        results = pickle.loads(answer.payload, buffers=buffers)
        if isinstance(results, Failure):  # of the chunk as a whole
            results = [results] * len(chunk.items)
        if not chunk.run.given_up:
            chunk.run.take(chunk, results, answer.seconds)

    @property
    def at_work(self) -> bool:
        """Whether it has begun the first of its chunks; what was sent to a dead worker did not kill it."""
        begun: int = BEGUN.unpack_from(self._memory, 0)[0]
        return begun > self._answered

    def end(self) -> str:
        """Let go of it; wait until it has ended, not for ever, and say how it did."""
        self.connection.close()
        try:
            code = self.process.wait(_GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            code = self.process.wait()
        return f"ended by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"


def _shared_memory(size: int) -> tuple[mmap.mmap, int]:
    """Return memory that has no name, so nothing stays behind whatever happens, and a descriptor to share it by."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("dicom-etl")
    else:  # macOS
        with tempfile.TemporaryFile() as file:
            descriptor = os.dup(file.fileno())
    os.ftruncate(descriptor, size)
    return mmap.mmap(descriptor, size), descriptor
