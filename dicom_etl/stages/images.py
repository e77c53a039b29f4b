"""The images of a study, by content: what can be read, what cannot and keeps its place, and what is no image at all."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass

from dicom_etl.config import IngestConfig
from dicom_etl.dicom.glimpse import glimpse
from dicom_etl.errors import ItemError, LabelFileError
from dicom_etl.layouts import SourceRoots
from dicom_etl.records import FoundImage, Issue, LostImage
from dicom_etl.stages import discover, parse
from dicom_etl.stages.image_names import Name
from dicom_etl.stages.sample import item_issue
from dicom_etl.stages.study_key import file_digest
from dicom_etl.workers import Progress

NAME = "headers"
listener: ContextVar[Progress | None] = ContextVar("listener", default=None)
"""What hears how many headers of a large study are read; it is set in the process that shows progress alone."""
_STEP = 1000
_ENDINGS = (".dcm", ".dicom", ".ima")


@dataclass(frozen=True, slots=True)
class ReadImages:
    """What became of the files of a study that are not known to hold labels: images, one a frame, and all else."""

    images: list[FoundImage]
    lost: list[LostImage]
    label_files: list[str]
    issues: list[Issue]


def read_images(
    paths: Sequence[str], roots: SourceRoots, config: IngestConfig, patient_id: str
) -> ReadImages:
    """Read the headers of all images among some files."""
    found = ReadImages([], [], [], [])
    failed: list[tuple[str, ItemError]] = []
    limits = parse.limits_of(config)
    tell = listener.get()
    for number, path in enumerate(paths):
        if tell is not None and number and number % _STEP == 0:
            tell(NAME, number, len(paths))
        try:
            found.images.extend(
                discover.read_image_headers(path, roots, limits, vendors_only=config.pseudonymize)
            )
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
            found.issues.append(item_issue(reason, discover.NAME, path, patient_id))
            found.lost.append(LostImage(path, seen.header))
    found.issues.extend(discover.not_images(others, patient_id))
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
        if len(paths) > 1:
            kept |= _copies(sorted(paths, key=lambda path: (len(path), path)), roots)
    if kept:
        images[:] = [image for image in images if image.path not in kept]
    for path, other in sorted(kept.items()):
        message = f"the same file to the last byte as {other}; that one is taken"
        yield Issue("warning", "duplicate-image", message, discover.NAME, path, patient_id, other_path=other)


def _copies(paths: Sequence[str], roots: SourceRoots) -> dict[str, str]:
    """Return the copies among some files, each with the file that it is a copy of."""
    first: dict[str, str] = {}
    copies: dict[str, str] = {}
    for path in paths:
        digest = file_digest(roots.place(path))
        if digest and first.setdefault(digest, path) != path:
            copies[path] = first[digest]
    return copies
