"""Opening and reading files that somebody else made: regular files only, and bounded."""

from __future__ import annotations

import hashlib
import os
import stat
from dataclasses import dataclass, fields
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from dicom_etl.errors import CHANGED, ImageError

if TYPE_CHECKING:
    from dicom_etl.config import LabelOptions

PREFIX_END = 132
"""A DICOM file starts with 128 bytes of anything, then ``DICM`` (DICOM PS3.10, 7.1)."""

MIB = 1024 * 1024
_KINDS = {"d": "a folder", "p": "a FIFO", "s": "a socket", "c": "a device", "b": "a device"}
"""By the first sign of `stat.filemode`."""
# O_NONBLOCK: should the file have turned into a FIFO since somebody looked, open must not wait for a writer.
_FLAGS = os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on what reading one DICOM file may cost; each error names the option that moves its bound."""

    max_image_bytes: int = 256 * MIB
    max_file_bytes: int = 384 * MIB
    max_header_bytes: int = 16 * MIB
    max_item_memory: int = 400 * MIB
    max_item_seconds: float = 4.0


DEFAULT = Limits()


@lru_cache(maxsize=8)
def limits_of(options: LabelOptions) -> Limits:
    """Return the limits on one DICOM file that the options set."""
    return Limits(**{limit.name: getattr(options, limit.name) for limit in fields(Limits)})


def read_start(path: Path | str, count: int) -> bytes:
    """Return the first bytes of a file; a FIFO, a device, a socket or a folder is never opened."""
    try:
        _refuse_special(os.stat(path).st_mode)  # noqa: PTH116  (a Path costs as much again as the call)
    except (OSError, ValueError) as error:
        raise ImageError(f"cannot be opened: {_reason(error)}") from None
    descriptor, _ = open_listed(path)
    try:
        return _read(descriptor, count)
    finally:
        os.close(descriptor)


def open_listed(path: Path | str) -> tuple[int, os.stat_result]:
    """Open a file that was a regular one when its folder was listed, which saves a look at it (2.7 of 7 us).

    Returns a descriptor, which the caller closes, and the status of the open file.
    """
    try:
        descriptor = os.open(path, _FLAGS)
    except (OSError, ValueError) as error:
        raise ImageError(f"cannot be opened: {_reason(error)}") from None
    try:
        status = os.fstat(descriptor)
        _refuse_special(status.st_mode)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor, status


def _read(descriptor: int, count: int) -> bytes:
    """Read ``count`` bytes from where the descriptor stands, fewer only at the end of the file."""
    try:
        data = os.read(descriptor, count)
        while len(data) < count and (more := os.read(descriptor, count - len(data))):
            data += more
    except OSError as error:
        raise ImageError(f"cannot be read: {_reason(error)}") from None
    return data


def read_exactly(descriptor: int, count: int) -> bytes:
    """Read ``count`` bytes that the file had when it was opened."""
    data = _read(descriptor, count)
    if len(data) < count:
        raise ImageError("the file became shorter while it was read")
    return data


def check_size(size: int, limits: Limits) -> None:
    """Refuse a file that is too large to be read whole."""
    if size > limits.max_file_bytes:
        raise ImageError(
            f"the file is {size} bytes long, more than {limits.max_file_bytes}; `max_file_bytes` allows more"
        )


def _refuse_special(mode: int) -> None:
    if not stat.S_ISREG(mode):
        kind = _KINDS.get(stat.filemode(mode)[0], "no regular file")
        raise ImageError(f"this is {kind}, not a file; it was not opened")


def _reason(error: OSError | ValueError) -> str:
    # The text of an OSError repeats the path; strerror alone does not.
    return (error.strerror or "unknown reason") if isinstance(error, OSError) else "the name is not usable"


@dataclass(frozen=True)
class WholeFile:
    """The bytes of a file, and its path and `_identity`, which tell that the file is still the same."""

    data: bytes
    path: str
    identity: tuple[int, ...]

    @cached_property
    def digest(self) -> str:
        """The SHA-256 of the bytes, in hexadecimal; made when it is first asked for."""
        return hashlib.sha256(self.data).hexdigest()


_kept: list[WholeFile] = []
"""The one file that is kept, so that memory stays bounded."""


def read_whole(path: Path | str, limits: Limits) -> WholeFile:
    """Read a file that is not too large, opened by `open_listed`, unless it was kept and is as it was."""
    name = os.fspath(path)
    descriptor, status = open_listed(name)
    try:
        check_size(status.st_size, limits)
        identity, last = _identity(status), next(iter(_kept), None)
        if last is not None and (last.path, last.identity) == (name, identity):
            return last
        last = None
        _kept.clear()  # before the next one takes its memory
        data = read_exactly(descriptor, status.st_size)
        if _identity(os.fstat(descriptor)) != identity:
            raise ImageError("somebody wrote to the file while it was read", code=CHANGED)
    finally:
        os.close(descriptor)
    return WholeFile(data, name, identity)


def keep(file: WholeFile) -> None:
    """Keep a file until another one is read."""
    _kept[:] = [file]


def _identity(status: os.stat_result) -> tuple[int, ...]:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
