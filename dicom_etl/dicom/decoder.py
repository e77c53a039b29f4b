"""The general lane in a child process of its own, whose death or delay costs one file.

A child serves many files, since starting one takes as long as reading hundreds. Where it dies over a file, an
earlier one may have damaged it, so the file gets a second try in a fresh child. It can begin with a file before the
caller waits for it (`begin_frame`): with one job, RLE images then come 1.5 times as fast by the clock.
"""

from __future__ import annotations

import atexit
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from functools import lru_cache
from io import FileIO
from math import inf
from typing import Any, cast

from numpy.typing import NDArray

from dicom_etl.dicom import ipc
from dicom_etl.dicom.files import Limits
from dicom_etl.dicom.pixels import view_frame
from dicom_etl.errors import ImageError
from dicom_etl.records import ImageHeader

try:
    import fcntl
except ImportError:  # Windows, whose pipes are as large as they are
    fcntl = None  # type: ignore[assignment]

_START_SECONDS = 60.0
_TICK_SECONDS = 0.05
_PIPE_BYTES = 1 << 20
"""What a pipe is to hold, so that a whole slice fits: 64 KB as a rule, which costs a slice 0.1 ms of processor time."""
_FRAME = "dicom.decoder_child:one_frame"
_PROGRAM = "from dicom_etl.dicom.decoder_child import main; main()"


def read_headers(data: bytes, limits: Limits) -> tuple[ImageHeader, ...]:
    """Return the header of each frame of a file, given as its bytes."""
    answer, _ = examine("dicom.decoder_child:headers", data, limits)
    with only_usable_answers():
        return tuple(ipc.header_from_json(fields) for fields in answer["headers"])


def read_frame(data: bytes, digest: str, frame: int, limits: Limits) -> tuple[ImageHeader, NDArray[Any]]:
    """Return header and stored values (rows, columns) of one frame of a file, which is sent once for all frames."""
    answer, payload = examine(_FRAME, data, limits, frame=frame, digest=digest)
    with only_usable_answers():
        header = ipc.header_from_json(answer["header"])
        if answer["offset"] is not None:
            return header, view_frame(data, answer["offset"], header, header.frame)
        return header, view_frame(payload, 0, header, 0)


def begin_frame(data: bytes, digest: str, frame: int, limits: Limits) -> None:
    """Let a child begin with a frame that `read_frame` will be asked for soon, by this thread."""
    request = _request(_FRAME, limits, {"frame": frame, "digest": digest})
    _pool.begin(request, data, limits.max_item_seconds)


def _request(function: str, limits: Limits, options: dict[str, Any]) -> dict[str, Any]:
    return {"function": function, "limits": _as_dict(limits), "options": options}


@lru_cache(maxsize=8)
def _as_dict(limits: Limits) -> dict[str, Any]:
    return asdict(limits)


@contextmanager
def only_usable_answers() -> Iterator[None]:
    """Refuse an answer that is not what the child sends while it is sound."""
    try:
        yield
    except (AttributeError, LookupError, TypeError, ValueError):
        raise ImageError("the decoding process gave an answer that cannot be used") from None


class _GoneError(Exception):
    """The child died or was ended while it had a file."""


