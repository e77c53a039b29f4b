"""link: decide which folders, images and contours belong together. Opens no file; never guesses.

A pair that cannot be proven is refused and reported: a wrong pair trains a model on another patient's heart, a
missing one only costs a sample.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Sequence

from dicom_etl.dicom import NOTES
from dicom_etl.geometry.locations import place_images
from dicom_etl.layouts.pseudonyms import id_key, real_of
from dicom_etl.records import (
    FoundImage,
    Issue,
    Label,
    Link,
    SamplePlan,
    SliceNumber,
    SourceFolders,
    StudyFiles,
    StudyFolders,
    StudyPlan,
)

NAME = "link"
_NUMBER_AT_END = re.compile(r"(?:.*[^0-9.])?0*([0-9]{1,9})")
_ENDINGS = re.compile(r"\.(?:dcm|dicom|ima|img)$", re.IGNORECASE)


def link_folders(folders: SourceFolders) -> tuple[tuple[StudyFolders, ...], tuple[Issue, ...]]:
    """Find the two folders of each row of the link table.

    Ids match whatever their case and zero padding; two folders for one id are refused, and so is a row without
    its folders.

    Returns
    -------
    studies : tuple of StudyFolders
        By patient_id.
    issues : tuple of Issue
        Rows left out, and folders that no row names.
    """
    images, contours = _by_key(folders.images), _by_key(folders.contours)
    studies: list[StudyFolders] = []
    issues: list[Issue] = []
    for link in sorted(folders.links, key=lambda link: link.patient_id):
        image_names = images.pop(id_key(real_of(link.patient_id)), [])
        contour_names = contours.pop(id_key(real_of(link.original_id)), [])
        problem = _folder_problem(link, image_names, contour_names)
        if problem:
            issues.append(Issue("error", "link-missing", problem, NAME, "link.csv", link.patient_id))
        else:
            studies.append(
                StudyFolders(
                    link.patient_id, link.original_id, image_names[0], contour_names[0], link.name_key
                )
            )
    for part, left in (("dicoms", images), ("contourfiles", contours)):
        for name in sorted(name for names in left.values() for name in names):
            message = "no row of the link table names this folder; left out"
            issues.append(Issue("warning", "link-missing", message, NAME, f"{part}/{name}"))
    return tuple(studies), tuple(issues)


def link_study(
    study: StudyFiles,
    images: Sequence[FoundImage],
    *,
    structures: tuple[str, ...] | None,
    unlabeled: bool,
    list_unlabeled: bool,
) -> StudyPlan:
    """Pair the contours of one study with its images.

    Parameters
    ----------
    study : StudyFiles
        What was found in the study's two folders.
    images : sequence of FoundImage
        The images whose headers could be read.
    structures : tuple of str, optional
        Leave contours of other structures alone; None takes all.
    unlabeled : bool
        Keep images without a contour as samples.
    list_unlabeled : bool
        Report each image without a contour by name, not only as a count.

    Returns
    -------
    StudyPlan
        Samples in row order: stack, location, phase, instance number, path, frame.
    """
    issues: list[Issue] = []
    wanted = [label for label in study.labels if structures is None or label.structure in structures]
    usable = _consistent(study, images, issues)
    drawn = _pair(study, wanted, usable, issues)
    places = place_images([image.header for image in usable])
    _report_incomplete(study, places.phases, places.incomplete, issues)
    _report_notes(study, images, issues)
    samples: list[SamplePlan] = []
    without = 0
    for index, image in enumerate(usable):
        labels = tuple(sorted(drawn.get((image.path, image.header.frame), ()), key=lambda c: c.structure))
        if not labels:
            without += 1
            if list_unlabeled:
                message = "no contour is drawn on this image"
                issues.append(Issue("note", "unlabeled", message, NAME, image.path, study.patient_id))
            if not unlabeled:
                continue
        samples.append(
            SamplePlan(
                study.patient_id,
                study.original_id,
                image.path,
                image.header,
                labels,
                int(places.location_index[index]),
                float(places.slice_location_mm[index]),
                int(places.phase_index[index]),
                image.proof,
                study=study.study,
            )
        )
    samples.sort(
        key=lambda s: (
            s.stack_index,
            s.location_index,
            s.phase_index,
            s.header.instance_number,
            s.image,
            s.header.frame,
        )
    )
    return StudyPlan(
        study.patient_id,
        study.original_id,
        tuple(samples),
        tuple(issues),
        image_count=len(images),
        contour_count=len(wanted),
        unlabeled_count=without,
        study=study.study,
    )


def slice_number_in_name(path: str) -> int | None:
    """Return the number that an image's file name ends in (``IM-0001-0048.dcm`` -> 48), or None.

    A name that is a UID (digits and dots) states no slice number.
    """
    stem = _ENDINGS.sub("", real_of(path).rpartition("/")[2])
    found = _NUMBER_AT_END.fullmatch(stem)
    return int(found[1]) if found else None


def _by_key(names: Sequence[str]) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = defaultdict(list)
    for name in names:
        groups[id_key(real_of(name))].append(name)
    return groups


def _folder_problem(link: Link, images: list[str], contours: list[str]) -> str:
    for part, wanted, names in (
        ("dicoms", link.patient_id, images),
        ("contourfiles", link.original_id, contours),
    ):
        if not names:
            return f"the folder {part}/{wanted} is missing; the study is left out"
        if len(names) > 1:
            return f"{' and '.join(f'{part}/{n}' for n in names)} both stand for {wanted!r}; the study is left out"
    return ""


def _consistent(study: StudyFiles, images: Sequence[FoundImage], issues: list[Issue]) -> list[FoundImage]:
    """Leave out images whose stored bits differ from the rest of their series: grey values mean something else."""
    formats: dict[str, Counter[tuple[int, int]]] = defaultdict(Counter)
    for image in images:
        formats[image.header.series_uid][image.header.bits_stored, image.header.pixel_representation] += 1
    ranked_by_series = {series: counts.most_common(2) for series, counts in formats.items()}
    usable = []
    for image in images:
        ranked = ranked_by_series[image.header.series_uid]
        (bits, sign), count = ranked[0]
        mine = image.header.bits_stored, image.header.pixel_representation
        undecided = len(ranked) == 2 and ranked[1][1] == count
        if mine == (bits, sign) and not undecided:
            usable.append(image)
            continue
        message = (
            f"BitsStored {mine[0]} and PixelRepresentation {mine[1]}, which differ within the series "
            f"({count} of its images have {bits} and {sign}); left out"
        )
        issues.append(Issue("error", "unreadable-image", message, NAME, image.path, study.patient_id))
    return usable


def _numbered(images: Sequence[FoundImage]) -> dict[int, list[FoundImage]]:
    """Group images by the slice number that contours refer to.

    That is the number in the file name where every file has one; else, where names say nothing,
    InstanceNumber. Frames of one multi-frame file are counted from 1.
    """
    groups: dict[int, list[FoundImage]] = defaultdict(list)
    one_file = len({image.path for image in images}) == 1 and len(images) > 1
    names = {image.path: slice_number_in_name(image.path) for image in images}
    by_name = None not in names.values()
    for image in images:
        if one_file:
            number = image.header.frame + 1
        else:
            in_name = names[image.path]
            number = in_name if by_name and in_name is not None else image.header.instance_number
        groups[number].append(image)
    groups.pop(-1, None)
    return groups


def _pair(
    study: StudyFiles, labels: Sequence[Label], images: Sequence[FoundImage], issues: list[Issue]
) -> dict[tuple[str, int], list[Label]]:
    """Return the labels of each image, by (path, frame); report every label that finds none."""
    numbered = _numbered(images)
    pairs: dict[tuple[str, int], list[Label]] = defaultdict(list)
    numbers = {
        label: label.ref.target.number for label in labels if isinstance(label.ref.target, SliceNumber)
    }
    repeated = Counter((label.structure, number) for label, number in numbers.items())
    for label, number in numbers.items():
        found = numbered.get(number, [])
        code, problem = _pair_problem(label, number, found, repeated[label.structure, number])
        if problem:
            issues.append(
                Issue("error", code, problem, NAME, label.ref.source, study.patient_id, label.structure)
            )
        else:
            pairs[found[0].path, found[0].header.frame].append(label)
    return pairs


def _pair_problem(label: Label, number: int, found: list[FoundImage], drawn: int) -> tuple[str, str]:
    if drawn > 1:
        return (
            "duplicate-contour",
            f"{drawn} files hold an {label.structure} for slice {number}; all are left out",
        )
    if not found:
        return "orphan-contour", f"slice {number} has no usable image; the contour is left out"
    if len(found) > 1:
        names = " and ".join(image.path for image in found[:3])
        return "duplicate-image", f"{names} both stand for slice {number}; the contour is left out"
    header = found[0].header
    if header.frames == 1 and header.instance_number not in (-1, number):
        return "instance-mismatch", (
            f"{found[0].path} has InstanceNumber {header.instance_number}, but the contour is for slice {number}; "
            "the pair is refused"
        )
    return "", ""


def _report_incomplete(
    study: StudyFiles, phases: int, incomplete: tuple[int, ...], issues: list[Issue]
) -> None:
    if incomplete:
        places = ", ".join(str(index) for index in incomplete[:10]) + (", .." if len(incomplete) > 10 else "")
        message = f"locations {places} do not have the {phases} phases that the others have"
        issues.append(Issue("warning", "incomplete-series", message, NAME, _folder(study), study.patient_id))


def _report_notes(study: StudyFiles, images: Sequence[FoundImage], issues: list[Issue]) -> None:
    """Report each kind of oddity that was met in the headers once, with the number of images that have it."""
    counts = Counter(note for image in images for note in set(image.header.notes))
    for kind, count in sorted(counts.items()):
        message = f"{NOTES[kind]}: {count} of {len(images)} images"
        issues.append(Issue("note", kind, message, NAME, _folder(study), study.patient_id))


def _folder(study: StudyFiles) -> str:
    """Return the folder of the study's images."""
    return "/".join(study.images[0].split("/")[:2]) if study.images else ""
