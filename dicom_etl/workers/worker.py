"""The program of a worker process: runs chunks of items until the pool closes the pipe to it.

Messages go through pipes. Large results do not: their bytes are put into memory shared with the pool, which
takes a third of the time (measured, 262 KB moved and written: 0.21 ms of processor time in both processes
together, 0.60 ms through a pipe).
"""

from __future__ import annotations

import mmap
import os
import pickle
import queue
import signal
import struct
import sys
import threading
import time
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any, NamedTuple, NoReturn

from dicom_etl.errors import ItemError

PROGRESS = struct.Struct("<qq")
"""At the start of the shared memory: the number of the chunk at work, and the position of the item in it."""
START = -1
"""Number of the request that only loads the function."""
IDLE = (START, -1)
HEAD = mmap.ALLOCATIONGRANULARITY
"""Bytes before the first region of the shared memory."""
_ALIGNMENT = 64
_LEAST_OUTSIDE = 4096
"""Smaller buffers stay in the message."""


class Request(NamedTuple):
    """A chunk of items to run; ``region`` of the shared memory is free for large results, none when it is empty."""

    number: int
    function: bytes | None
    """Pickled; None: the one of the request before."""
    items: list[Any]
    region: tuple[int, int] = (0, 0)
    """Start and end."""


class Failure(NamedTuple):
    """What an item raised that was not an `ItemError`: it ends the run. ``trace`` is "" when it happened here."""

    error: Exception
    trace: str = ""

    def throw(self) -> NoReturn:
        """Raise it here, and say when it happened there."""
        if self.trace:
            self.error.add_note(f"in a worker process:\n{self.trace}")
        raise self.error


class Answer(NamedTuple):
    """The results of a chunk, pickled, and where in its region the large parts of them are."""

    number: int
    seconds: float
    payload: bytes
    spans: list[tuple[int, int]]


def main() -> None:
    """Serve one pool; the arguments are the descriptors of both pipes and of the shared memory."""
    requests_fd, answers_fd, memory_fd = map(int, sys.argv[1:4])
    # Ctrl-C reaches the whole group of processes; what becomes of this one is the pool's decision.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    memory = mmap.mmap(memory_fd, 0)
    os.close(memory_fd)
    inbox: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    listener = threading.Thread(
        target=_listen, args=(Connection(requests_fd, writable=False), inbox), daemon=True
    )
    listener.start()
    _serve(inbox, Connection(answers_fd, readable=False), memory)


def _listen(requests: Connection, inbox: queue.SimpleQueue[bytes]) -> None:
    """Pass requests on; when the pool is gone there is nobody to work for, so end even in the middle of an item."""
    while True:
        try:
            inbox.put(requests.recv_bytes())
        except (EOFError, OSError):
            os._exit(1)


def _serve(inbox: queue.SimpleQueue[bytes], answers: Connection, memory: mmap.mmap) -> None:
    """Answer one request after the other, until one is None."""
    function: Callable[[Any], Any] | None = None
    PROGRESS.pack_into(memory, 0, *IDLE)
    while True:
        message = inbox.get()
        started = time.perf_counter()
        results: list[Any] = []
        request = Request(START, None, [])
        try:
            request = pickle.loads(message)
            if request is None:
                return
            if request.function is not None:
                function = pickle.loads(request.function)
            assert function is not None
            for position, item in enumerate(request.items):
                PROGRESS.pack_into(memory, 0, request.number, position)
                results.append(run_item(function, item))
            payload, spans = pack(results, memory, request.region)
        except Exception as error:  # noqa: BLE001  - a function or result that does not travel: the pool raises it
            payload, spans = pickle.dumps([_failure(error)] * max(1, len(request.items))), []
        PROGRESS.pack_into(memory, 0, *IDLE)
        answer = Answer(request.number, time.perf_counter() - started, payload, spans)
        try:
            answers.send_bytes(pickle.dumps(answer, protocol=5))
        except OSError:
            return  # the pool is gone


def run_item(function: Callable[[Any], Any], item: Any) -> Any:
    """Return the result of one item, the `ItemError` that it failed with, or a `Failure`."""
    try:
        return function(item)
    except ItemError as error:
        return error
    except Exception as error:  # noqa: BLE001  - the pool raises it
        return _failure(error)


def _failure(error: Exception) -> Failure:
    trace = "".join(traceback.format_exception(error))
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # noqa: BLE001  - an exception of another package that does not travel
        error = RuntimeError(f"{type(error).__name__}: {error}")
    return Failure(error, trace)


def pack(
    results: list[Any], memory: mmap.mmap, region: tuple[int, int]
) -> tuple[bytes, list[tuple[int, int]]]:
    """Pickle results; large buffers in them go to the region of the memory as long as there is room.

    Returns
    -------
    payload : bytes
        For `pickle.loads`, with the buffers at ``spans``.
    spans : list of (int, int)
        Start and length in the memory.
    """
    spans: list[tuple[int, int]] = []
    place, end = region

    def stays_inside(buffer: pickle.PickleBuffer) -> bool:
        nonlocal place
        with buffer.raw() as raw:
            if raw.nbytes < _LEAST_OUTSIDE or place + raw.nbytes > end:
                return True
            memory[place : place + raw.nbytes] = raw
            spans.append((place, raw.nbytes))
            place += -(-raw.nbytes // _ALIGNMENT) * _ALIGNMENT
        return False

    return pickle.dumps(results, protocol=5, buffer_callback=stays_inside), spans


if __name__ == "__main__":
    main()
