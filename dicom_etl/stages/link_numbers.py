"""Linking by number: which image a label means whose name says a series number and a slice number. Pure.

Numbers repeat from series to series, so labels go to one stack, or each series number to one series, and never to
whatever image happens to have their number. What is ambiguous is refused, with the candidates and the option that
decides. The rules are those of docs/folders.md; each was found to be needed on random studies.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import NamedTuple

from dicom_etl.stages.series import HEADER, NAME, READINGS, Series, Stack

AMBIGUOUS, MISMATCH, ORPHAN, DUPLICATE = (
    "ambiguous-series",
    "instance-mismatch",
    "orphan-contour",
    "duplicate-image",
)
LEAST_HELD = 0.8
"""Share of the labels' numbers that their stack has or could have had."""
FEW = 5
LEAST_FILLED = 0.45
"""Share of the locations x phases that drawn numbers touch; those of another stack scatter over its phases."""
_ASK = "`series` [PATIENT:]NUMBER decides, and `dicom-etl plan` lists the numbers"

Number = tuple[int, int]
"""The series number (-1 where a label has none) and the slice number that a label states."""


@dataclass
class Linked:
    """What became of each label: the index of its image, or why it has none; and reasons to doubt the pairs."""

    images: dict[Number, int] = field(default_factory=dict)
    refused: dict[Number, tuple[str, str]] = field(default_factory=dict)
    doubts: list[str] = field(default_factory=list)


class _Unit(NamedTuple):
    """Series whose numbers tell their images apart, as one reading has it."""

    stack: Stack
    reading: str
    series: tuple[Series, ...]
    images: Mapping[int, tuple[int, ...]]

    def has(self, numbers: Set[int]) -> set[int]:
        """Return those of the numbers that are there."""
        gone = frozenset[int]().union(*(each.gone for each in self.series))
        return {number for number in numbers if number in self.images or number in gone}

    def could_have(self, numbers: Set[int], spare: int = 0) -> int:
        """Count those of the numbers that are there or that missing images could have."""
        if not self.images:
            return 0
        least, last = min(self.images), max(self.images)
        within = {n for n in numbers if min(1, least) <= n <= last + self.stack.lacking}
        return min(len(within | self.has(numbers)) + spare, len(numbers))

    @property
    def example(self) -> str:
        return self.series[0].example


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
    """Find the image of each label.

    Parameters
    ----------
    labels : set of Number
        What the labels of one study state.
    stacks : sequence of Stack
        The images of the study.
    paths : sequence of str
        The file of each image, for messages.
    spare : int
        How many unreadable files could be of any stack.
    number_from : {"", "header", "name"}
        The reading of numbers to use; "" takes either, and refuses the study where they differ.
    name_offset : int, optional
        What InstanceNumber is more than the number in the name, for all of a series; another difference is refused.
    chosen : set of int
        Series numbers chosen by hand; empty to decide by the rules.

    Returns
    -------
    Linked
        An image or a refusal for each label.
    """
    linked = Linked()
    if not labels:
        return linked
    readings = (number_from,) if number_from else READINGS
    studies = {each.study_uid for stack in stacks for each in stack.series if each.study_uid}
    if chosen:
        stacks = tuple(stack for stack in stacks if any(chosen_by(each) in chosen for each in stack.series))
    if not stacks:
        reason = "the study has no series of the chosen number" if chosen else "there is no usable image"
        return _refuse(
            linked, labels, AMBIGUOUS if chosen else ORPHAN, f"{reason}; {_ASK}" if chosen else reason
        )
    if len(studies) > 1 and not chosen:
        return _refuse(
            linked, labels, AMBIGUOUS, f"the images are of {len(studies)} studies (StudyInstanceUID); {_ASK}"
        )
    by_series: dict[int, set[int]] = defaultdict(set)
    for series, number in labels:
        by_series[series].add(number)
    decide = _one_series if len(by_series) == 1 else _several_series
    units = decide(linked, by_series, stacks, readings, spare, chosen)
    if units and name_offset is not None and (reason := _other_offset(units, name_offset, paths)):
        return _refuse(Linked(), labels, MISMATCH, reason)
    return _paired(linked, labels, units, paths) if units else linked


