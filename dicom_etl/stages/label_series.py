"""Linking by number: which stack, or which series, labels of each series number go to. Pure; see `link_numbers`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence, Set
from typing import NamedTuple

from dicom_etl.stages.series import Series, Stack

AMBIGUOUS = "ambiguous-series"
LEAST_HELD = 0.8
"""Share of the labels' numbers that their stack has or could have had."""
FEW = 5
ASK = "`series` [PATIENT:]NUMBER decides, and `dicom-etl plan` lists the numbers"


class Refused(Exception):  # noqa: N818  - no error: the labels of the study are left out, and that is reported
    """Why no label of a study can be linked by number: a code, and the reason."""


class Unit(NamedTuple):
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
        """Count those of the numbers that are there or that missing images could have, at most as many as are there.

        Else a slice acquired again, at its two ends, would hold all that lies between.
        """
        if not self.images:
            return 0
        least, last = min(self.images), max(self.images)
        there = self.has(numbers)
        within = {n for n in numbers if min(1, least) <= n <= last + self.stack.lacking}
        return min(len(within | there) + spare, len(numbers), 2 * len(there) + spare)

    @property
    def place(self) -> tuple[str, ...]:
        """The paths of the first images of its series: where it lies, by whatever reading."""
        return tuple(each.example for each in self.series)


Units = Mapping[int, Sequence[Unit]]
"""What labels of each series number go to: at most one unit a reading."""


def chosen_by(series: Series) -> int:
    """Return the number by which a person chooses a series: SeriesNumber, else the one in its names."""
    return series.number if series.number >= 0 or series.named is None else series.named


def one_series(
    by_series: Mapping[int, set[int]],
    stacks: Sequence[Stack],
    readings: Sequence[str],
    spare: int,
    chosen: Set[int],
    doubts: list[str],
) -> Units:
    """All labels go to one stack: the one that holds most of their numbers; ``doubts`` takes what makes that unsure."""
    ((series, numbers),) = by_series.items()
    units = [unit for unit in _units(stacks, readings) if unit.has(numbers)]
    if chosen:
        units = [unit for unit in units if any(chosen_by(each) in chosen for each in unit.series)]
    if not units:
        return {}
    ranked = [(unit, unit.could_have(numbers, spare), len(unit.has(numbers))) for unit in units]
    most, fullest = max(could for _, could, _ in ranked), max(has for _, _, has in ranked)
    best = [unit for unit, could, _ in ranked if could == most]
    # One could have more, another has more: neither is proven (two slices acquired again took a cine's labels).
    if all(has < fullest for _, could, has in ranked if could == most):
        best += [unit for unit, _, has in ranked if has == fullest]
    if len({unit.place for unit in best}) > 1:
        carrying = [unit for unit in best if any(each.named == series for each in unit.series)]
        if len({unit.place for unit in carrying}) != 1:
            names = " and ".join(dict.fromkeys(unit.place[0] for unit in best[:6]))
            reason = (
                f"up to {most} of the {len(numbers)} numbers of these labels could be those of {names} alike"
            )
            raise Refused(AMBIGUOUS, f"{reason}; {ASK}")
        if series == 1:
            doubts.append("another stack holds as many of their numbers, and series number 1 is a common one")
        best = carrying
    place = best[0].place
    winners = [unit for unit in units if unit.place == place]
    if not chosen:
        could = best[0].could_have(numbers, spare)
        if not _are_enough(could, len(numbers), alone=len(winners) == len(units)):
            reason = f"only {could} of the {len(numbers)} numbers of these labels are those of {place[0]}"
            raise Refused(AMBIGUOUS, f"{reason}; {ASK}")
        doubts += _doubts(winners, series, numbers, stacks)
    rivals = [unit for unit in units if unit.reading not in {winner.reading for winner in winners}]
    if rivals:  # what the other reading would take, elsewhere
        winners.append(max(rivals, key=lambda unit: unit.could_have(numbers, spare)))
    return {series: winners}


def _units(stacks: Sequence[Stack], readings: Sequence[str]) -> Iterator[Unit]:
    """Yield each stack as each reading has it; where numbers repeat from series to series, each series by itself."""
    for stack in stacks:
        for reading in readings:
            parts = [each.numbers[reading] for each in stack.series]
            joined = {number: images for part in parts for number, images in part.items()}
            if len(joined) == sum(map(len, parts)):  # as in a stack of one series
                yield Unit(stack, reading, stack.series, joined)
            else:
                for each in stack.series:
                    yield Unit(stack, reading, (each,), each.numbers[reading])


