"""Which images of a study were acquired together: series, the stacks that they make up, and what numbers an image has.

A series is all images of one SeriesInstanceUID, SeriesNumber, size, orientation, and series number in the file names
where these have one: the Cardiac Atlas Project gives all series of a patient one SeriesInstanceUID. A stack is one
series; or series of one position each, as Siemens stores a cine: parallel, of equal size and spacing, at distinct
positions, none with less than half the phases of another. Of a slice acquired again the earlier series belongs to the
stack, each later one is a stack of its own.
"""

from __future__ import annotations

import re
from bisect import bisect
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from math import inf, isnan
from typing import Any

import numpy as np

from dicom_etl.geometry.locations import LOCATION_TOLERANCE_MM, StackPlaces, place_images, slice_normal
from dicom_etl.layouts.pseudonyms import real_of
from dicom_etl.records import ImageHeader

HEADER, NAME = "header", "name"
READINGS = (HEADER, NAME)
"""What tells the number of an image: InstanceNumber (or the place of a frame), or the name of its file."""
PARALLEL = 1e-4
"""Most that a direction cosine differs within a stack; within a series of the Sunnybrook data it is 1e-6."""

_ENDINGS = frozenset({"dcm", "dicom", "ima", "img"})
_BUILT_LIKE_LABELS = re.compile(r"im[-_]([0-9]{1,9})[-_]([0-9]{1,9})(?:[-_].*)?", re.IGNORECASE)
_UID_PARTS = 5
_UID_IN_NAME = re.compile(r"(?:[0-9]+[.\-_]){4,}[0-9]+")
_DIGITS = re.compile(r"([0-9]+)")
_NUMBER = "#"
"""Where the number stands in a pattern."""


def _stem(path: str) -> str:
    name = real_of(path).rpartition("/")[2]
    stem, _, ending = name.rpartition(".")
    return stem if ending.casefold() in _ENDINGS else name


class Name:
    """What the name of an image file says: the series number and the number, where it is built like those of labels."""

    __slots__ = ("fields", "number", "series", "skeleton")

    def __init__(self, path: str, *, multi_frame: bool) -> None:
        stem = _stem(path)
        parts = _DIGITS.split(stem)
        if len(parts) > 2 * _UID_PARTS and _UID_IN_NAME.search(stem):
            parts = []
        self.skeleton, self.fields = tuple(parts[::2]), tuple(parts[1::2])
        built = _BUILT_LIKE_LABELS.fullmatch(stem) if stem[:2].casefold() == "im" else None
        self.series = self.number = None
        if built is not None:
            self.series, self.number = int(built[1]), int(built[2])
        elif multi_frame and len(self.fields) == 1:
            self.series = int(self.fields[0])


def numbers_in_name(path: str) -> set[int]:
    """Return every number in the name of a file; none in one that holds a UID."""
    return {int(field) for field in Name(path, multi_frame=False).fields}


@dataclass(frozen=True)
class Series:
    """Images acquired together; ``members`` are their indices, in order of path.

    Attributes
    ----------
    number : int
        SeriesNumber, -1 where it is unknown.
    named : int, optional
        The series number in the names of its files.
    example : str
        Path of its first image.
    numbers : mapping of str to mapping of int to tuple of int
        By reading, the images that each number stands for.
    pattern : tuple of str
        The text of its file names, with `_NUMBER` where their number stands; () where names give none.
    gone : frozenset of int
        Numbers of files whose headers cannot be read either, by their names.
    study_uid, acquired : str
        StudyInstanceUID, and the earliest AcquisitionTime.
    """

    members: tuple[int, ...]
    number: int
    named: int | None
    example: str
    numbers: Mapping[str, Mapping[int, tuple[int, ...]]]
    pattern: tuple[str, ...]
    study_uid: str
    acquired: str
    gone: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Stack:
    """Series that make up one stack, with the place of each of ``members``, in their order.

    ``lacking`` is how many images its locations are short of.
    """

    series: tuple[Series, ...]
    members: tuple[int, ...]
    places: StackPlaces
    lacking: int

    @property
    def example(self) -> str:
        """Path of its first image."""
        return self.series[0].example

    @cached_property
    def cells(self) -> dict[int, tuple[int, int]]:
        """Location and phase of each image."""
        places = self.places
        return dict(
            zip(
                self.members,
                zip(places.location_index.tolist(), places.phase_index.tolist(), strict=True),
                strict=True,
            )
        )


def find_stacks(
    paths: Sequence[str],
    headers: Sequence[ImageHeader],
    lost: frozenset[int] = frozenset(),
    unreadable: Sequence[str] = (),
) -> tuple[tuple[Stack, ...], int]:
    """Group the images of a study.

    Parameters
    ----------
    paths, headers : sequence of str, of ImageHeader
        One each frame of each file.
    lost : frozenset of int
        Images that cannot be read but for their header: they have numbers, and no place in a stack.
    unreadable : sequence of str
        Files that may be images, and of which not even the header can be read.

    Returns
    -------
    stacks : tuple of Stack
        By SeriesNumber, then path.
    spare : int
        How many unreadable files could be of any stack.
    """
    series, spare = _with_gone(list(_series(paths, headers)), paths, unreadable)
    stacks = [_stack(group, headers, lost) for group in _stacked(series, headers)]
    return tuple(sorted(stacks, key=lambda stack: (stack.series[0].number, stack.example))), spare


