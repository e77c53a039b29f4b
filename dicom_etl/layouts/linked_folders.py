"""The standard layout: ``dicoms/<patient_id>/..``, ``contourfiles/<original_id>/..`` and ``link.csv``.

Files are found at any depth below a study's folder. Images are told by their content, contours by their name.
Hidden files (``.DS_Store``, ``._48.dcm``) are not looked at.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from dicom_etl.contours import reader_for
from dicom_etl.errors import SourceError
from dicom_etl.layouts.base import CONTOURS, DICOMS, LINKS, SourceRoots
from dicom_etl.layouts.linktable import read_link_table
from dicom_etl.records import ContourFile, Issue, SourceFolders, StudyFiles, StudyFolders

STAGE = "discover"


class LinkedFolders:
    """`Layout` of two trees of folders tied together by a table."""

    name = "linked-folders"

    def locate(
        self, source: Path | None, *, dicoms: Path | None, contours: Path | None, links: Path | None
    ) -> SourceRoots:
        """Find the three parts."""
        if source is not None and not source.is_dir():
            raise SourceError(f"SOURCE {str(source)!r} is not a folder")
        parts = {"--dicoms": (dicoms, DICOMS), "--contours": (contours, CONTOURS), "--links": (links, LINKS)}
        found: list[Path] = []
        for option, (given, name) in parts.items():
            if given is None and source is None:
                raise SourceError(f"no SOURCE, so {option} must say where {name} is")
            path = given if given is not None else source / name  # type: ignore[operator]  # checked above
            right = path.is_file() if name == LINKS else path.is_dir()
            if not right:
                kind = "file" if name == LINKS else "folder"
                raise SourceError(f"no {kind} {str(path)!r}; {option} names it when it lies elsewhere")
            found.append(path)
        return SourceRoots(*found)

    def folders(self, roots: SourceRoots) -> SourceFolders:
        """List the folders at the top of both trees."""
        issues: list[Issue] = []
        names: dict[str, tuple[str, ...]] = {}
        for part, root in ((DICOMS, roots.dicoms), (CONTOURS, roots.contours)):
            folders: list[str] = []
            for entry in _entries(root):
                path = f"{part}/{entry.name}"
                if entry.is_symlink() and _leaves(entry, root):
                    code = "unreadable-image" if part == DICOMS else "unreadable-contour"
                    issues.append(
                        Issue("error", code, "is a link that leaves SOURCE; never opened", STAGE, path)
                    )
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
        contours: list[ContourFile] = []
        images = list(_walk(roots.dicoms, DICOMS, study.images, issues, study.patient_id))
        if study.contours:
            for path in _walk(roots.contours, CONTOURS, study.contours, issues, study.patient_id):
                reader = reader_for(path)
                match = reader.match(path.rpartition("/")[2]) if reader else None
                if match:
                    contours.append(ContourFile(path, *match))
                else:
                    message = "its name is not that of a contour file; left out"
                    issues.append(
                        Issue("warning", "unreadable-contour", message, STAGE, path, study.patient_id)
                    )
        return StudyFiles(study.patient_id, study.original_id, tuple(images), tuple(contours), tuple(issues))


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    """List what a folder shows, by name in code-point order, so that nothing depends on the file system."""
    try:
        with os.scandir(folder) as entries:
            return sorted(
                (entry for entry in entries if not entry.name.startswith(".")), key=lambda e: e.name
            )
    except OSError as error:
        raise SourceError(f"the folder {str(folder)!r} cannot be listed: {error.strerror}") from None


def _walk(root: Path, part: str, folder: str, issues: list[Issue], patient_id: str) -> Iterator[str]:
    """Yield every regular file below a study's folder; devices, pipes and links that leave SOURCE become issues."""
    code = "unreadable-image" if part == DICOMS else "unreadable-contour"
    for entry in _entries(root / folder):
        path = f"{folder}/{entry.name}"
        refusal = ""
        try:
            if entry.is_symlink() and _leaves(entry, root):
                refusal = "is a link that leaves SOURCE; never opened"
            elif entry.is_symlink() and Path(entry.path).parent.resolve().is_relative_to(
                Path(entry.path).resolve()
            ):
                refusal = "is a link to a folder that holds it; not followed"
            elif entry.is_dir():
                yield from _walk(root, part, path, issues, patient_id)
                continue
            elif not stat.S_ISREG(entry.stat().st_mode):
                refusal = "is not a regular file; never opened"
        except OSError as error:
            refusal = f"cannot be looked at: {error.strerror}"
        if refusal:
            issues.append(Issue("error", code, refusal, STAGE, f"{part}/{path}", patient_id))
        else:
            yield f"{part}/{path}"


def _leaves(entry: os.DirEntry[str], root: Path) -> bool:
    return not Path(entry.path).resolve().is_relative_to(root.resolve())
