"""A file that appears whole or not at all.

The bytes go to a hidden temporary file in the target's folder; when all of them are on disk, it takes the
target's name. A run that dies leaves at most that temporary file, and the next run to the same target removes it.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from dicom_etl.dataset.locks import temporary_beside
from dicom_etl.errors import OutputError
from dicom_etl.workers.interrupts import stop_if_asked

_NOT_SUPPORTED = frozenset({errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM})
"""What file systems say of calls that they do not have."""


@contextmanager
def whole_file(target: Path, *, overwrite: bool) -> Iterator[Path]:
    """Yield a temporary path; when the block ends well, what was written there becomes ``target``.

    Parameters
    ----------
    target : Path
        A link is followed: the file it points to is replaced, the link stays.
    overwrite : bool
        Whether an existing file may be replaced.

    Raises
    ------
    OutputError
        When the target cannot be made, exists, or is a folder. The old file, if any, is then untouched.
    """
    target = target.resolve()
    check_target(target, overwrite=overwrite)
    with temporary_beside(target, _open_new, partial(Path.unlink, missing_ok=True)) as temporary:
        yield temporary
        stop_if_asked()
        _publish(temporary, target, overwrite=overwrite)


def check_target(target: Path, *, overwrite: bool) -> None:
    """Refuse a target that cannot or must not be written, before any work is done."""
    if target.is_dir():
        raise OutputError(f"{str(target)!r} is a folder; name a file")
    if target.exists() and not target.is_file():
        raise OutputError(f"{str(target)!r} is not a regular file; name another")
    if target.exists() and not overwrite:
        raise OutputError(f"{str(target)!r} exists; `overwrite` replaces it")
    if not target.parent.is_dir():
        raise OutputError(f"there is no folder {str(target.parent)!r} to write into")
    if not os.access(target.parent, os.W_OK | os.X_OK):
        raise OutputError(f"cannot write into {str(target.parent)!r}: Permission denied")


def check_space(target: Path, needed: int) -> None:
    """Refuse to begin a file of at least so many bytes where the disk cannot hold it."""
    free = shutil.disk_usage(target.resolve().parent).free
    if free < needed:
        raise OutputError(
            f"{str(target.parent)!r} has {free / 1e6:.0f} MB free, but the dataset needs {needed / 1e6:.0f} MB; "
            "`compression` gzip makes it smaller"
        )


def _open_new(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0), 0o600)


def _publish(temporary: Path, target: Path, *, overwrite: bool) -> None:
    umask = os.umask(0)
    os.umask(umask)
    try:
        with temporary.open("rb") as stream:
            os.fchmod(stream.fileno(), 0o666 & ~umask)
            os.fsync(stream.fileno())
        if overwrite:
            temporary.replace(target)
        else:
            _take_free_name(temporary, target)
    except FileExistsError:
        raise OutputError(
            f"{str(target)!r} was made by another run meanwhile; `overwrite` replaces it"
        ) from None
    except OSError as error:
        raise OutputError(f"cannot write {str(target)!r}: {error.strerror}") from None
    sync_folder_of(target)


def _take_free_name(temporary: Path, target: Path) -> None:
    try:
        os.link(temporary, target)  # unlike a rename, it fails when another run was faster
    except OSError as error:
        if error.errno not in _NOT_SUPPORTED:
            raise
        # FAT, exFAT and some network shares have no second names; what is left is to look before the rename.
        if target.exists():
            raise FileExistsError from None
        temporary.replace(target)


def sync_folder_of(target: Path) -> None:
    """Let a new name outlive a loss of power, once the bytes are on disk.

    Raises
    ------
    OutputError
        When the disk does not confirm it.
    """
    try:
        folder = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        if error.errno not in _NOT_SUPPORTED:
            raise OutputError(
                f"{str(target)!r} is whole, but a loss of power may still undo it: {error.strerror}"
            ) from None
