"""The decoding child: reads files with the general lane, one after the other, until its input ends.

It gets the bytes of a file, opens no file itself, and answers with headers, stored pixels or an error. Before
each file it takes limits upon itself: memory, and a clock that ends it even when nobody waits any more.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Callable
from importlib import import_module
from io import FileIO
from math import ceil
from pathlib import Path
from typing import Any

from dicom_etl.dicom import ipc, pydicom_reader
from dicom_etl.dicom.checks import check_frame
from dicom_etl.dicom.files import Limits
from dicom_etl.dicom.pixels import only_image_errors, warm_up
from dicom_etl.dicom.syntaxes import SYNTAXES
from dicom_etl.errors import ImageError

try:
    import resource
except ImportError:  # Windows has no such limits; there the parent's clock alone holds
    resource = None  # type: ignore[assignment]

Answer = tuple[dict[str, Any], bytes | memoryview]

_GRACE = 5
"""Seconds that the parent's clock is ahead of the child's own."""


def main() -> None:
    """Serve requests from standard input on standard output."""
    requests, answers = FileIO(os.dup(0), "r"), FileIO(os.dup(1), "w")
    # A codec that prints must not get between the answers.
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nothing, descriptor)
    # Ctrl-C reaches the whole group of processes; what becomes of this one is the parent's decision.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    logging.disable(logging.CRITICAL)
    sys.modules["requests"] = None  # type: ignore[assignment]  # pydicom takes 50 of 250 ms to load it, for its downloads
    warm_up()
    base = _address_space()
    if resource is not None:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    ipc.send(answers, {"ready": True})
    while True:
        try:
            request, data = ipc.receive(requests, most=1 << 40)
        except EOFError:
            return
        ipc.send(answers, *_serve(request, data, base))


_last: dict[str, pydicom_reader.Document] = {}
"""By digest, the last file if it has several frames, since they are asked for one after the other."""


def _serve(request: dict[str, Any], data: bytearray, base: int) -> Answer:
    limits = Limits(**request["limits"])
    _limit(ceil(limits.max_item_seconds) + _GRACE, base and base + limits.max_item_memory)
    try:
        with only_image_errors("it cannot be read"):
            module, _, name = request["function"].partition(":")
            function: Callable[..., Answer] = getattr(import_module(f"dicom_etl.{module}"), name)
            return function(data, limits, **request["options"])
    except ImageError as error:
        return {"error": str(error)}, b""
    except MemoryError:
        return {"memory": True}, b""
    finally:
        _limit(0, 0)


def headers(data: bytearray, limits: Limits) -> Answer:
    """Answer with the header of each frame."""
    return {"headers": [header._asdict() for header in pydicom_reader.parse(data, limits).headers]}, b""


def one_frame(data: bytearray, limits: Limits, *, frame: int, digest: str) -> Answer:
    """Answer with the header of one frame, and with where its pixels are in the file, or with them."""
    document = _last.get(digest)
    if document is None:
        _last.clear()  # before the next one takes its memory
        document = pydicom_reader.parse(data, limits)
        if len(document.headers) > 1:
            _last[digest] = document
    check_frame(frame, len(document.headers))
    header, holds = document.headers[frame], next(iter(_last), "")
    answer = {"header": header._asdict(), "offset": None, "holds": holds}
    # Pixels that lie in what was sent, as they are, are not sent back.
    if document.is_native and not SYNTAXES[header.transfer_syntax].deflated:
        return answer | {"offset": document.offset}, b""
    return answer, document.stored_values(frame).tobytes()


def _limit(seconds: int, most: int) -> None:
    """End this process in so many seconds, and let it map so many bytes; 0 is no limit."""
    if resource is not None:
        signal.alarm(seconds)
        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        lower = most and (hard == resource.RLIM_INFINITY or most < hard)
        resource.setrlimit(resource.RLIMIT_AS, (most if lower else hard, hard))


def _address_space() -> int:
    """Return how many bytes this process has mapped, 0 where the system does not tell."""
    try:
        return int(Path("/proc/self/statm").read_bytes().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0
