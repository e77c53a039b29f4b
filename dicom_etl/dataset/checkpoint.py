"""A folder beside a dataset that is being made, for what a killed run leaves to the next one.

It is hidden, belongs to one target and to one run at a time, and is open to nobody but its owner. Whoever makes the
target removes it in the end.
"""

from __future__ import annotations

import os
import re
import stat
from contextlib import suppress
from pathlib import Path

from dicom_etl.dataset.locks import lock
from dicom_etl.errors import OutputError, os_errors_as

_PART = re.compile(r"part-([0-9]{6})\.h5")
_UNFINISHED = "unfinished.h5"


class CheckpointFolder:
    """The folder of one target, locked for this run."""

    def __init__(self, target: Path) -> None:
        self.path = _beside(target)
        self.unfinished = self.path / _UNFINISHED  # where a part is written before it is one
        with os_errors_as(OutputError, f"cannot keep parts in {str(self.path)!r}"):
            self.path.mkdir(mode=0o700, exist_ok=True)
            self._lock = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            self._take()
        except BaseException:
            os.close(self._lock)  # and no more: what is unfinished may be another run's
            raise

    def parts(self) -> list[Path]:
        """Return the finished parts, oldest first."""
        return sorted(path for path in self.path.iterdir() if _PART.fullmatch(path.name))

    def add(self) -> None:
        """Make a part of `unfinished`, whose bytes are on disk."""
        last = max((int(path.name[5:11]) for path in self.parts()), default=0)
        self.unfinished.replace(self.path / f"part-{last + 1:06d}.h5")

    def remove(self) -> None:
        """Remove it with its parts."""
        _remove(self.path)

    def close(self) -> None:
        """Let other runs have it; a part that was not finished goes."""
        with suppress(OSError):
            self.unfinished.unlink(missing_ok=True)
        os.close(self._lock)

    def _take(self) -> None:
        status = os.fstat(self._lock)
        if status.st_uid != os.geteuid() or stat.S_IMODE(status.st_mode) & 0o077:
            raise OutputError(
                f"{str(self.path)!r} is open to others, so what it holds is not used; remove it, or leave out `resume`"
            )
        if lock(self._lock) is False:
            raise OutputError(
                f"another run with `resume` is making {self.path.name[1:-5]!r}; wait for its end"
            )
        self.unfinished.unlink(missing_ok=True)


def remove_checkpoint(target: Path) -> None:
    """Remove what dead runs left beside a target; what a living run uses stays."""
    path = _beside(target)
    try:
        handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        return
    try:
        if lock(handle):  # else its run is alive, or nobody can tell
            _remove(path)
    finally:
        os.close(handle)


def _remove(folder: Path) -> None:
    """Remove what runs put into a folder, and the folder when nothing else is in it."""
    with suppress(OSError):
        for path in list(folder.iterdir()):
            if path.name == _UNFINISHED or _PART.fullmatch(path.name):
                path.unlink()
        folder.rmdir()


def _beside(target: Path) -> Path:
    target = target.resolve()
    return target.with_name(f".{target.name}.kept")