def _other_offset(units: _Units, offset: int, paths: Sequence[str]) -> str:
    """Name an image whose InstanceNumber is not ``offset`` more than the number in its name; "" where there is none."""
    for each in {
        each.example: each for found in units.values() for unit in found for each in unit.series
    }.values():
        by_header = {index: number for number, images in each.numbers[HEADER].items() for index in images}
        for number, images in each.numbers[NAME].items():
            for index in images:
                if by_header and by_header.get(index) != number + offset:
                    says = by_header.get(index, "unknown")
                    return (
                        f"{paths[index]} has InstanceNumber {says}, and by its name it should be {number + offset}; "
                        "--number-from header or name decides"
                    )
    return ""


def chosen_by(series: Series) -> int:
    """Return the number by which a person chooses a series: SeriesNumber, else the one in its names."""
    return series.number if series.number >= 0 or series.named is None else series.named


def _refuse(linked: Linked, labels: Set[Number], code: str, reason: str) -> Linked:
    linked.refused |= dict.fromkeys(labels, (code, f"{reason}; the label is left out"))
    return linked


# What labels of each series number go to: at most one unit a reading.
_Units = Mapping[int, Sequence[_Unit]]


def _units(stacks: Sequence[Stack], readings: Sequence[str]) -> Iterator[_Unit]:
    """Yield each stack as each reading has it; where numbers repeat from series to series, each series by itself."""
    for stack in stacks:
        for reading in readings:
            parts = [each.numbers[reading] for each in stack.series]
            joined = {number: images for part in parts for number, images in part.items()}
            if len(joined) == sum(map(len, parts)):  # as in a stack of one series
                yield _Unit(stack, reading, stack.series, joined)
            else:
                for each in stack.series:
                    yield _Unit(stack, reading, (each,), each.numbers[reading])


def _one_series(
    linked: Linked,
    by_series: Mapping[int, set[int]],
    stacks: Sequence[Stack],
    readings: Sequence[str],
    spare: int,
    chosen: Set[int],
) -> _Units | None:
    """All labels go to one stack: the one that holds most of their numbers."""
    ((series, numbers),) = by_series.items()
    labels = {(series, number) for number in numbers}
    units = [unit for unit in _units(stacks, readings) if unit.has(numbers)]
    if chosen:
        units = [unit for unit in units if any(chosen_by(each) in chosen for each in unit.series)]
    if not units:
        _refuse_each(linked, labels)
        return None
    held = [unit.could_have(numbers, spare) for unit in units]
    most = max(held)
    best = [unit for unit, count in zip(units, held, strict=True) if count == most]
    if len(_places(best)) > 1:
        carrying = [unit for unit in best if any(each.named == series for each in unit.series)]
        if len(_places(carrying)) != 1:
            names = " and ".join(dict.fromkeys(unit.example for unit in best[:6]))
            reason = f"{most} of the {len(numbers)} numbers of these labels could be those of {names} alike; {_ASK}"
            _refuse(linked, labels, AMBIGUOUS, reason)
            return None
        if series == 1:
            linked.doubts.append(
                "another stack holds as many of their numbers, and series number 1 is a common one"
            )
        best = carrying
    place = _place(best[0])
    if not chosen and (reason := _too_few(units, place, most, len(numbers))):
        _refuse(linked, labels, AMBIGUOUS, f"{reason}; {_ASK}")
        return None
    winners = [unit for unit in units if _place(unit) == place]
    if not chosen:
        linked.doubts += _doubts(winners, series, numbers, stacks)
    rivals = [unit for unit in units if unit.reading not in {winner.reading for winner in winners}]
    if rivals:  # what the other reading would take, elsewhere
        winners.append(max(rivals, key=lambda unit: unit.could_have(numbers, spare)))
    return {series: winners}