def _with_gone(
    series: list[Series], paths: Sequence[str], unreadable: Sequence[str]
) -> tuple[list[Series], int]:
    """Give each unreadable file to the series whose names it fits, and count those that fit none or several."""
    gone: dict[int, set[int]] = defaultdict(set)
    spare = 0
    for path in unreadable:
        fitting = [
            (place, number) for place, each in enumerate(series) if (number := _fit(path, each)) is not None
        ]
        if len(fitting) > 1:
            folder = path.rpartition("/")[0]
            fitting = [item for item in fitting if series[item[0]].example.rpartition("/")[0] == folder]
        if len(fitting) == 1:
            gone[fitting[0][0]].add(fitting[0][1])
        else:
            spare += 1
    for place, numbers in gone.items():
        series[place] = replace(series[place], gone=frozenset(numbers))
    return series, spare


def _fit(path: str, series: Series) -> int | None:
    """Return the number that a file would have in a series, None where it is not named as the others are."""
    parts = _DIGITS.split(_stem(path))
    if len(parts) != len(series.pattern):
        return None
    differing = [part for part, same in zip(parts, series.pattern, strict=True) if part != same]
    place = series.pattern.index(_NUMBER)
    return int(parts[place]) if len(differing) == 1 and parts[place].isdigit() else None


def _series(paths: Sequence[str], headers: Sequence[ImageHeader]) -> Iterator[Series]:
    names = {
        path: Name(path, multi_frame=header.frames > 1) for path, header in zip(paths, headers, strict=True)
    }
    directions = _Directions()
    groups: dict[tuple[Any, ...], dict[int | None, list[int]]] = defaultdict(lambda: defaultdict(list))
    for index, (path, header) in enumerate(zip(paths, headers, strict=True)):
        key = (
            header.study_uid,
            header.series_uid,
            header.series_number,
            header.rows,
            header.columns,
            directions.find(header.orientation),
        )
        groups[key][names[path].series].append(index)
    runs_on = _running_on([members for named in groups.values() for members in named.values()], paths, names)
    for key, by_name in groups.items():
        if (
            None in by_name and len(by_name) == 2
        ):  # a file whose name says no series is of the only one there is
            unnamed = by_name.pop(None)
            by_name[next(iter(by_name))] += unnamed
        for named, members in by_name.items():
            members.sort(key=lambda index: (paths[index], headers[index].frame))
            by_header = _by_header(members, headers)
            by_field, pattern = _by_name(members, paths, names, headers)
            times = [headers[index].acquisition_time for index in members]
            yield Series(
                tuple(members),
                headers[members[0]].series_number,
                named,
                paths[members[0]],
                {HEADER: by_header, NAME: {} if runs_on and not by_header else by_field},
                pattern,
                str(key[0]),
                min(filter(None, times), default="~"),
            )


class _Directions:
    """Numbers the orientations of a study; those that differ by rounding have one number."""

    def __init__(self) -> None:
        self._known: dict[tuple[float, ...], int] = {}
        self._first: list[tuple[float, ...]] = []

    def find(self, cosines: tuple[float, ...]) -> int:
        number = self._known.get(cosines)
        if number is None:
            number = self._known[cosines] = self._new(cosines)
        return number

    def _new(self, cosines: tuple[float, ...]) -> int:
        if isnan(cosines[0]):
            return -1
        if self._first:
            off = np.abs(np.array(self._first) - cosines).max(axis=1)
            nearest = int(off.argmin())
            if off[nearest] <= PARALLEL:
                return nearest
        self._first.append(cosines)
        return len(self._first) - 1


def _by_header(members: Iterable[int], headers: Sequence[ImageHeader]) -> dict[int, tuple[int, ...]]:
    found: dict[int, list[int]] = defaultdict(list)
    for index in members:
        header = headers[index]
        found[header.place if header.frames > 1 else header.instance_number].append(index)
    found.pop(-1, None)
    return _usable(found)


