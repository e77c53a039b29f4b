"""The standard layout: ``dicoms/<patient_id>/..``, ``contourfiles/<original_id>/..`` and ``link.csv``.

Files are found at any depth below a study's folder. Images are told by their content, contours by their name.
Hidden files (``.DS_Store``, ``._48.dcm``) are not looked at. Without ``link.csv`` folders of one name belong together.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from dicom_etl.config import SourceOptions
from dicom_etl.errors import SourceError
from dicom_etl.layouts.base import CONTOURS, DICOMS, LINKS, SourceRoots
from dicom_etl.layouts.linktable import read_link_table
from dicom_etl.layouts.pseudonyms import id_key
from dicom_etl.layouts.walk import IMAGE, LABEL, files_below, folders_in, state
from dicom_etl.records import Issue, Link, SourceFolders, StudyFiles, StudyFolders


class TwoFolders:
    """What layouts share in which images and labels of a study lie in a folder each."""

    def files(self, roots: SourceRoots, study: StudyFolders) -> StudyFiles:
        """List the files of one study."""
        issues: list[Issue] = []
        images = files_below(roots, study.images, IMAGE, study.patient_id, issues)
        labels: tuple[str, ...] = ()
        if study.contours:
            labels = files_below(roots, study.contours, LABEL, study.patient_id, issues)
        return StudyFiles(images, labels, tuple(issues))


class LinkedFolders(TwoFolders):
    """`Layout` of two trees of folders tied together by a table."""

    name = "linked-folders"
    name_offset: int | None = None

    def recognises(self, source: Path) -> bool:
        """Whether there are two trees of folders of these names."""
        return (source / DICOMS).is_dir() and (source / CONTOURS).is_dir()

    def locate(self, source: Path | None, options: SourceOptions) -> SourceRoots:
        """Find the three parts."""
        parts = {"dicoms": DICOMS, "contours": CONTOURS, "links": LINKS}
        found: list[Path] = []
        for keyword, name in parts.items():
            given, option = getattr(options, keyword), f"`{keyword}`"
            if given is None and source is None:
                raise SourceError(f"no SOURCE, so {option} must say where {name} is")
            path: Path = given or source / name  # type: ignore[operator]  # checked above
            kind = "file" if name == LINKS else "folder"
            right = path.is_file() if name == LINKS else path.is_dir()
            if not right and given is not None:
                raise SourceError(f"{option} is not a {kind}: it {state(path)}")
            if not right and (name != LINKS or path.exists()):
                raise SourceError(
                    f"SOURCE has no {kind} {name}: it {state(path)}; {option} names it when it lies elsewhere"
                )
            found.append(path)
        dicoms, contours, links = found
        return SourceRoots(dicoms, contours, links, link_columns=options.link_columns)

    def folders(self, roots: SourceRoots) -> SourceFolders:
        """List the folders at the top of both trees."""
        issues: list[Issue] = []
        images = folders_in(roots.dicoms, DICOMS, IMAGE, issues)
        contours = folders_in(roots.contours, CONTOURS, LABEL, issues)
        if roots.links.exists():
            links = read_link_table(roots.links, roots.link_columns)
        else:
            links = same_names(images, contours)
            if not links:
                raise SourceError(
                    f"SOURCE has no {LINKS}, and no folder of {DICOMS} has the name of one of {CONTOURS}; `links` "
                    "names the table of patient_id,original_id that says which belong together"
                )
        return SourceFolders(
            links,
            tuple(f"{DICOMS}/{name}" for name in images),
            tuple(f"{CONTOURS}/{name}" for name in contours),
            tuple(issues),
        )


def same_names(images: Iterable[str], contours: Iterable[str]) -> tuple[Link, ...]:
    """Link folders of one name, whatever its case and zero padding."""
    by_key = {id_key(name): name for name in contours}
    return tuple(Link(name, by_key[id_key(name)]) for name in images if id_key(name) in by_key)
