"""Walks over folders of a SOURCE: every regular file below one, and issues for all else. Opens no file."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from operator import attrgetter
from pathlib import Path

from dicom_etl.errors import SourceError, os_errors_as
from dicom_etl.layouts.base import SourceRoots
from dicom_etl.records import Issue

STAGE = "discover"
IMAGE, LABEL = "unreadable-image", "unreadable-contour"
"""Codes for what lies where images, or labels, should lie, and cannot be opened."""
BESIDE = Issue("note", "not-an-image", "it lies beside the folders of patients", STAGE)
"""Of distributions that have a README there."""
_UNLINKED = Issue(
    "warning",
    "link-missing",
    "lies beside the studies' folders and belongs to none of them; left out",
    STAGE,
)
_DEEPEST = 32
"""Folders inside folders; a person's tree has a handful."""


def state(path: Path) -> str:
    """Say why a path is not what it should be, without repeating it: it can hold names of people."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return "does not exist"
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    return (
        "is a folder" if stat.S_ISDIR(mode) else "is a file" if stat.S_ISREG(mode) else "is a device or pipe"
    )


def _entries(folder: Path | str) -> list[os.DirEntry[str]]:
    """List what a folder shows, by name in code-point order, so that nothing depends on the file system."""
    with os.scandir(folder) as entries:
        return sorted((entry for entry in entries if entry.name[0] != "."), key=attrgetter("name"))


def folders_in(
    folder: Path, name: str, code: str, issues: list[Issue], beside: Issue = _UNLINKED
) -> list[str]:
    """Return the folders in a folder, by name; of what else lies there, an issue is like ``beside``.

    ``name`` is what records call the folder, "" for SOURCE itself.
    """
    with os_errors_as(SourceError, f"the folder of the {name or 'SOURCE'} cannot be listed"):
        entries = _entries(folder)
    found: list[str] = []
    for entry in entries:
        path = f"{name}/{entry.name}" if name else entry.name
        if entry.is_symlink() and _leaves(entry, folder):
            message = "is a link that leads out of SOURCE or in a circle; never opened"
            issues.append(Issue("error", code, message, STAGE, path))
        elif entry.is_dir():
            found.append(entry.name)
        else:
            issues.append(beside._replace(path=path))
    return found


def files_below(
    roots: SourceRoots, folder: str, code: str, patient_id: str, issues: list[Issue]
) -> tuple[str, ...]:
    """Return the path of every regular file below a folder of a SOURCE, and turn all else into issues.

    Devices, pipes and links that leave the folder are never opened: a link to another study would put one patient's
    images among another's. Each folder is listed once, so links cannot lead round in circles.
    """
    place = roots.place(folder)
    return tuple(_Walk(place, code, patient_id, issues).below(place, folder, depth=0))


@dataclass(slots=True)
class _Walk:
    top: str
    code: str
    patient_id: str
    issues: list[Issue]
    seen: set[tuple[int, int]] = field(default_factory=set)
    """Device and inode of each folder that was listed: to resolve its path costs fifty times as much."""

    def below(self, place: str, name: str, depth: int) -> Iterator[str]:
        """Yield the files below ``place`` on disk, which records call ``name``."""
        if depth > _DEEPEST:
            return self._refuse(name, f"lies more than {_DEEPEST} folders deep; left out")
        try:
            status = os.stat(place)  # noqa: PTH116  (text in, as everywhere below)
            if (status.st_dev, status.st_ino) in self.seen:
                return self._refuse(name, "is a link to a folder that is listed elsewhere; not followed")
            self.seen.add((status.st_dev, status.st_ino))
            entries = _entries(place)
        except OSError as error:
            return self._refuse(name, f"the folder cannot be listed: {error.strerror}; left out")
        for entry in entries:
            inside = f"{name}/{entry.name}" if name else entry.name
            try:
                # Nearly all are files, and the listing of the folder says so.
                if entry.is_file(follow_symlinks=False):
                    yield inside
                elif entry.is_symlink() and _leaves(entry, self.top):
                    self._refuse(
                        inside, "is a link that leads out of its study's folder or in a circle; never opened"
                    )
                elif entry.is_dir():
                    yield from self.below(entry.path, inside, depth + 1)
                elif not stat.S_ISREG(entry.stat().st_mode):
                    self._refuse(inside, "is not a regular file; never opened")
                else:
                    yield inside
            except OSError as error:
                self._refuse(inside, f"cannot be looked at: {error.strerror}; left out")
        return None

    def _refuse(self, path: str, message: str) -> None:
        self.issues.append(Issue("error", self.code, message, STAGE, path, self.patient_id))


def _leaves(entry: os.DirEntry[str], top: Path | str) -> bool:
    try:
        return not Path(entry.path).resolve().is_relative_to(Path(top).resolve())
    except (OSError, RuntimeError):  # links in a circle
        return True
