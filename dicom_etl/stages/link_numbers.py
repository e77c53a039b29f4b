"""Linking by number: which image a label means whose name says a series number and a slice number. Pure.

Numbers repeat from series to series, so labels go to one stack, or each series number to one series, and never to
whatever image happens to have their number. What is ambiguous is refused, with the candidates and the option that
decides. The rules are those of docs/folders.md; each was found to be needed on random studies.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field

from dicom_etl.stages.label_series import (
    AMBIGUOUS,
    ASK,
    Refused,
    Units,
    chosen_by,
    one_series,
    several_series,
)
from dicom_etl.stages.series import HEADER, NAME, READINGS, Stack

_MISMATCH, _ORPHAN = "instance-mismatch", "orphan-contour"
LEAST_FILLED = 0.45
"""Share of the locations x phases that drawn numbers touch; those of another stack scatter over its phases."""


Number = tuple[int, int]
"""The series number (-1 where a label has none) and the slice number that a label states."""


@dataclass
class Linked:
    """What became of each label: the index of its image, or why it has none; and reasons to doubt the pairs."""

    images: dict[Number, int] = field(default_factory=dict)
    refused: dict[Number, tuple[str, str]] = field(default_factory=dict)
    doubts: list[str] = field(default_factory=list)


def link_numbers(
    labels: Set[Number],
    stacks: Sequence[Stack],
    paths: Sequence[str],
    *,
    spare: int = 0,
    number_from: str = "",
    name_offset: int | None = None,
    chosen: Set[int] = frozenset(),
) -> Linked:
    """Find the image of each label of one study, or refuse it.

    ``spare`` is how many unreadable files could be of any stack. A ``number_from`` of "" takes either reading of
    numbers, and refuses the study where they differ. ``name_offset`` is what InstanceNumber is more than the number in
    the name, for all of a series; another difference is refused. ``chosen`` are series numbers chosen by hand.
    """
    linked = Linked()
    try:
        units = _units_of(
            labels, stacks, (number_from,) if number_from else READINGS, spare, chosen, linked.doubts
        )
        if name_offset is not None:
            _check_offset(units, name_offset, paths)
        _pair(linked, labels, units, paths)
    except Refused as refused:
        code, reason = refused.args
        return Linked(refused=dict.fromkeys(labels, (code, f"{reason}; the label is left out")))
    return linked


def _units_of(
    labels: Set[Number],
    stacks: Sequence[Stack],
    readings: Sequence[str],
    spare: int,
    chosen: Set[int],
    doubts: list[str],
) -> Units:
    """Return what the labels of each series number go to; nothing for those that are orphans."""
    if not labels:
        return {}
    studies = {each.study_uid for stack in stacks for each in stack.series if each.study_uid}
    if chosen:
        stacks = tuple(stack for stack in stacks if any(chosen_by(each) in chosen for each in stack.series))
        if not stacks:
            raise Refused(AMBIGUOUS, f"the study has no series of the chosen number; {ASK}")
    elif not stacks:
        raise Refused(_ORPHAN, "there is no usable image")
    elif len(studies) > 1:
        raise Refused(AMBIGUOUS, f"the images are of {len(studies)} studies (StudyInstanceUID); {ASK}")
    by_series: dict[int, set[int]] = defaultdict(set)
    for series, number in labels:
        by_series[series].add(number)
    if len(by_series) == 1:
        return one_series(by_series, stacks, readings, spare, chosen, doubts)
    return several_series(by_series, stacks, readings, spare)


def _check_offset(units: Units, offset: int, paths: Sequence[str]) -> None:
    """Refuse labels where an InstanceNumber is not ``offset`` more than the number in the name of its image."""
    for each in {
        each.example: each for found in units.values() for unit in found for each in unit.series
    }.values():
        by_header = {index: number for number, images in each.numbers[HEADER].items() for index in images}
        for number, images in each.numbers[NAME].items():
            for index in images:
                if by_header and by_header.get(index) != number + offset:
                    raise Refused(
                        _MISMATCH,
                        f"{paths[index]} has InstanceNumber {by_header.get(index, 'unknown')}, and by its name it "
                        f"should be {number + offset}; --number-from header or name decides",
                    )


def _pair(linked: Linked, labels: Set[Number], units: Units, paths: Sequence[str]) -> None:
    """Look each number up, all by one reading; where two readings give different images, refuse the study."""
    by_reading: dict[str, dict[Number, tuple[int, ...]]] = {reading: {} for reading in READINGS}
    for series, number in labels:
        for unit in units.get(series, ()):
            if number in unit.images:
                by_reading[unit.reading][series, number] = unit.images[number]
    header, name = by_reading[HEADER], by_reading[NAME]
    if differing := [label for label in header.keys() & name.keys() if header[label] != name[label]]:
        label = min(differing, key=lambda label: label[1])
        raise Refused(
            _MISMATCH,
            f"slice {label[1]} is {paths[header[label][0]]} by InstanceNumber and {paths[name[label][0]]} by the "
            "names of the files; `number_from` header or name decides",
        )
    found, other = (header, name) if len(header) >= len(name) else (name, header)
    # Where both readings know the series, neither may contradict the other on any pair.
    said = _numbers(units, NAME if found is header else HEADER) if other else {}
    for label in labels:
        if refused := _look_up(label[1], images := found.get(label, ()), paths, said):
            linked.refused[label] = refused
        else:
            linked.images[label] = images[0]
    linked.doubts += _scattered(linked, units)


def _numbers(units: Units, reading: str) -> dict[int, int]:
    return {
        index: number
        for found in units.values()
        for unit in found
        if unit.reading == reading
        for number, images in unit.images.items()
        for index in images
    }


def _look_up(
    number: int, images: Sequence[int], paths: Sequence[str], said: Mapping[int, int]
) -> tuple[str, str] | None:
    """Return the code and the reason why a number does not stand for one image; None where it does."""
    if not images:
        return _ORPHAN, f"slice {number} has no usable image; the label is left out"
    if len(images) > 1:
        both = " and ".join(paths[index] for index in images[:3])
        return "duplicate-image", f"{both} both stand for slice {number}; the label is left out"
    if said.get(images[0], number) == number:
        return None
    reason = (
        f"{paths[images[0]]} is slice {number} and slice {said[images[0]]}, by InstanceNumber and by its name"
    )
    return _MISMATCH, f"{reason}; `number_from` header or name decides; the label is left out"


def _scattered(linked: Linked, units: Units) -> Iterator[str]:
    """Doubt a stack of which drawn numbers fill few of the locations and phases that they touch."""
    for stack in {id(unit.stack): unit.stack for found in units.values() for unit in found}.values():
        drawn = [stack.placed[index] for index in linked.images.values() if index in stack.placed]
        cells = {(location, phase) for location, _, phase in drawn}
        locations, phases = {location for location, _ in cells}, {phase for _, phase in cells}
        complete = not stack.places.incomplete and stack.places.phases > 1 and -1 not in phases
        if (
            complete
            and len(cells) >= 4
            and len(locations) > 1
            and len(cells) < LEAST_FILLED * len(locations) * len(phases)
        ):
            yield f"they lie on {len(phases)} phases of {len(locations)} locations without an order"