def _by_name(
    members: Sequence[int], paths: Sequence[str], names: Mapping[str, Name], headers: Sequence[ImageHeader]
) -> tuple[dict[int, tuple[int, ...]], tuple[str, ...]]:
    """Return the images by the one field of their names that differs in every file, and the pattern of the names."""
    nothing: tuple[dict[int, tuple[int, ...]], tuple[str, ...]] = ({}, ())
    if any(headers[index].frames > 1 for index in members):
        return nothing
    (skeleton, count), *_ = Counter(names[paths[index]].skeleton for index in members).most_common(1)
    if 2 * count <= len(members):
        return nothing
    alike = [index for index in members if names[paths[index]].skeleton == skeleton]
    first = names[paths[alike[0]]]
    columns = list(zip(*(names[paths[index]].fields for index in alike), strict=True))
    if len(alike) == 1 and first.number is not None:
        differing = [1]  # as in the names of labels
    else:
        numbers = [tuple(map(int, column)) for column in columns]
        differing = [place for place, column in enumerate(numbers) if _most_differ(column)]
        differing = differing[:1] if len({numbers[place] for place in differing}) == 1 else []
    if not differing:
        return nothing
    found: dict[int, list[int]] = defaultdict(list)
    for number, index in zip(columns[differing[0]], alike, strict=True):
        found[int(number)].append(index)
    pattern = [part for pair in zip(skeleton, (*first.fields, ""), strict=True) for part in pair][:-1]
    pattern[2 * differing[0] + 1] = _NUMBER
    return _usable(found), tuple(pattern)


def _most_differ(column: Sequence[int]) -> bool:
    """Tell whether a field tells files apart; one number that repeats is refused alone (see `_usable`)."""
    repeated = [number for number, count in Counter(column).items() if count > 1]
    return not repeated or (len(repeated) == 1 and len(set(column)) + 1 == len(column) > 2)


def _usable(found: Mapping[int, Sequence[int]]) -> dict[int, tuple[int, ...]]:
    """Return a reading, or none where several of its numbers stand for more than one image."""
    if sum(len(images) > 1 for images in found.values()) > 1:
        return {}
    return {number: tuple(images) for number, images in found.items()}


def _running_on(groups: Sequence[Sequence[int]], paths: Sequence[str], names: Mapping[str, Name]) -> bool:
    """Tell whether the names of several series share one running number, which then says nothing of a slice."""
    ranges: dict[tuple[str, ...], list[tuple[int, int]]] = defaultdict(list)
    for members in groups:
        first = names[paths[members[0]]]
        if first.fields:
            last = [int(names[paths[index]].fields[-1]) for index in members if names[paths[index]].fields]
            ranges[first.skeleton].append((min(last), max(last)))
    for spans in ranges.values():
        spans.sort()
        if len(spans) > 1 and all(one[1] < other[0] for one, other in pairwise(spans)):
            return True
    return False


def _stacked(series: Sequence[Series], headers: Sequence[ImageHeader]) -> Iterator[list[Series]]:
    """Yield the series of each stack."""
    parallel: dict[tuple[Any, ...], list[tuple[Series, float]]] = defaultdict(list)
    directions = _Directions()
    for each in series:
        position = _only_position(each, headers)
        if position is None:
            yield [each]
            continue
        header = headers[each.members[0]]
        spacing = tuple(round(mm, 4) for mm in header.pixel_spacing_mm)
        direction = directions.find(header.orientation)
        parallel[each.study_uid, header.rows, header.columns, spacing, direction].append((each, position))
    for group in parallel.values():
        group.sort(key=lambda item: -len(item[0].members))
        while group:
            most = len(group[0][0].members)
            alike = [item for item in group if 2 * len(item[0].members) >= most]
            group = group[len(alike) :]
            yield from _at_distinct_positions(alike)


def _only_position(series: Series, headers: Sequence[ImageHeader]) -> float | None:
    """Return where along its normal a series of one position lies, in mm; None for any other series."""
    a, b, c = slice_normal(headers[series.members[0]].orientation).tolist()
    least, most = inf, -inf
    for index in series.members:
        x, y, z = headers[index].position_mm
        along = a * x + b * y + c * z
        if along < least:  # never where it is unknown
            least = along
        if along > most:
            most = along
        if most - least > LOCATION_TOLERANCE_MM:
            return None
    return least if least < inf else None


def _at_distinct_positions(series: Sequence[tuple[Series, float]]) -> Iterator[list[Series]]:
    """Yield those that make up one stack, and each slice acquired again later by itself."""
    taken = [-inf, inf]
    stack: list[Series] = []
    for each, position in sorted(
        series, key=lambda item: (item[0].acquired, item[0].number, item[0].example)
    ):
        place = bisect(taken, position)
        if min(position - taken[place - 1], taken[place] - position) <= LOCATION_TOLERANCE_MM:
            yield [each]
        else:
            taken.insert(place, position)
            stack.append(each)
    yield stack


def _stack(series: Sequence[Series], headers: Sequence[ImageHeader], lost: frozenset[int]) -> Stack:
    ordered = tuple(sorted(series, key=lambda each: (each.number, each.example)))
    members = tuple(index for each in ordered for index in each.members if index not in lost)
    places = place_images([headers[index] for index in members])
    unread = sum(len(each.members) for each in ordered) - len(members)
    counts = Counter(places.location_index.tolist())
    lacking = sum(max(places.phases - counts[location], 0) for location in places.incomplete)
    return Stack(ordered, members, places, max(lacking - unread, 0))
