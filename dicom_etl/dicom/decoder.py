"""The general lane in a child process of its own, whose death or delay costs one file.

A child serves many files, since starting one takes as long as reading hundreds. Where it dies over a file, an
earlier one may have damaged it, so the file gets a second try in a fresh child.
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
from contextlib import contextmanager
from dataclasses import asdict
from io import FileIO
from typing import Any, cast

from numpy.typing import NDArray

from dicom_etl.dicom import ipc
from dicom_etl.dicom.limits import Limits
from dicom_etl.dicom.pixels import view_frame
from dicom_etl.errors import ImageError
from dicom_etl.records import ImageHeader

_START_SECONDS = 60.0
_DISMISS_SECONDS = 5.0
_PROGRAM = "from dicom_etl.dicom.decoder_child import main; main()"


def read_headers(data: bytes, limits: Limits) -> tuple[ImageHeader, ...]:
    """Return the header of each frame of a file, given as its bytes.

    Raises
    ------
    ImageError
        If the file cannot be used, takes too long or too much memory, or ends the child.
    """
    answer, _ = _ask({"frame": None}, data, limits)
    with _only_usable_answers():
        return tuple(ipc.header_from_json(fields) for fields in answer["headers"])


def read_frame(data: bytes, digest: str, frame: int, limits: Limits) -> tuple[ImageHeader, NDArray[Any]]:
    """Return the header and the stored values, (rows, columns), of one frame of a file, given as its bytes.

    ``digest`` tells one file from the next, so that the frames of one are not searched for again.

    Raises
    ------
    ImageError
        As `read_headers`, or if there is no such frame.
    """
    answer, payload = _ask({"frame": frame, "digest": digest}, data, limits)
    with _only_usable_answers():
        header = ipc.header_from_json(answer["header"])
        if answer["offset"] is not None:
            return header, view_frame(data, answer["offset"], header, header.frame)
        return header, view_frame(payload, 0, header, 0)


def examine(function: str, data: bytes, limits: Limits, **options: Any) -> tuple[dict[str, Any], bytearray]:
    """Let the child call ``function`` of this package (``module:name``) with the bytes of a file.

    It takes (data, limits, options) and returns an answer for JSON and a payload; it raises `ImageError`.

    Raises
    ------
    ImageError
        As `read_headers`.
    """
    return _ask({"function": function, "options": options}, data, limits)


@contextmanager
def _only_usable_answers() -> Iterator[None]:
    """Refuse an answer that is not what the child sends while it is sound."""
    try:
        yield
    except (AttributeError, LookupError, TypeError, ValueError):
        raise ImageError("the decoding process gave an answer that cannot be used") from None


class _GoneError(Exception):
    """The child died or was ended while it had a file."""


class _Child:
    """One decoding process and the pipes to it."""

    def __init__(self) -> None:
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONSTARTUP"}
        # The child finds what this process finds, however it was started; -P keeps its folder out of that.
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
        environment["OPENBLAS_NUM_THREADS"] = "1"
        self.served = 0
        self.late = False
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
        try:
            with self._clock(_START_SECONDS):
                ipc.receive(self._answers, 0)
        except EOFError:
            self.close()
            raise ImageError("the decoding process could not be started") from None
        except BaseException:
            self.close()
            raise

    def ask(
        self, message: dict[str, Any], data: bytes, limits: Limits, seconds: float
    ) -> tuple[dict[str, Any], bytearray]:
        """Send one file and wait so long for the answer.

        Raises
        ------
        _GoneError
            If there is none: the child has died, or was ended because it was late (`late`).
        """
        try:
            with self._clock(seconds):
                ipc.send(self._requests, message, data)
                answer = ipc.receive(self._answers, limits.max_image_bytes)
        except (EOFError, OSError):
            self.close()
            raise _GoneError from None
        except BaseException:
            self.close()  # an interrupt: the answer to come would be taken for the next one
            raise
        self.served += 1
        return answer

    def dismiss(self) -> None:
        """Let an idle process end by itself, and see to it that it does."""
        self.forget()
        try:
            self.process.wait(_DISMISS_SECONDS)
        except subprocess.TimeoutExpired:
            self.close()

    def close(self) -> None:
        """End the process and wait for its end."""
        self.process.kill()
        self.process.wait()
        self.forget()

    def forget(self) -> None:
        """Close the pipes; the process ends when nobody else holds them."""
        self._requests.close()
        self._answers.close()

    def reason(self) -> str:
        """Say how the process ended, for a message."""
        code = self.process.returncode
        if code is not None and code < 0:
            return f"ended by {signal.Signals(-code).name}"
        return f"ended with code {code}"

    @contextmanager
    def _clock(self, seconds: float) -> Iterator[None]:
        timer = threading.Timer(seconds, self._expire)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def _expire(self) -> None:
        self.late = True
        self.process.kill()


class _Pool:
    """The idle children of this process; as many as threads have asked at the same time."""

    def __init__(self) -> None:
        self._idle: list[_Child] = []
        self._lock = threading.Lock()

    def take(self) -> _Child:
        """Return an idle child, or a new one."""
        with self._lock:
            if self._idle:
                return self._idle.pop()
        return _Child()

    def put(self, child: _Child) -> None:
        """Take back a child that has answered."""
        with self._lock:
            self._idle.append(child)

    def close(self) -> None:
        """End all idle children."""
        with self._lock:
            while self._idle:
                self._idle.pop().dismiss()

    def forget(self) -> None:
        """Leave the children to the process that this one was forked from: answers would get mixed up."""
        for child in self._idle:
            child.process.returncode = 0  # not ours to wait for
            child.forget()
        self._idle = []
        self._lock = threading.Lock()  # another thread may have held the one of the parent


_pool = _Pool()
atexit.register(_pool.close)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pool.forget)


def _ask(message: dict[str, Any], data: bytes, limits: Limits) -> tuple[dict[str, Any], bytearray]:
    request = message | {"limits": asdict(limits)}
    child = _pool.take()
    end = time.monotonic() + limits.max_item_seconds  # of all tries together
    while True:
        fresh = child.served == 0
        try:
            answer, payload = child.ask(request, data, limits, end - time.monotonic())
        except _GoneError:
            if child.late:
                raise ImageError(
                    f"it takes more than {limits.max_item_seconds:g} seconds to read; "
                    "`max_item_seconds` allows more"
                ) from None
            if fresh:
                raise ImageError(
                    f"the decoding process was {child.reason()}; the file is damaged or its codec is faulty"
                ) from None
            child = _Child()
            continue
        if "memory" not in answer:
            _pool.put(child)
            break
        child.close()
        if fresh:
            raise ImageError(
                f"it takes more than {limits.max_item_memory} bytes of memory to read; "
                "`max_item_memory` allows more"
            )
        child = _Child()
    if "error" in answer:
        raise ImageError(str(answer["error"]))
    return answer, payload
