"""The program of a worker process: runs chunks of items until the pool closes the connection to it.

Messages go through a socket. Large results do not: their bytes are put into memory shared with the pool, which takes
half of the time (measured, 262 KB moved and written: 0.25 ms of processor time in both processes together, 0.60 ms
through a pipe).
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
from collections.abc import Callable, Iterator
from importlib import import_module
from itertools import chain, count
from multiprocessing.connection import Connection
from typing import Any, NamedTuple, NoReturn

from dicom_etl.errors import ItemError
from dicom_etl.workers import announcing

AHEAD = 3
"""Chunks that a worker has at a time: one at work, and enough to do while the pool writes a study's columns."""
BEGUN = struct.Struct("<q")
"""At the start of the shared memory: how many chunks the worker has begun."""
HEAD_BYTES = 64
SLOT_BYTES = 4 << 20
"""Of the shared memory, for the large results of one chunk; what does not fit goes through the socket."""
_LEAST_OUTSIDE = 4096
"""Smaller buffers stay in the message."""


class Request(NamedTuple):
    """A chunk of items to run, and which slot of the shared memory is free for its results."""

    function: bytes
    items: list[Any]
    slot: int


class ChunkResults(NamedTuple):
    """The results of a chunk, pickled, and where in the shared memory their large parts are: start and end."""

    seconds: float
    payload: bytes
    spans: list[tuple[int, int]]


class Failure(NamedTuple):
    """What an item raised that was not an `ItemError`: it ends the run. ``trace`` is "" when it happened here."""

    error: Exception
    trace: str = ""

    def throw(self) -> NoReturn:
        """Raise it here, and say when it happened there."""
        if self.trace:
            self.error.add_note(f"in a worker process:\n{self.trace}")
        raise self.error


def main() -> None:
    """Serve one pool; the arguments: descriptors of the connection and of the shared memory, a module to import."""
    connection_fd, memory_fd = map(int, sys.argv[1:3])
    # Ctrl-C reaches the whole group of processes; what becomes of this one is the pool's decision.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    memory = mmap.mmap(memory_fd, 0)
    connection = Connection(connection_fd)
    inbox = _Inbox()
    threading.Thread(target=_listen, args=(connection, inbox.messages), daemon=True).start()
    if sys.argv[3]:
        import_module(sys.argv[3])
    connection.send_bytes(b"ready")
    _serve(inbox, connection, memory)


def _listen(connection: Connection, inbox: queue.SimpleQueue[bytes]) -> None:
    """Pass requests on; when the pool is gone there is nobody to work for, so end even in the middle of an item."""
    while True:
        try:
            inbox.put(connection.recv_bytes())
        except (EOFError, OSError):
            os._exit(0)


class _Inbox:
    """The requests that have come, pickled; the next one can be opened before it is its turn."""

    def __init__(self) -> None:
        self.messages: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self._next: Request | None = None

    def get(self) -> Request | bytes:
        """Wait for the next one."""
        opened, self._next = self._next, None
        return self.messages.get() if opened is None else opened

    def first_item(self, function: bytes) -> Iterator[Any]:
        """Yield the first item of the next one, if that has come and is for the same function."""
        if self._next is None and not self.messages.empty():
            self._next = pickle.loads(self.messages.get())
        if self._next is not None and self._next.function == function:
            yield from self._next.items[:1]


def _serve(inbox: _Inbox, answers: Connection, memory: mmap.mmap) -> None:
    known: bytes = b""
    function: Any = None  # the first request brings one
    for begun in count(1):
        message = inbox.get()
        BEGUN.pack_into(memory, 0, begun)
        started = time.perf_counter()
        try:
            request: Request = pickle.loads(message) if isinstance(message, bytes) else message
            if request.function != known:
                known, function = request.function, pickle.loads(request.function)
            # The next chunk's first item is announced too: with images in JPEG 2000 a chunk is one item.
            ahead = announcing(function, chain(request.items, inbox.first_item(known)))
            results = [run_item(function, item) for _, item in zip(request.items, ahead, strict=False)]
            payload, spans = _pack(results, memory, request.slot)
        except Exception as error:  # noqa: BLE001  - a function or result that does not travel: the pool raises it
            payload, spans = pickle.dumps(_failure(error)), []
        answer = ChunkResults(time.perf_counter() - started, payload, spans)
        try:
            answers.send_bytes(pickle.dumps(answer, protocol=5))
        except OSError:
            os._exit(0)  # the pool is gone


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


def _pack(results: list[Any], memory: mmap.mmap, slot: int) -> tuple[bytes, list[tuple[int, int]]]:
    """Pickle results; large buffers in them go to a slot of the memory, as long as there is room."""
    spans: list[tuple[int, int]] = []
    place = HEAD_BYTES + slot * SLOT_BYTES
    end = place + SLOT_BYTES

    def stays_inside(buffer: pickle.PickleBuffer) -> bool:
        nonlocal place
        with buffer.raw() as raw:
            if raw.nbytes < _LEAST_OUTSIDE or place + raw.nbytes > end:
                return True
            memory[place : place + raw.nbytes] = raw
            spans.append((place, place + raw.nbytes))
            place += raw.nbytes
        return False

    return pickle.dumps(results, protocol=5, buffer_callback=stays_inside), spans


if __name__ == "__main__":
    main()
