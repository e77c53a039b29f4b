"""Locks that tell the temporary files of runs at work from those of dead ones."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from dicom_etl.errors import OutputError
from dicom_etl.workers.interrupts import cleaned_up, finished

try:
    import fcntl
except ImportError:  # Windows: nobody can find out there that a run has died, so what it left stays
    fcntl = None  # type: ignore[assignment]


def lock(handle: int) -> bool | None:
    """Lock an open file or folder until it is closed; return whether nobody else has it, None where nobody can tell."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except (OSError, AttributeError):  # the file system has no locks, or the system no `fcntl`
        return None
    return True


@contextmanager
def temporary_beside(target: Path, make: Callable[[Path], int]) -> Iterator[Path]:
    """Yield a hidden temporary file or folder beside a target, which is gone after the block unless it was renamed.

    ``make`` makes and opens it. Those that dead runs to this target left are removed first.
    """
    _remove_stale(target)
    path, handle = _make_temporary(target, make)

    def clean_up() -> None:
        if _is_at(target, handle):
            finished(target)
        _remove(path)

    try:
        with cleaned_up(clean_up):
            yield path
    finally:
        os.close(handle)


def _make_temporary(target: Path, make: Callable[[Path], int]) -> tuple[Path, int]:
    """Return a temporary file or folder, open and locked."""
    while True:
        path = target.with_name(f".{target.name}.tmp-{secrets.token_hex(6)}")
        try:
            handle = make(path)
        except OSError as error:
            if isinstance(error, FileNotFoundError) and target.parent.is_dir():
                continue  # another run removed it before it was opened
            raise OutputError(f"cannot write into {str(target.parent)!r}: {error.strerror}") from None
        lock(handle)
        if _is_at(path, handle):
            return path, handle
        os.close(handle)  # another run removed it between creation and lock


def _is_at(path: Path, handle: int) -> bool:
    """Whether an open file or folder is the one that has a path."""
    try:
        return os.path.samestat(path.stat(), os.fstat(handle))
    except OSError:
        return False


def _remove_stale(target: Path) -> None:
    """Remove temporary files and folders of runs that died: those whose lock nobody holds."""
    with suppress(OSError):  # a folder that cannot be listed can still be written into
        for path in target.parent.iterdir():
            if path.name.startswith(f".{target.name}.tmp-"):
                _remove_unlocked(path)


def _remove_unlocked(path: Path) -> None:
    with suppress(OSError):  # the folder may not let us
        # Some network shares lock only what can be written.
        access = os.O_RDONLY if path.is_dir() else os.O_RDWR
        handle = os.open(path, access | getattr(os, "O_NOFOLLOW", 0))
        try:
            if lock(handle):  # else its run is alive, or nobody can tell
                _remove(path)
        finally:
            os.close(handle)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
