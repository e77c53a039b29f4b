"""discover: find the studies of a SOURCE, their files, and what the headers of the images say.

Nothing here decides what belongs together; that is `link`. But here names are made what they are shown as:
escaped where they could not be printed, or pseudonyms. No later stage sees a real one unless it asks for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial

from dicom_etl.contours import readers_for, readers_for_name
from dicom_etl.dicom import Limits, read_listed_headers, sop_class_of
from dicom_etl.errors import ImageError, LabelFileError
from dicom_etl.layouts import Layout, SourceRoots
from dicom_etl.layouts.base import CONTOURS
from dicom_etl.layouts.pseudonyms import Pseudonyms, SourceName, escaped, real_of, shown_path, vendor
from dicom_etl.records import (
    FoundImage,
    Issue,
    Link,
    SourceFolders,
    StudyFiles,
    StudyFolders,
)

NAME = "discover"


def find_folders(layout: Layout, roots: SourceRoots, pseudonyms: Pseudonyms | None = None) -> SourceFolders:
    """Read the link table and list the studies' folders, as they are or as their ``pseudonyms``."""
    found = layout.folders(roots)

    image_folder, label_folder = (
        partial(_shown_folder, pseudonym)
        for pseudonym in ((pseudonyms.patient, pseudonyms.original) if pseudonyms else (None, None))
    )
    return replace(
        found,
        links=tuple(_shown_link(link, pseudonyms) for link in found.links),
        images=tuple(sorted(map(image_folder, found.images))),
        contours=tuple(sorted(map(label_folder, found.contours))),
        issues=tuple(
            replace(
                issue,
                path=(label_folder if issue.path.startswith(f"{CONTOURS}/") else image_folder)(issue.path),
            )
            for issue in found.issues
        ),
    )


def _shown_folder(pseudonym: Callable[[str], str] | None, path: str) -> str:
    """Return what a folder of the SOURCE is shown as; those above it are named by the layout."""
    above, _, name = path.rpartition("/")
    if pseudonym is None:
        return escaped(path)
    return SourceName(f"{above}/{pseudonym(name)}" if above else pseudonym(name), path)


def find_files(layout: Layout, roots: SourceRoots, study: StudyFolders) -> StudyFiles:
    """List the files of one study, by content and name, in the order of what they are shown as; opens nothing."""
    found = layout.files(
        roots, replace(study, images=real_of(study.images), contours=real_of(study.contours))
    )
    shown = partial(_shown, (study.images, study.contours), study.name_key)
    return replace(
        found,
        images=tuple(sorted(map(shown, found.images))),
        issues=tuple(replace(issue, path=shown(issue.path)) for issue in found.issues),
        study=study.study,
        label_files=tuple(sorted(map(shown, found.label_files))),
    )


def read_image_headers(
    path: str, roots: SourceRoots, limits: Limits, *, vendors_only: bool = False
) -> tuple[FoundImage, ...]:
    """Read the header of one image file, one record a frame; `LabelFileError` where a reader of labels may know it.

    With ``vendors_only`` the manufacturer, the only free text that is kept, becomes a word of ours.
    """
    try:
        headers, stamp = read_listed_headers(roots.place(path), limits)
    except ImageError as error:
        if may_hold_labels(path, roots):
            raise LabelFileError(str(error)) from None
        raise
    if readers_for(headers[0].sop_class):
        raise LabelFileError("it holds labels")
    if vendors_only:
        headers = tuple(header._replace(manufacturer=vendor(header.manufacturer)) for header in headers)
    return tuple([FoundImage(path, header, stamp) for header in headers])


def not_images(others: Mapping[str, Sequence[str]], patient_id: str) -> Iterator[Issue]:
    """Report files that are neither images nor labels, by kind."""
    for kind, paths in sorted(others.items()):
        count = f"{kind}, and {len(paths) - 1} more like it" if len(paths) > 1 else kind
        yield Issue("note", "not-an-image", f"it is {count}", NAME, paths[0], patient_id)


def may_hold_labels(path: str, roots: SourceRoots) -> bool:
    """Tell by its name, else by its SOP class, whether a reader of labels is to look into a file."""
    return bool(readers_for_name(real_of(path)) or readers_for(sop_class_of(roots.place(path))))


def _shown(folders: Sequence[str], name_key: bytes, path: str) -> str:
    if not name_key:
        return escaped(path)
    for folder in filter(None, folders):
        if path == real_of(folder):
            return folder
        if path.startswith(f"{real_of(folder)}/"):
            return shown_path(folder, path[len(real_of(folder)) + 1 :], name_key)
    return shown_path("", path, name_key)


def _shown_link(link: Link, pseudonyms: Pseudonyms | None) -> Link:
    if pseudonyms is None:
        return link  # the link table admits no id that would need to be escaped
    return Link(
        pseudonyms.patient(link.patient_id),
        pseudonyms.original(link.original_id),
        pseudonyms.name_key(link.patient_id),
    )
