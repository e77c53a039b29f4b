"""A folder of files that appears whole or not at all.

The files are made in a hidden temporary folder beside the target. A new target takes it over by one rename; into an
existing one the files move one by one, each whole. A run that dies leaves at most the temporary folder, and the
next run to the same target removes it.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from dicom_etl.dataset.atomic import sync_folder_of
from dicom_etl.errors import OutputError


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
    _remove_stale(target)
    try:
        temporary = Path(tempfile.mkdtemp(prefix=f".{target.name}.tmp-", dir=target.parent))
        lock = os.open(temporary, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise OutputError(f"cannot write into {str(target.parent)!r}: {error.strerror}") from None
    try:
        with suppress(OSError):  # where there are no locks, nobody can find out that the run has died either
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield temporary
        _publish(temporary, target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        os.close(lock)


def _check(target: Path, *, overwrite: bool) -> None:
    if not target.parent.is_dir():
        raise OutputError(f"there is no folder {str(target.parent)!r} to write into")
    if target.exists() and not target.is_dir():
        raise OutputError(f"{str(target)!r} is a file; name a folder")
    if target.exists() and not overwrite and any(target.iterdir()):
        raise OutputError(f"{str(target)!r} is not empty; --overwrite replaces files of the same name in it")
    place = target if target.exists() else target.parent
    if not os.access(place, os.W_OK | os.X_OK):
        raise OutputError(f"cannot write into {str(place)!r}: Permission denied")


def _remove_stale(target: Path) -> None:
    """Remove temporary folders of runs that died: those whose lock nobody holds."""
    for path in target.parent.iterdir():
        if not path.name.startswith(f".{target.name}.tmp-"):
            continue
        try:
            handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        except OSError:
            continue
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(path, ignore_errors=True)
        except OSError:
            continue  # its run is alive
        finally:
            os.close(handle)


def _publish(temporary: Path, target: Path) -> None:
    umask = os.umask(0)
    os.umask(umask)
    try:
        for path in temporary.iterdir():
            path.chmod(0o666 & ~umask)
            with path.open("rb") as stream:
                os.fsync(stream.fileno())
        temporary.chmod(0o777 & ~umask)
        if target.exists():
            for path in temporary.iterdir():
                path.replace(target / path.name)
        else:
            temporary.rename(target)
    except OSError as error:
        raise OutputError(f"cannot write {str(target)!r}: {error.strerror}") from None
    sync_folder_of(target)
