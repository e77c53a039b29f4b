"""A folder of files that appears whole or not at all.

The files are made in a hidden temporary folder beside the target. A new target takes it over by one rename; into an
existing one the files move one by one, each whole. A run that dies leaves at most the temporary folder, and the
next run to the same target removes it.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

from dicom_etl.dataset.atomic import sync_folder_of
from dicom_etl.dataset.locks import lock, temporary_beside
from dicom_etl.errors import OutputError
from dicom_etl.workers.interrupts import finished, stop_if_asked

_TAKEN = "another run is writing into it, or has done so meanwhile"
_OPEN_FOLDER = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0)


@contextmanager
def whole_folder(target: Path, *, overwrite: bool) -> Iterator[Path]:
    """Yield a temporary folder; when the block ends well, its files are those of ``target``.

    Parameters
    ----------
    target : Path
        Made when it is missing; its own folder must exist.
    overwrite : bool
        Whether a folder that is not empty may be written into. Files of the same name are then replaced, others stay.

    Raises
    ------
    OutputError
        When the folder cannot be made or written into, or holds something already.
    """
    target = target.resolve()
    _check(target, overwrite=overwrite)
    with temporary_beside(target, _make_folder, partial(shutil.rmtree, ignore_errors=True)) as temporary:
        yield temporary
        stop_if_asked()
        _publish(temporary, target, overwrite=overwrite)


def _make_folder(path: Path) -> int:
    path.mkdir(mode=0o700)
    return os.open(path, _OPEN_FOLDER)


def _check(target: Path, *, overwrite: bool) -> None:
    if not target.parent.is_dir():
        raise OutputError(f"there is no folder {str(target.parent)!r} to write into")
    if target.exists() and not target.is_dir():
        raise OutputError(f"{str(target)!r} is a file; name a folder")
    if target.exists() and not overwrite and any(target.iterdir()):
        raise OutputError(f"{str(target)!r} is not empty; `overwrite` replaces files of the same name in it")
    place = target if target.exists() else target.parent
    if not os.access(place, os.W_OK | os.X_OK):
        raise OutputError(f"cannot write into {str(place)!r}: Permission denied")


def _publish(temporary: Path, target: Path, *, overwrite: bool) -> None:
    umask = os.umask(0)
    os.umask(umask)
    try:
        for path in temporary.iterdir():
            path.chmod(0o666 & ~umask)
            with path.open("rb") as stream:
                os.fsync(stream.fileno())
        temporary.chmod(0o777 & ~umask)
        if target.exists():
            _move_into(temporary, target, overwrite=overwrite)
        else:
            temporary.rename(target)
    except OSError as error:
        said = _TAKEN if error.errno == errno.ENOTEMPTY else error.strerror
        raise OutputError(f"cannot write {str(target)!r}: {said}") from None
    sync_folder_of(target)


def _move_into(temporary: Path, target: Path, *, overwrite: bool) -> None:
    """Move files into a folder that holds others, so that it never holds those of two runs mixed."""
    handle = os.open(target, _OPEN_FOLDER)
    try:
        alone = True
        with suppress(OSError):
            alone = lock(handle)
        if not alone or (not overwrite and any(target.iterdir())):
            raise OutputError(f"cannot write {str(target)!r}: {_TAKEN}")
        finished(target)
        for path in temporary.iterdir():
            path.replace(target / path.name)
    finally:
        os.close(handle)