def _are_enough(held: int, total: int, *, alone: bool) -> bool:
    """Tell whether a stack holds enough of the labels' numbers; ``alone`` where no other holds any."""
    if total >= FEW:
        return held >= LEAST_HELD * total
    return held == total or (held == total - 1 and alone)


def _doubts(winners: Sequence[Unit], series: int, numbers: Set[int], stacks: Sequence[Stack]) -> list[str]:
    doubts = []
    named = any(each.named is not None for unit in winners for each in unit.series)
    carried = any(each.named == series for stack in stacks for each in stack.series)
    if named and not carried and series not in (-1, 1):
        doubts.append(f"no image name carries their series number {series}")
    held = max(unit.could_have(numbers) for unit in winners)
    if held < len(numbers):
        doubts.append(f"the stack has {held} of their {len(numbers)} numbers")
    return doubts


def several_series(
    by_series: Mapping[int, set[int]], stacks: Sequence[Stack], readings: Sequence[str], spare: int
) -> Units:
    """Labels of several series numbers never share a series: each goes to the one that carries its own number."""
    named: dict[int, list[tuple[Stack, Series]]] = defaultdict(list)
    for stack in stacks:
        for each in stack.series:
            if each.named is not None:
                named[each.named].append((stack, each))
    found: Units | None = None
    if -1 not in by_series and not named.keys().isdisjoint(by_series):
        found = _by_names(by_series, named, readings, spare)
    elif -1 not in by_series:
        found = _by_series_number(by_series, stacks, readings, spare)
    if found is None:
        numbers = ", ".join(str(series) for series in sorted(by_series)[:6])
        candidates = " and ".join(dict.fromkeys(stack.example for stack in stacks[:6]))
        reason = f"no series is proven to be that of each of the labels' series numbers ({numbers}, ..)"
        raise Refused(AMBIGUOUS, f"{reason}; there are {candidates}; {ASK}")
    return found


def _by_names(
    by_series: Mapping[int, set[int]],
    named: Mapping[int, Sequence[tuple[Stack, Series]]],
    readings: Sequence[str],
    spare: int,
) -> Units | None:
    """Give each series number to the series whose names carry it and that holds half of its numbers at least.

    One in a gap of a stack's series numbers goes to none.
    """
    carrying = [stack for series in by_series for stack, _ in named.get(series, ())]
    found: dict[int, Sequence[Unit]] = {}
    for series, numbers in by_series.items():
        units = [_of_series(stack, each, readings) for stack, each in named.get(series, ())]
        fitting = [both for both in units if _holds_half(both, numbers, spare)]
        if len(fitting) == 1:
            found[series] = fitting[0]
        elif units or not any(_in_gap(series, stack) for stack in carrying):
            return None
    return found


def _of_series(stack: Stack, series: Series, readings: Sequence[str]) -> list[Unit]:
    return [Unit(stack, reading, (series,), series.numbers[reading]) for reading in readings]


def _holds_half(units: Sequence[Unit], numbers: Set[int], spare: int) -> bool:
    return any(2 * unit.could_have(numbers, spare) >= len(numbers) for unit in units)


def _in_gap(series: int, stack: Stack) -> bool:
    named = [each.named for each in stack.series if each.named is not None]
    return min(named) < series < max(named)


def _by_series_number(
    by_series: Mapping[int, set[int]], stacks: Sequence[Stack], readings: Sequence[str], spare: int
) -> Units | None:
    """Give each series number to that SeriesNumber of one stack, where no other shift of them fits it too."""
    fits: list[Units] = []
    for stack in stacks:
        there = {each.number: each for each in stack.series}
        least = min(by_series)
        for shift in sorted({number - least for number in there}):
            found: dict[int, Sequence[Unit]] = {}
            for series, numbers in by_series.items():
                each = there.get(series + shift)
                units = _of_series(stack, each, readings) if each is not None else []
                if _holds_half(units, numbers, spare):
                    found[series] = units
            if len(found) == len(by_series):
                fits.append(found if shift == 0 else {})
    return fits[0] if len(fits) == 1 and fits[0] else None