def _place(unit: _Unit) -> tuple[str, ...]:
    """Return what a unit covers, whatever its reading."""
    return tuple(each.example for each in unit.series)


def _places(units: Sequence[_Unit]) -> set[tuple[str, ...]]:
    return {_place(unit) for unit in units}


def _refuse_each(linked: Linked, labels: Set[Number]) -> None:
    for series, number in labels:
        linked.refused[series, number] = (
            ORPHAN,
            f"slice {number} has no usable image; the label is left out",
        )


def _too_few(units: Sequence[_Unit], place: tuple[str, ...], most: int, total: int) -> str:
    """Say why too few of the labels' numbers are in the stack that has most of them; "" where they are enough."""
    if total >= FEW:
        enough = most >= LEAST_HELD * total
    else:
        enough = most == total or (most == total - 1 and all(_place(unit) == place for unit in units))
    return "" if enough else f"only {most} of the {total} numbers of these labels are those of {place[0]}"


def _doubts(winners: Sequence[_Unit], series: int, numbers: Set[int], stacks: Sequence[Stack]) -> list[str]:
    doubts = []
    named = any(each.named is not None for unit in winners for each in unit.series)
    carried = any(each.named == series for stack in stacks for each in stack.series)
    if named and not carried and series not in (-1, 1):
        doubts.append(f"no image name carries their series number {series}")
    held = max(unit.could_have(numbers) for unit in winners)
    if held < len(numbers):
        doubts.append(f"the stack has {held} of their {len(numbers)} numbers")
    return doubts


def _several_series(
    linked: Linked,
    by_series: Mapping[int, set[int]],
    stacks: Sequence[Stack],
    readings: Sequence[str],
    spare: int,
    chosen: Set[int],
) -> _Units | None:
    """Labels of several series numbers never share a series: each goes to the one that carries its own number."""
    labels = {(series, number) for series, numbers in by_series.items() for number in numbers}
    named: dict[int, list[tuple[Stack, Series]]] = defaultdict(list)
    for stack in stacks:
        for each in stack.series:
            if each.named is not None:
                named[each.named].append((stack, each))
    if -1 not in by_series and not named.keys().isdisjoint(by_series):
        found = _by_names(linked, by_series, named, readings, spare)
    elif -1 not in by_series:
        found = _by_series_number(by_series, stacks, readings, spare)
    else:
        found = None
    if found is None:
        linked.refused.clear()
        numbers = ", ".join(str(series) for series in sorted(by_series)[:6])
        candidates = " and ".join(dict.fromkeys(stack.example for stack in stacks[:6]))
        reason = f"no series is proven to be that of each of the labels' series numbers ({numbers}, ..)"
        _refuse(linked, labels, AMBIGUOUS, f"{reason}; there are {candidates}; {_ASK}")
    return found


def _by_names(
    linked: Linked,
    by_series: Mapping[int, set[int]],
    named: Mapping[int, Sequence[tuple[Stack, Series]]],
    readings: Sequence[str],
    spare: int,
) -> _Units | None:
    """Give each series number to the series whose names carry it and that holds half of its numbers at least."""
    carrying = [stack for series in by_series for stack, _ in named.get(series, ())]
    found: dict[int, Sequence[_Unit]] = {}
    for series, numbers in by_series.items():
        units = [
            [_Unit(stack, reading, (each,), each.numbers[reading]) for reading in readings]
            for stack, each in named.get(series, ())
        ]
        fitting = [both for both in units if _holds_half(both, numbers, spare)]
        if len(fitting) == 1:
            found[series] = fitting[0]
        elif units or not any(_in_gap(series, stack) for stack in carrying):
            return None
        else:
            _refuse_each(linked, {(series, number) for number in numbers})
    return found


def _holds_half(units: Sequence[_Unit], numbers: Set[int], spare: int) -> bool:
    return any(2 * unit.could_have(numbers, spare) >= len(numbers) for unit in units)


def _in_gap(series: int, stack: Stack) -> bool:
    named = [each.named for each in stack.series if each.named is not None]
    return min(named) < series < max(named)


