"""A file read whole; one of several frames is kept, since its frames are asked for one after the other."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from dicom_etl.dicom.files import check_size, open_listed, read_exactly
from dicom_etl.dicom.limits import Limits
from dicom_etl.errors import CHANGED, ImageError


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


class _Last:
    """The one file that is kept, so that memory stays bounded."""

    file: WholeFile | None = None


def read_whole(path: Path | str, limits: Limits) -> WholeFile:
    """Read a file that is not too large, opened by `open_listed`, unless it was kept and is as it was."""
    name = os.fspath(path)
    descriptor, status = open_listed(name)
    try:
        check_size(status.st_size, limits)
        last = _Last.file
        if last is not None and (last.path, last.identity) == (name, _identity(status)):
            return last
        _Last.file = last = None  # before the next one takes its memory
        data = read_exactly(descriptor, status.st_size)
        if _identity(os.fstat(descriptor)) != _identity(status):
            raise ImageError("somebody wrote to the file while it was read", code=CHANGED)
    finally:
        os.close(descriptor)
    return WholeFile(data, name, _identity(status))


def keep(file: WholeFile) -> None:
    """Keep a file until another one is read."""
    _Last.file = file


def _identity(status: os.stat_result) -> tuple[int, ...]:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
