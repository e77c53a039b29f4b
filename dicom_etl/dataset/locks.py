"""Locks that tell what belongs to runs at work from what dead ones left: temporary files beside a target, and parts."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from dicom_etl.errors import OutputError, os_errors_as
from dicom_etl.workers.interrupts import cleaned_up, finished

try:
    import fcntl
except ImportError:  # Windows: nobody can find out there that a run has died, so what it left stays
    fcntl = None  # type: ignore[assignment]

_PART = re.compile(r"part-([0-9]{6})\.h5")
_UNFINISHED = "unfinished.h5"


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
def locked(path: Path, access: int) -> Iterator[bool | None]:
    """Open a file or folder for a block, and yield what `lock` says: only of a True is its run known to be dead."""
    handle = os.open(path, access | getattr(os, "O_NOFOLLOW", 0))
    try:
        yield lock(handle)
    finally:
        os.close(handle)


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
    try:
        return os.path.samestat(path.stat(), os.fstat(handle))
    except OSError:
        return False


def _remove_stale(target: Path) -> None:
    """Remove temporary files and folders of runs that died: those whose lock nobody holds."""
    with suppress(OSError):  # a folder that cannot be listed can still be written into
        for path in target.parent.iterdir():
            if path.name.startswith(f".{target.name}.tmp-"):
                # Some network shares lock only what can be written.
                access = os.O_RDONLY if path.is_dir() else os.O_RDWR
                with suppress(OSError), locked(path, access) as free:  # the folder may not let us
                    if free:
                        _remove(path)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


class CheckpointFolder:
    """A hidden folder for what a killed run leaves to the next one: of one target, and locked for one run at a time.

    It is open to nobody but its owner. Whoever makes the target removes it in the end.
    """

    def __init__(self, target: Path) -> None:
        self.path = _beside(target)
        self.unfinished = self.path / _UNFINISHED  # where a part is written before it is one
        with os_errors_as(OutputError, f"cannot keep parts in {str(self.path)!r}"):
            self.path.mkdir(mode=0o700, exist_ok=True)
            self._lock = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        status, why = os.fstat(self._lock), ""
        if status.st_uid != os.geteuid() or stat.S_IMODE(status.st_mode) & 0o077:
            what = "is open to others, so what it holds is not used; remove it, or leave out `resume`"
            why = f"{str(self.path)!r} {what}"
        elif lock(self._lock) is False:
            why = f"another run with `resume` is making {self.path.name[1:-5]!r}; wait for its end"
        if why:
            os.close(self._lock)  # and no more: what is unfinished may be another run's
            raise OutputError(why)
        self.unfinished.unlink(missing_ok=True)

    def parts(self) -> list[Path]:
        """Return the finished parts, oldest first."""
        return sorted(path for path in self.path.iterdir() if _PART.fullmatch(path.name))

    def add(self) -> None:
        """Make a part of `unfinished`, whose bytes are on disk."""
        last = max((int(path.name[5:11]) for path in self.parts()), default=0)
        self.unfinished.replace(self.path / f"part-{last + 1:06d}.h5")

    def remove(self) -> None:
        """Remove it with its parts."""
        _remove_parts(self.path)

    def close(self) -> None:
        """Let other runs have it; a part that was not finished goes."""
        with suppress(OSError):
            self.unfinished.unlink(missing_ok=True)
        os.close(self._lock)


def remove_checkpoint(target: Path) -> None:
    """Remove what dead runs left beside a target; what a living run uses stays."""
    path = _beside(target)
    with suppress(OSError), locked(path, os.O_RDONLY | os.O_DIRECTORY) as free:
        if free:
            _remove_parts(path)


def _remove_parts(folder: Path) -> None:
    with suppress(OSError):
        for path in list(folder.iterdir()):
            if path.name == _UNFINISHED or _PART.fullmatch(path.name):
                path.unlink()
        folder.rmdir()


def _beside(target: Path) -> Path:
    target = target.resolve()
    return target.with_name(f".{target.name}.kept")