def _by_series_number(
    by_series: Mapping[int, set[int]], stacks: Sequence[Stack], readings: Sequence[str], spare: int
) -> _Units | None:
    """Give each series number to that SeriesNumber of one stack, where no other shift of them fits it too."""
    fits: list[_Units] = []
    for stack in stacks:
        there = {each.number: each for each in stack.series}
        least = min(by_series)
        for shift in sorted({number - least for number in there}):
            found: dict[int, Sequence[_Unit]] = {}
            for series, numbers in by_series.items():
                each = there.get(series + shift)
                units = (
                    [_Unit(stack, r, (each,), each.numbers[r]) for r in readings] if each is not None else []
                )
                if _holds_half(units, numbers, spare):
                    found[series] = units
            if len(found) == len(by_series):
                fits.append(found if shift == 0 else {})
    return fits[0] if len(fits) == 1 and fits[0] else None


def _paired(linked: Linked, labels: Set[Number], units: _Units, paths: Sequence[str]) -> Linked:
    """Look each number up, all by one reading; where two readings give different images, refuse the study."""
    by_reading: dict[str, dict[Number, tuple[int, ...]]] = {reading: {} for reading in READINGS}
    for series, number in labels - linked.refused.keys():
        for unit in units.get(series, ()):
            if number in unit.images:
                by_reading[unit.reading][series, number] = unit.images[number]
    header, name = by_reading[HEADER], by_reading[NAME]
    for label in sorted(header.keys() & name.keys(), key=lambda label: label[1]):
        if header[label] != name[label]:
            reason = (
                f"slice {label[1]} is {paths[header[label][0]]} by InstanceNumber and {paths[name[label][0]]} by the "
                "names of the files; `number_from` header or name decides"
            )
            linked.doubts.clear()
            return _refuse(linked, labels, MISMATCH, reason)
    found, other = (header, name) if len(header) >= len(name) else (name, header)
    # Where both readings know the series, neither may contradict the other on any pair.
    said = _numbers(units, NAME if found is header else HEADER) if other else {}
    for label in labels - linked.refused.keys():
        _look_up(linked, label, found.get(label, ()), paths, said)
    linked.doubts += _scattered(linked, units)
    return linked


def _numbers(units: _Units, reading: str) -> dict[int, int]:
    """Return the number of each image by one reading."""
    return {
        index: number
        for found in units.values()
        for unit in found
        if unit.reading == reading
        for number, images in unit.images.items()
        for index in images
    }


def _look_up(
    linked: Linked, label: Number, images: Sequence[int], paths: Sequence[str], said: Mapping[int, int]
) -> None:
    number = label[1]
    if not images:
        return _refuse_each(linked, {label})
    if len(images) > 1:
        both = " and ".join(paths[index] for index in images[:3])
        linked.refused[label] = (DUPLICATE, f"{both} both stand for slice {number}; the label is left out")
    elif said.get(images[0], number) != number:
        reason = f"{paths[images[0]]} is slice {number} and slice {said[images[0]]}, by InstanceNumber and by its name"
        linked.refused[label] = (
            MISMATCH,
            f"{reason}; `number_from` header or name decides; the label is left out",
        )
    else:
        linked.images[label] = images[0]
    return None


def _scattered(linked: Linked, units: _Units) -> Iterator[str]:
    """Doubt a stack of which drawn numbers fill few of the locations and phases that they touch."""
    for stack in {id(unit.stack): unit.stack for found in units.values() for unit in found}.values():
        cells = {stack.cells[index] for index in linked.images.values() if index in stack.cells}
        locations, phases = {location for location, _ in cells}, {phase for _, phase in cells}
        complete = not stack.places.incomplete and stack.places.phases > 1 and -1 not in phases
        if (
            complete
            and len(cells) >= 4
            and len(locations) > 1
            and len(cells) < LEAST_FILLED * len(locations) * len(phases)
        ):
            yield f"they lie on {len(phases)} phases of {len(locations)} locations without an order"
