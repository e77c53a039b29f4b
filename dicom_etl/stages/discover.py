"""discover: find the studies of a SOURCE, their files, and their images: by content, not by name.

Nothing here decides what belongs together; that is `link`. But here names are made what they are shown as:
escaped where they could not be printed, or pseudonyms. No later stage sees a real one unless it asks for it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, replace
from functools import partial

from dicom_etl.contours import readers_for, readers_for_name
from dicom_etl.dicom import Limits, read_listed_headers, sop_class_of
from dicom_etl.dicom.files import limits_of
from dicom_etl.dicom.glimpse import glimpse
from dicom_etl.errors import ImageError, ItemError, LabelFileError
from dicom_etl.layouts import Layout, SourceRoots
from dicom_etl.layouts.base import CONTOURS
from dicom_etl.layouts.pseudonyms import Pseudonyms, SourceName, escaped, real_of, shown_path, vendor
from dicom_etl.records import (
    FoundImage,
    Issue,
    Link,
    LostImage,
    SourceFolders,
    StudyFiles,
    StudyFolders,
)
from dicom_etl.stages.image_names import Name
from dicom_etl.stages.parse import Source
from dicom_etl.stages.sample import item_issue
from dicom_etl.stages.study_key import file_digest
from dicom_etl.workers import Progress

NAME = "discover"
listener: ContextVar[Progress | None] = ContextVar("listener", default=None)
"""What hears how many headers of a large study are read; it is set in the process that shows progress alone."""
_STEP = 1000
_ENDINGS = (".dcm", ".dicom", ".ima")


def find_folders(layout: Layout, roots: SourceRoots, pseudonyms: Pseudonyms | None = None) -> SourceFolders:
    """Read the link table and list the studies' folders, as they are or as their ``pseudonyms``."""
    found = layout.folders(roots)
    links = found.links  # the table admits no id that would need to be escaped
    image_folder: Callable[[str], str] = escaped
    label_folder: Callable[[str], str] = escaped
    if pseudonyms is not None:
        patient, original, name_key = pseudonyms.patient, pseudonyms.original, pseudonyms.name_key
        links = tuple(
            Link(patient(link.patient_id), original(link.original_id), name_key(link.patient_id))
            for link in links
        )
        image_folder, label_folder = partial(_shown_folder, patient), partial(_shown_folder, original)
    issues = [
        (label_folder if issue.path.startswith(f"{CONTOURS}/") else image_folder, issue)
        for issue in found.issues
    ]
    return replace(
        found,
        links=links,
        images=tuple(sorted(map(image_folder, found.images))),
        contours=tuple(sorted(map(label_folder, found.contours))),
        issues=tuple(issue._replace(path=shown(issue.path)) for shown, issue in issues),
    )


def _shown_folder(pseudonym: Callable[[str], str], path: str) -> str:
    """Return what a folder of the SOURCE is shown as; those above it are named by the layout."""
    above, _, name = path.rpartition("/")
    return SourceName(f"{above}/{pseudonym(name)}" if above else pseudonym(name), path)


def find_files(layout: Layout, roots: SourceRoots, study: StudyFolders) -> StudyFiles:
    """List the files of one study, by content and name, in the order of what they are shown as; opens nothing."""
    found = layout.files(
        roots, replace(study, images=real_of(study.images), contours=real_of(study.contours))
    )
    shown = partial(_shown, (study.images, study.contours), study.name_key)
    return StudyFiles(
        tuple(sorted(map(shown, found.images))),
        tuple(sorted(map(shown, found.labels))),
        tuple(issue._replace(path=shown(issue.path)) for issue in found.issues),
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


@dataclass(frozen=True, slots=True)
class ReadImages:
    """What became of the files of a study that are not known to hold labels: images, one a frame, and all else."""

    images: list[FoundImage]
    lost: list[LostImage]
    label_files: list[str]
    issues: list[Issue]


def read_images(paths: Sequence[str], source: Source, patient_id: str) -> ReadImages:
    """Read the headers of all images among some files."""
    found = ReadImages([], [], [], [])
    failed: list[tuple[str, ItemError]] = []
    roots, config = source.roots, source.config
    limits = limits_of(config)
    tell = listener.get()
    for number, path in enumerate(paths):
        if tell is not None and number and number % _STEP == 0:
            tell("headers", number, len(paths))
        try:
            found.images.extend(read_image_headers(path, roots, limits, vendors_only=config.pseudonymize))
        except LabelFileError:
            found.label_files.append(path)
        except ItemError as error:
            failed.append((path, error))
    alike = {_shape(image.path) for image in found.images} if failed else set()
    others: dict[str, list[str]] = defaultdict(list)
    for path, reason in failed:
        seen = glimpse(roots.place(path))
        named = path.casefold().endswith(_ENDINGS) or _shape(path) in alike
        if seen.kind and (seen.is_dicom or not named):
            others[seen.kind].append(path)
            if _shape(path.removesuffix(".gz")) in alike:
                found.lost.append(LostImage(path.removesuffix(".gz")))
        else:
            found.issues.append(item_issue(reason, NAME, path, patient_id))
            found.lost.append(LostImage(path, seen.header))
    found.issues.extend(not_images(others, patient_id))
    found.issues.extend(_drop_copies(found.images, roots, patient_id))
    return found


def _shape(path: str) -> tuple[str, tuple[str, ...]]:
    """Return the folder of a file and what its name has besides numbers."""
    return path.rpartition("/")[0], Name(path, multi_frame=False).skeleton


def _drop_copies(images: list[FoundImage], roots: SourceRoots, patient_id: str) -> Iterator[Issue]:
    """Take one of files that are the same to the last byte; of several the one with the shortest name."""
    keys = [
        (each.header.instance_uid, each.header.instance_number, each.header.series_uid) for each in images
    ]
    if len(set(keys)) == len(keys):  # as in nearly every study
        return
    groups: dict[tuple[str, int, str], set[str]] = defaultdict(set)
    for image, key in zip(images, keys, strict=True):
        if image.header.frame == 0 and (key[0] or key[1] >= 0):
            groups[key].add(image.path)
    kept: dict[str, str] = {}
    for paths in groups.values():
        first: dict[str, str] = {}
        for path in sorted(paths, key=lambda path: (len(path), path)) if len(paths) > 1 else ():
            digest = file_digest(roots.place(path))
            if digest and first.setdefault(digest, path) != path:
                kept[path] = first[digest]
    if kept:
        images[:] = [image for image in images if image.path not in kept]
    for path, other in sorted(kept.items()):
        message = f"the same file to the last byte as {other}; that one is taken"
        yield Issue("warning", "duplicate-image", message, NAME, path, patient_id, other_path=other)


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
