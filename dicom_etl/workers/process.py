"""One worker process as the pool sees it: the pipes to it, the memory shared with it, and the chunks it has."""

from __future__ import annotations

import mmap
import os
import pickle
import signal
import subprocess
import sys
import tempfile
import weakref
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Pipe
from typing import Any

import numpy as np

from dicom_etl.workers.chunks import Chunk
from dicom_etl.workers.threads import ONE_THREAD
from dicom_etl.workers.worker import HEAD, PROGRESS, START, Answer, Request

_PROGRAM = "from dicom_etl.workers.worker import main; main()"
AHEAD = 3
"""Chunks that a worker has at a time: one at work, and enough to do while the pool writes a study's columns."""
_REGIONS = AHEAD + 2
"""Of the shared memory: one for each of its chunks, and two whose results are being used."""
_REGION_BYTES = 2 << 20
_GRACE_SECONDS = 5.0


class GoneError(Exception):
    """The worker has died."""


class Worker:
    """A process that runs chunks of items.

    Parameters
    ----------
    function : callable
        What it will run first: it is loaded at once, and `ready` is set when that is done.
    """

    region_bytes = _REGION_BYTES

    def __init__(self, function: Callable[..., Any]) -> None:
        self.ready = False
        self.chunks: list[Chunk] = []
        self._function = function
        self._free = list(range(_REGIONS))
        self._used: dict[int, int] = {}
        self._lent: dict[int, weakref.ref[Any]] = {}
        self._memory, memory_fd = _shared_memory(HEAD + _REGIONS * _REGION_BYTES)
        theirs, self._requests = Pipe(duplex=False)
        self.answers, answers = Pipe(duplex=False)
        passed = (theirs.fileno(), answers.fileno(), memory_fd)
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-c", _PROGRAM, *map(str, passed)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,  # a parser may print what a header holds
                env=_environment(),
                pass_fds=passed,
            )
        finally:
            theirs.close()
            answers.close()
            os.close(memory_fd)
        self._request(Request(START, pickle.dumps(function), []))

    def send(self, chunk: Chunk) -> None:
        """Give it a chunk; a worker that has died keeps the chunk in `chunks`, for others to run."""
        self.chunks.append(chunk)
        function = None
        if chunk.run.function is not self._function:
            self._function = chunk.run.function
            function = pickle.dumps(self._function)
        region = (0, 0)
        if self._free:
            self._used[chunk.number] = index = self._free.pop()
            region = _bounds(index)
        self._request(Request(chunk.number, function, chunk.items, region))

    def receive(self) -> None:
        """Take an answer, and hand its results to the run of its chunk; waits until there is one.

        Raises
        ------
        GoneError
            When the process has died.
        Exception
            What it met when it loaded the function.
        """
        try:
            message = self.answers.recv_bytes()
        except (EOFError, OSError):
            raise GoneError from None
        answer: Answer = pickle.loads(message)
        if answer.number == START:
            self.ready = True
            for failure in pickle.loads(answer.payload):
                failure.throw()
            return
        chunk = self.chunks.pop(0)
        assert chunk.number == answer.number
        results = pickle.loads(answer.payload, buffers=self._buffers(answer))
        size = len(answer.payload) + sum(length for _, length in answer.spans)
        chunk.run.take(chunk, results, answer.seconds, size)

    def progress(self) -> tuple[int, int]:
        """Return the number of the chunk that it works on, or worked on when it died, and the item's place in it."""
        number, position = PROGRESS.unpack_from(self._memory, 0)
        return number, position

    def dismiss(self) -> None:
        """Let it end when it has finished what it has."""
        self._request(None)

    def kill(self) -> None:
        """End it at once."""
        self._process.kill()

    def wait(self) -> str:
        """Wait until it has ended, not for ever; say how it ended."""
        try:
            code = self._process.wait(_GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        self._requests.close()
        self.answers.close()
        return f"ended by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"

    def _request(self, request: Request | None) -> None:
        message = pickle.dumps(request, protocol=5)
        with suppress(OSError):  # it has died, which `receive` tells
            self._requests.send_bytes(message)

    def _buffers(self, answer: Answer) -> list[Any]:
        """Return views of the large parts of an answer; their region is lent until the last of them is let go."""
        index = self._used.pop(answer.number, None)
        if index is None:
            return []
        if not answer.spans:
            self._free.append(index)
            return []
        whole = np.frombuffer(self._memory, dtype=np.uint8)
        whole.flags.writeable = False
        free = self._free
        self._lent[index] = weakref.ref(whole, lambda _: free.append(index))
        return [whole[start : start + length] for start, length in answer.spans]


def _bounds(index: int) -> tuple[int, int]:
    start = HEAD + index * _REGION_BYTES
    return start, start + _REGION_BYTES


def _shared_memory(size: int) -> tuple[mmap.mmap, int]:
    """Return memory that has no name, so nothing stays behind whatever happens, and a descriptor to share it by."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("dicom-etl")
    else:  # macOS
        with tempfile.TemporaryFile() as file:
            descriptor = os.dup(file.fileno())
    os.ftruncate(descriptor, size)
    return mmap.mmap(descriptor, size), descriptor


def _environment() -> dict[str, str]:
    """Let the worker find what this process finds, however it was started; -P keeps its folder out of that."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONSTARTUP"}
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
    return environment | ONE_THREAD
