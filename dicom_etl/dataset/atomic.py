"""A file, or a folder of files, that appears whole or not at all.

It is made under a hidden temporary name beside the target; when all of it is on disk, it takes the target's name. Into
a folder that exists the files move one by one, each whole. A run that dies leaves at most what is temporary, and the
next run to the same target removes it.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from dicom_etl.dataset.locks import locked, temporary_beside
from dicom_etl.errors import OutputError
from dicom_etl.workers.interrupts import finished, stop_if_asked

_NOT_SUPPORTED = frozenset({errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM})
"""What file systems say of calls that they do not have."""

_TAKEN = "another run is writing into it, or has done so meanwhile"
_NEW = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0)
_OPEN_FOLDER = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0)


@contextmanager
def whole_file(target: Path, *, overwrite: bool) -> Iterator[Path]:
    """Yield a temporary path; when the block ends well, what was written there becomes ``target``.

    A link is followed: the file it points to is replaced, the link stays. Where that cannot be, or ``overwrite`` does
    not allow it, it is an `OutputError`, and the old file is untouched.
    """
    target = target.resolve()
    check_target(target, overwrite=overwrite)
    with temporary_beside(target, partial(os.open, flags=_NEW, mode=0o600)) as temporary:
        yield temporary
        with _publishing(target) as umask:
            with temporary.open("rb") as stream:
                os.fchmod(stream.fileno(), 0o666 & ~umask)
                os.fsync(stream.fileno())
            if overwrite:
                temporary.replace(target)
            else:
                _take_free_name(temporary, target)


@contextmanager
def whole_folder(target: Path, *, overwrite: bool) -> Iterator[Path]:
    """Yield a temporary folder; when the block ends well, its files are those of ``target``, which is made if missing.

    With ``overwrite`` a folder may hold something already: files of the same name are replaced, others stay.
    """
    target = target.resolve()
    if target.exists() and not target.is_dir():
        raise OutputError(f"{str(target)!r} is a file; name a folder")
    if target.exists() and not overwrite and any(target.iterdir()):
        raise OutputError(f"{str(target)!r} is not empty; `overwrite` replaces files of the same name in it")
    _check_writable(target if target.exists() else target.parent)
    with temporary_beside(target, _make_folder) as temporary:
        yield temporary
        with _publishing(target) as umask:
            for path in temporary.iterdir():
                path.chmod(0o666 & ~umask)
                with path.open("rb") as stream:
                    os.fsync(stream.fileno())
            temporary.chmod(0o777 & ~umask)
            if target.exists():
                _move_into(temporary, target, overwrite=overwrite)
            else:
                temporary.rename(target)


def check_target(target: Path, *, overwrite: bool) -> None:
    """Refuse a target that cannot or must not be written, before any work is done."""
    if target.is_dir():
        raise OutputError(f"{str(target)!r} is a folder; name a file")
    if target.exists() and not target.is_file():
        raise OutputError(f"{str(target)!r} is not a regular file; name another")
    if target.exists() and not overwrite:
        raise OutputError(f"{str(target)!r} exists; `overwrite` replaces it")
    _check_writable(target.parent)


def _check_writable(folder: Path) -> None:
    if not folder.is_dir():
        raise OutputError(f"there is no folder {str(folder)!r} to write into")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise OutputError(f"cannot write into {str(folder)!r}: Permission denied")


def check_space(target: Path, needed: int) -> None:
    """Refuse to begin a file of at least so many bytes where the disk cannot hold it."""
    free = shutil.disk_usage(target.resolve().parent).free
    if free < needed:
        raise OutputError(
            f"{str(target.parent)!r} has {free / 1e6:.0f} MB free, but the dataset needs {needed / 1e6:.0f} MB; "
            "`compression` gzip makes it smaller"
        )


def _make_folder(path: Path) -> int:
    path.mkdir(mode=0o700)
    return os.open(path, _OPEN_FOLDER)


@contextmanager
def _publishing(target: Path) -> Iterator[int]:
    """Yield the umask to a block that gives a target its name; say why that fails, and make the name last."""
    stop_if_asked()
    umask = os.umask(0)
    os.umask(umask)
    try:
        yield umask
    except FileExistsError:
        raise OutputError(
            f"{str(target)!r} was made by another run meanwhile; `overwrite` replaces it"
        ) from None
    except OSError as error:
        said = _TAKEN if error.errno == errno.ENOTEMPTY else error.strerror
        raise OutputError(f"cannot write {str(target)!r}: {said}") from None
    _sync_folder_of(target)


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


def _move_into(temporary: Path, target: Path, *, overwrite: bool) -> None:
    """Move files into a folder that holds others, so that it never holds those of two runs mixed."""
    with locked(target, _OPEN_FOLDER) as free:
        if free is False or (not overwrite and any(target.iterdir())):
            raise OutputError(f"cannot write {str(target)!r}: {_TAKEN}")
        finished(target)
        for path in temporary.iterdir():
            path.replace(target / path.name)


def _sync_folder_of(target: Path) -> None:
    """Let a new name outlive a loss of power, once the bytes are on disk."""
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