class _Child:
    def __init__(self) -> None:
        # The child finds what this process finds, however it was started; -P keeps its folder out of that.
        environment = os.environ | {
            "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
            "OPENBLAS_NUM_THREADS": "1",
        }
        self.served = -1  # its first answer says that it is ready
        self.holds = ""
        self.late = False
        self.request: dict[str, Any] | None = None  # that it has begun with
        self._deadline = inf
        self._closed = threading.Event()
        try:
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-c", _PROGRAM],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=environment,
                bufsize=0,
            )
        except OSError as error:
            raise ImageError(f"the decoding process could not be started: {error.strerror}") from None
        self._requests = cast(FileIO, self.process.stdin)
        self._answers = cast(FileIO, self.process.stdout)
        if hasattr(fcntl, "F_SETPIPE_SZ"):
            with suppress(OSError):  # a user may have too many already
                for pipe in (self._requests, self._answers):
                    fcntl.fcntl(pipe.fileno(), fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        threading.Thread(target=self._watch, daemon=True).start()
        try:
            self.receive(0, _START_SECONDS)
        except _GoneError:
            raise ImageError("the decoding process could not be started") from None

    def send(self, request: dict[str, Any], data: bytes, seconds: float) -> None:
        """Send one file; the child begins. Raises `_GoneError` if it has died, or was ended because it was `late`."""
        with self._clock(seconds):
            ipc.send(self._requests, request, data)
        self.request = request

    def receive(self, most: int, seconds: float) -> tuple[dict[str, Any], bytearray]:
        """Wait so long for its answer, of at most ``most`` bytes; raises as `send`."""
        with self._clock(seconds):
            answer = ipc.receive(self._answers, most)
        self.served, self.request = self.served + 1, None
        return answer

    def close(self) -> None:
        """End the process and wait for its end."""
        self.process.kill()
        self.process.wait()
        self.forget()

    def forget(self) -> None:
        """Close the pipes; the process ends when nobody else holds them."""
        self._closed.set()
        self._requests.close()
        self._answers.close()

    @contextmanager
    def _clock(self, seconds: float) -> Iterator[None]:
        self._deadline = time.monotonic() + seconds
        try:
            yield
        except (EOFError, OSError):
            self.close()
            raise _GoneError from None
        except BaseException:
            self.close()  # an interrupt: the answer to come would be taken for the next one
            raise
        finally:
            self._deadline = inf

    def _watch(self) -> None:
        """End a process that is late; one thread a child, since one a file takes 0.15 ms."""
        while not self._closed.wait(_TICK_SECONDS):
            if time.monotonic() > self._deadline:
                self.late = True
                self.process.kill()
                return


class _Pool:
    """The children that nobody waits for: idle ones, and by thread those that have begun with what it will ask for."""

    def __init__(self) -> None:
        self._idle: list[_Child] = []
        self._begun: dict[int, _Child] = {}

    def take(self, request: dict[str, Any]) -> _Child:
        """Return the child that has begun with this request of this thread, else an idle one, else a new one."""
        thread = threading.get_ident()
        if thread in self._begun and self._begun[thread].request == request:
            return self._begun.pop(thread)
        with suppress(IndexError):
            return self._idle.pop()
        return _Child()

    def begin(self, request: dict[str, Any], data: bytes, seconds: float) -> None:
        """Let a child begin with what this thread will ask for; that there is none will be found out then."""
        thread = threading.get_ident()
        if thread in self._begun:
            self._begun.pop(thread).close()
        with suppress(ImageError, _GoneError):
            child = self.take(request)
            child.send(request, data, seconds)
            self._begun[thread] = child

    def put(self, child: _Child) -> None:
        """Take back a child that has answered."""
        self._idle.append(child)

    def close(self) -> None:
        """End all children."""
        while self._idle:
            self._idle.pop().close()
        while self._begun:
            self._begun.popitem()[1].close()

    def forget(self) -> None:
        """Leave the children to the process that this one was forked from: answers would get mixed up."""
        for child in (*self._idle, *self._begun.values()):
            child.process.returncode = 0  # not ours to wait for
            child.forget()
        self._idle, self._begun = [], {}


_pool = _Pool()
atexit.register(_pool.close)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pool.forget)


def examine(function: str, data: bytes, limits: Limits, **options: Any) -> tuple[dict[str, Any], bytearray]:
    """Let the child call ``function`` of this package (``module:name``) with the bytes of a file.

    It takes (data, limits, options) and returns an answer for JSON and a payload; it raises `ImageError`.
    """
    request, digest = _request(function, limits, options), options.get("digest", "")
    child = _pool.take(request)
    end = time.monotonic() + limits.max_item_seconds  # of all tries together
    while True:
        fresh = child.served == 0
        try:
            if child.request != request:
                held = bool(digest) and child.holds == digest
                child.send(request, b"" if held else data, end - time.monotonic())
            answer, payload = child.receive(limits.max_image_bytes, end - time.monotonic())
        except _GoneError:
            code = child.process.returncode
            ended = f"by {signal.Signals(-code).name}" if code < 0 else f"with code {code}"
            trouble = f"the decoding process was ended {ended}; the file is damaged or its codec is faulty"
        else:
            if "memory" not in answer:
                break
            child.close()
            most = limits.max_item_memory
            trouble = f"it takes more than {most} bytes of memory to read; `max_item_memory` allows more"
        if child.late:
            most_seconds = f"{limits.max_item_seconds:g} seconds"
            raise ImageError(f"it takes more than {most_seconds} to read; `max_item_seconds` allows more")
        if fresh:
            raise ImageError(trouble)
        child = _Child()
    child.holds = answer.get("holds", "")
    _pool.put(child)
    if "error" in answer:
        raise ImageError(str(answer["error"]))
    return answer, payload
