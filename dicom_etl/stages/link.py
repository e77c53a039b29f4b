"""link: decide which folders, images and contours belong together. Opens no file; never guesses.

A pair that cannot be proven is refused and reported: a wrong pair trains a model on another patient's heart, a
missing one only costs a sample.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import replace
from operator import attrgetter

from dicom_etl.config import IngestConfig
from dicom_etl.dicom import NOTES
from dicom_etl.records import (
    FoundImage,
    Instance,
    Issue,
    Label,
    LostImage,
    SamplePlan,
    SeriesLine,
    SliceNumber,
    StudyFolders,
    StudyPlan,
)
from dicom_etl.stages.label_series import chosen_by
from dicom_etl.stages.link_numbers import Linked, link_numbers
from dicom_etl.stages.link_references import ORPHAN, Pairs, Placed, References, refuse_ambiguous
from dicom_etl.stages.series import NAME as NAME_READING
from dicom_etl.stages.series import Stack, find_stacks

NAME = "link"


def chosen_series(config: IngestConfig, patient_id: str) -> frozenset[int]:
    """Return the numbers of the series that were chosen by hand for a patient."""
    chosen = (text.rpartition(":") for text in config.series)
    return frozenset(int(number) for patient, _, number in chosen if patient in ("", patient_id))


def link_study(
    study: StudyFolders,
    labels: Sequence[Label],
    images: Sequence[FoundImage],
    lost: Sequence[LostImage],
    config: IngestConfig,
    *,
    folder: str = "",
    name_offset: int | None = None,
    list_unlabeled: bool = False,
) -> StudyPlan:
    """Pair the labels of one study with its images; samples are in row order (see `_row_order`).

    Images that cannot be read are ``lost``; each keeps its place, so that no other image takes its labels.
    ``folder`` is named by issues about the study as a whole, ``name_offset`` is that of the layout; with
    ``list_unlabeled`` each image without a label is reported by name.
    """
    asked = config.structures
    wanted = [label for label in labels if asked is None or label.structure in asked]
    plan = StudyPlan(
        study.patient_id,
        study.original_id,
        image_count=len(images),
        contour_count=len(wanted),
        study=study.study,
    )
    if said := _mixed_patients(images, lost):
        return replace(plan, issues=(Issue("error", "mixed-patients", said, NAME, folder, study.patient_id),))
    found = _Images(images, lost)
    issues = list(_other_sign(study, found))
    drawn = _pair(study, wanted, found, config, name_offset, issues)
    alone = len(found.stacks) == 1
    for stack in found.stacks:
        if alone or not drawn.keys().isdisjoint(stack.members):
            issues += _report_places(study, stack, folder if alone else stack.example)
    bare = [index for stack in found.stacks for index in stack.placed if not drawn.get(index)]
    if list_unlabeled:
        message = "no contour is drawn on this image"
        paths = (images[index].path for index in bare)
        issues += (Issue("note", "unlabeled", message, NAME, path, study.patient_id) for path in paths)
    issues += _notes(study, images, folder)
    samples = _samples(study, images, found.stacks, drawn, set() if config.keeps_unlabeled else set(bare))
    return replace(
        plan,
        samples=tuple(sorted(samples, key=_row_order)),
        issues=tuple(issues),
        unlabeled_count=len(bare),
        series=tuple(_series_line(stack, found, drawn) for stack in found.stacks),
    )


def _samples(
    study: StudyFolders,
    images: Sequence[FoundImage],
    stacks: Sequence[Stack],
    drawn: Pairs,
    left_out: Set[int],
) -> Iterator[SamplePlan]:
    for number, stack in enumerate(stacks):
        for index in stack.placed.keys() - left_out:
            path, header, stamp = images[index]
            place, labels = stack.placed[index], tuple(sorted(drawn.get(index, ())))
            yield SamplePlan(
                study.patient_id, study.original_id, path, header, labels, *place, number, study.study, stamp
            )


def _series_line(stack: Stack, found: _Images, drawn: Mapping[int, Sequence[Label]]) -> SeriesLine:
    header = found.headers[stack.series[0].members[0]]
    numbers = sorted(chosen_by(each) for each in stack.series)
    indices = stack.places.location_index
    return SeriesLine(
        "-" if numbers[0] < 0 else str(numbers[0]) if len(numbers) == 1 else f"{numbers[0]}..{numbers[-1]}",
        header.series_description,
        (header.rows, header.columns),
        len(stack.members),
        int(indices.max(initial=-1)) + 1,
        stack.places.phases,
        sum(len(drawn.get(index, ())) for index in stack.members),
    )


_row_order = attrgetter(
    "stack_index", "location_index", "phase_index", "header.instance_number", "image", "header.frame"
)


class _Images:
    """The images of a study in their stacks; after those that can be read come those that have a header at least."""

    def __init__(self, images: Sequence[FoundImage], lost: Sequence[LostImage]) -> None:
        headed = [(image.path, image.header) for image in lost if image.header is not None]
        self.paths = [image.path for image in images] + [path for path, _ in headed]
        self.headers = [image.header for image in images] + [header for _, header in headed]
        self.lost = frozenset(range(len(images), len(self.paths)))
        self._unreadable = [image.path for image in lost if image.header is None]
        self._group()

    def lose(self, indices: Set[int]) -> None:
        """Take images out of their stacks; they keep their numbers."""
        self.lost |= indices
        self._group()

    def _group(self) -> None:
        self.stacks, self.spare = find_stacks(self.paths, self.headers, self.lost, self._unreadable)


def _mixed_patients(images: Sequence[FoundImage], lost: Sequence[LostImage]) -> str:
    """Say that the headers of a study name two patients, with the files of each; an empty PatientID is unknown."""
    files: dict[str, set[str]] = defaultdict(set)
    every: list[FoundImage | LostImage] = [*images, *lost]
    for image in every:
        if image.header is not None and image.header.patient_id:
            files[image.header.patient_id].add(image.path)
    if len(files) < 2:
        return ""
    counts = sorted((-len(paths), min(paths)) for paths in files.values())
    said = ", ".join(f"{-count} like {path}" for count, path in counts[:5]) + ", .." * (len(counts) > 5)
    return f"the images are of {len(files)} patients (PatientID): {said}; the whole study is left out"


def _other_sign(study: StudyFolders, found: _Images) -> Iterator[Issue]:
    """Leave out images whose PixelRepresentation differs from the rest of their stack: it changes what they mean."""
    odd: dict[int, str] = {}
    for stack in found.stacks:
        signs = Counter([found.headers[index].pixel_representation for index in stack.members])
        if len(signs) < 2:
            continue
        (usual, count), (_, other) = signs.most_common(2)
        for index in stack.members:
            mine = found.headers[index].pixel_representation
            if mine != usual or count == other:
                odd[index] = (
                    f"PixelRepresentation {mine}, which differs within the stack ({count} of its images have {usual}); "
                    "left out"
                )
    if odd:
        found.lose(odd.keys())
    for index, message in odd.items():
        yield Issue("error", "unreadable-image", message, NAME, found.paths[index], study.patient_id)


def _pair(
    study: StudyFolders,
    labels: Sequence[Label],
    found: _Images,
    config: IngestConfig,
    name_offset: int | None,
    issues: list[Issue],
) -> Pairs:
    pairs: Pairs = defaultdict(list)
    numbered = [(label, label.ref.target) for label in labels if isinstance(label.ref.target, SliceNumber)]
    linked = link_numbers(
        {number for _, number in numbered},
        found.stacks,
        found.paths,
        spare=found.spare,
        number_from=config.number_from or ("" if name_offset is None else NAME_READING),
        name_offset=None if config.number_from else name_offset,
        chosen=chosen_series(config, study.patient_id),
    )
    references = References(found.paths, found.headers, dict(study.elsewhere))
    for label, image, code, problem in (*_by_number(numbered, linked), *references.find(labels)):
        if image in found.lost:
            target, path = label.ref.target, found.paths[image]
            said = (
                f"slice {target.number} is {path}, which"
                if isinstance(target, SliceNumber)
                else f"its image {path}"
            )
            code, problem = ORPHAN, f"{said} cannot be read; the label is left out"
        elif image >= 0:
            pairs[image].append(label)
            continue
        issues.append(label.error(code, problem, NAME, study.patient_id))
    issues += _in_other_frames(pairs, found, study.patient_id)
    pairs, ambiguous = refuse_ambiguous(pairs, found.paths, study.patient_id)
    issues += ambiguous
    if linked.images and linked.doubts:
        message = "are these labels drawn on this series? " + "; ".join(linked.doubts)
        path = found.paths[min(linked.images.values())]
        issues.append(Issue("warning", "doubtful-series", message, NAME, path, study.patient_id))
    return pairs


def _by_number(numbered: Sequence[tuple[Label, SliceNumber]], linked: Linked) -> Iterator[Placed]:
    """Yield labels of numbers with their images; several of one structure on one image have none."""
    places = [(label.structure, linked.images.get(number, number)) for label, number in numbered]
    repeated = Counter(places)
    for (label, number), place in zip(numbered, places, strict=True):
        if (drawn := repeated[place]) > 1:
            problem = f"{drawn} files hold an {label.structure} for slice {number.number}; all are left out"
            yield label, -1, "duplicate-contour", problem
        else:
            yield label, linked.images.get(number, -1), *linked.refused.get(number, ("", ""))


def _in_other_frames(pairs: Pairs, found: _Images, patient_id: str) -> Iterator[Issue]:
    """Report label files whose labels state another FrameOfReferenceUID than the images that they name have."""
    counts = Counter(
        label.ref.path
        for index, labels in pairs.items()
        for label in labels
        if isinstance(label.ref.target, Instance)
        and label.ref.target.frame_of_reference
        and found.headers[index].frame_of_reference_uid not in ("", label.ref.target.frame_of_reference)
    )
    for path, count in sorted(counts.items()):
        message = (
            f"{count} of its labels name images that have another FrameOfReferenceUID; they lie in their planes, "
            "so they are taken"
        )
        yield Issue("warning", "other-frame-of-reference", message, NAME, path, patient_id)


def _report_places(study: StudyFolders, stack: Stack, path: str) -> Iterator[Issue]:
    """Say what is missing in a stack, and where its phases are unknown."""
    places = stack.places
    if places.incomplete:
        shown = ", ".join(map(str, places.incomplete[:10])) + (", .." if len(places.incomplete) > 10 else "")
        message = f"locations {shown} do not have the {places.phases} phases that the others have"
        yield Issue("warning", "incomplete-series", message, NAME, path, study.patient_id)
    if places.phases > 1 and not (places.phase_index >= 0).any():
        message = (
            f"no header tells the phases of its {len(stack.members)} images (TriggerTime, "
            "TemporalPositionIdentifier), so none is end-diastole or end-systole"
        )
        yield Issue("note", "phases-unknown", message, NAME, path, study.patient_id)


def _notes(study: StudyFolders, images: Sequence[FoundImage], folder: str) -> Iterator[Issue]:
    """Report each kind of oddity that was met in the headers once, with the number of images that have it."""
    counts: Counter[str] = Counter()
    for notes, count in Counter([image.header.notes for image in images]).items():
        counts.update(dict.fromkeys(notes, count))
    for kind, count in sorted(counts.items()):
        message = f"{NOTES[kind]}: {count} of {len(images)} images"
        yield Issue("note", kind, message, NAME, folder, study.patient_id)
