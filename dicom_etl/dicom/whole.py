"""A file read whole; one of several frames is kept, since its frames are asked for one after the other."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from dicom_etl.dicom.files import check_size, open_regular, read_exactly
from dicom_etl.dicom.limits import Limits

_Identity = tuple[str, int, int, int, int, int]


@dataclass(frozen=True)
class WholeFile:
    """The bytes of a file, and what tells that the file is still the same."""

    data: bytes
    identity: _Identity

    @cached_property
    def digest(self) -> str:
        """The SHA-256 of the bytes, in hexadecimal."""
        return hashlib.sha256(self.data).hexdigest()


class _Last:
    """The one file that is kept, so that memory stays bounded."""

    file: WholeFile | None = None


def read_whole(path: Path, limits: Limits) -> WholeFile:
    """Read a regular file that is not too large, unless it is the one that was kept and nobody has touched it.

    Raises
    ------
    ImageError
        If it cannot be read, or is larger than the limits allow.
    """
    descriptor, size = open_regular(path)
    try:
        check_size(size, limits)
        identity = _identity(path, os.fstat(descriptor))
        last = _Last.file
        if last is not None and last.identity == identity:
            return last
        _Last.file = last = None  # before the next one takes its memory
        data = read_exactly(descriptor, size)
    finally:
        os.close(descriptor)
    return WholeFile(data, identity)


def keep(file: WholeFile) -> None:
    """Keep a file until another one is read."""
    _Last.file = file


def _identity(path: Path, status: os.stat_result) -> _Identity:
    return str(path), status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
