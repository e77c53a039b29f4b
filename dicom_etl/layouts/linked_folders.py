"""The standard layout: ``dicoms/<patient_id>/..``, ``contourfiles/<original_id>/..`` and ``link.csv``.

Files are found at any depth below a study's folder. Images are told by their content, contours by their name.
Hidden files (``.DS_Store``, ``._48.dcm``) are not looked at.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from operator import attrgetter
from pathlib import Path

from dicom_etl.errors import SourceError
from dicom_etl.layouts.base import CONTOURS, DICOMS, LINKS, SourceRoots
from dicom_etl.layouts.linktable import read_link_table
from dicom_etl.records import Issue, SourceFolders, StudyFiles, StudyFolders

STAGE = "discover"
_DEEPEST = 32
"""Folders inside folders; a person's tree has a handful."""


class LinkedFolders:
    """`Layout` of two trees of folders tied together by a table."""

    name = "linked-folders"

    def locate(
        self, source: Path | None, *, dicoms: Path | None, contours: Path | None, links: Path | None
    ) -> SourceRoots:
        """Find the three parts."""
        if source is not None and not source.is_dir():
            raise SourceError(f"SOURCE is not a folder: it {_state(source)}")
        parts = {"`dicoms`": (dicoms, DICOMS), "`contours`": (contours, CONTOURS), "`links`": (links, LINKS)}
        found: list[Path] = []
        for option, (given, name) in parts.items():
            if given is None and source is None:
                raise SourceError(f"no SOURCE, so {option} must say where {name} is")
            path = given if given is not None else source / name  # type: ignore[operator]  # checked above
            kind = "file" if name == LINKS else "folder"
            right = path.is_file() if name == LINKS else path.is_dir()
            if not right and given is not None:
                raise SourceError(f"{option} is not a {kind}: it {_state(path)}")
            if not right:
                raise SourceError(
                    f"SOURCE has no {kind} {name}: it {_state(path)}; {option} names it when it lies elsewhere"
                )
            found.append(path)
        return SourceRoots(*found)

    def folders(self, roots: SourceRoots) -> SourceFolders:
        """List the folders at the top of both trees."""
        issues: list[Issue] = []
        names: dict[str, tuple[str, ...]] = {}
        for part, root in ((DICOMS, roots.dicoms), (CONTOURS, roots.contours)):
            folders: list[str] = []
            for entry in _listed(root, part):
                path = f"{part}/{entry.name}"
                if entry.is_symlink() and _leaves(entry, root):
                    code = "unreadable-image" if part == DICOMS else "unreadable-contour"
                    message = "is a link that leads out of SOURCE or in a circle; never opened"
                    issues.append(Issue("error", code, message, STAGE, path))
                elif entry.is_dir():
                    folders.append(entry.name)
                else:
                    message = "lies beside the studies' folders and belongs to none of them; left out"
                    issues.append(Issue("warning", "link-missing", message, STAGE, path))
            names[part] = tuple(folders)
        return SourceFolders(read_link_table(roots.links), names[DICOMS], names[CONTOURS], tuple(issues))

    def files(self, roots: SourceRoots, study: StudyFolders) -> StudyFiles:
        """List the files of one study."""
        issues: list[Issue] = []
        labels: list[str] = []
        images = list(_Walk(roots.dicoms, DICOMS, study.images, study.patient_id, issues))
        if study.contours:
            labels = list(_Walk(roots.contours, CONTOURS, study.contours, study.patient_id, issues))
        return StudyFiles(
            study.patient_id,
            study.original_id,
            tuple(images),
            (),
            tuple(issues),
            label_files=tuple(labels),
        )


def _state(path: Path) -> str:
    """Say why a path is not what it should be, without repeating it: it can hold names of people."""
    try:
        mode = path.stat().st_mode
    except OSError as error:
        return (
            "does not exist" if isinstance(error, FileNotFoundError) else f"cannot be read: {error.strerror}"
        )
    return (
        "is a folder" if stat.S_ISDIR(mode) else "is a file" if stat.S_ISREG(mode) else "is a device or pipe"
    )


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    """List what a folder shows, by name in code-point order, so that nothing depends on the file system."""
    with os.scandir(folder) as entries:
        return sorted((entry for entry in entries if entry.name[0] != "."), key=attrgetter("name"))


def _listed(root: Path, part: str) -> list[os.DirEntry[str]]:
    try:
        return _entries(root)
    except OSError as error:
        raise SourceError(f"the folder of the {part} cannot be listed: {error.strerror}") from None


class _Walk:
    """Yields the path of every regular file below a study's folder, and turns all else into issues.

    Devices, pipes and links that leave the study's folder are never opened: a link to another study would put
    one patient's images among another's. Each folder is listed once, so links cannot lead round in circles.
    """

    def __init__(self, root: Path, part: str, folder: str, patient_id: str, issues: list[Issue]) -> None:
        self._root, self._part, self._folder = root, part, folder
        self._patient_id, self._issues = patient_id, issues
        self._code = "unreadable-image" if part == DICOMS else "unreadable-contour"
        self._top = (root / folder).resolve()
        self._seen: set[Path] = set()

    def __iter__(self) -> Iterator[str]:
        return self._below(self._folder, depth=0)

    def _below(self, folder: str, depth: int) -> Iterator[str]:
        path = self._root / folder
        if depth > _DEEPEST:
            return self._refuse(folder, f"lies more than {_DEEPEST} folders deep; left out")
        if path.resolve() in self._seen:
            return self._refuse(folder, "is a link to a folder that is listed elsewhere; not followed")
        self._seen.add(path.resolve())
        try:
            entries = _entries(path)
        except OSError as error:
            return self._refuse(folder, f"the folder cannot be listed: {error.strerror}; left out")
        for entry in entries:
            inside = f"{folder}/{entry.name}"
            try:
                # Nearly all are files, and the listing of the folder says so.
                if entry.is_file(follow_symlinks=False):
                    yield f"{self._part}/{inside}"
                elif entry.is_symlink() and _leaves(entry, self._top):
                    self._refuse(
                        inside, "is a link that leads out of its study's folder or in a circle; never opened"
                    )
                elif entry.is_dir():
                    yield from self._below(inside, depth + 1)
                elif not stat.S_ISREG(entry.stat().st_mode):
                    self._refuse(inside, "is not a regular file; never opened")
                else:
                    yield f"{self._part}/{inside}"
            except OSError as error:
                self._refuse(inside, f"cannot be looked at: {error.strerror}; left out")
        return None

    def _refuse(self, path: str, message: str) -> None:
        self._issues.append(
            Issue("error", self._code, message, STAGE, f"{self._part}/{path}", self._patient_id)
        )


def _leaves(entry: os.DirEntry[str], top: Path) -> bool:
    try:
        return not Path(entry.path).resolve().is_relative_to(top.resolve())
    except (OSError, RuntimeError):  # links in a circle
        return True
