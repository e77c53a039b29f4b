"""Which images of a study were acquired together: series, the stacks that they make up, and what numbers an image has.

A series is all images of one SeriesInstanceUID, SeriesNumber, size, orientation, and series number in the file names
where these have one: the Cardiac Atlas Project gives all series of a patient one SeriesInstanceUID. A stack is one
series; or series of one position each, as Siemens stores a cine: parallel, of equal size and spacing, at distinct
positions, none with less than half the phases of another. Of a slice acquired again the earlier series belongs to the
stack, each later one is a stack of its own.
"""

from __future__ import annotations

from bisect import bisect
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import inf, isnan
from typing import Any

import numpy as np

from dicom_etl.geometry.locations import LOCATION_TOLERANCE_MM, StackPlaces, place_images, slice_normal
from dicom_etl.records import ImageHeader
from dicom_etl.stages.image_names import Name, images_by_name, number_of, running_on, usable

HEADER, NAME = "header", "name"
READINGS = (HEADER, NAME)
"""What tells the number of an image: InstanceNumber (or the place of a frame), or the name of its file."""
PARALLEL = 1e-4
"""Most that a direction cosine differs within a stack; within a series of the Sunnybrook data it is 1e-6."""


@dataclass(frozen=True)
class Series:
    """Images acquired together; ``members`` are their indices, in order of path, ``example`` the path of the first.

    ``number`` is SeriesNumber, -1 where it is unknown; ``named`` the series number in the names of its files;
    ``numbers`` holds by reading the images that each number stands for; ``pattern`` is the text of its file names, with
    a mark where their number stands, () where names give none; ``acquired`` the earliest AcquisitionTime; ``gone`` are
    the numbers, by their names, of files whose headers cannot be read either.
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
    """Series that make up one stack; ``members`` have their ``places``, which are short of ``lacking`` images."""

    series: tuple[Series, ...]
    members: tuple[int, ...]
    places: StackPlaces
    lacking: int

    @property
    def example(self) -> str:
        """Path of its first image."""
        return self.series[0].example

    @cached_property
    def placed(self) -> dict[int, tuple[int, float, int]]:
        """Location, that in mm, and phase of each image."""
        places = self.places
        columns = (places.location_index, places.slice_location_mm, places.phase_index)
        return dict(
            zip(self.members, zip(*(column.tolist() for column in columns), strict=True), strict=True)
        )


def find_stacks(
    paths: Sequence[str],
    headers: Sequence[ImageHeader],
    lost: frozenset[int] = frozenset(),
    unreadable: Sequence[str] = (),
) -> tuple[tuple[Stack, ...], int]:
    """Group the images of a study, one path and header a frame; stacks are by SeriesNumber, then path.

    Images that are ``lost`` cannot be read but for their header: they have numbers, and no place in a stack. Of
    ``unreadable`` files not even the header can be read; also return how many of these could be of any stack.
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
            (place, number)
            for place, each in enumerate(series)
            if (number := number_of(path, each.pattern)) is not None
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


def _series(paths: Sequence[str], headers: Sequence[ImageHeader]) -> Iterator[Series]:
    names = {
        path: Name(path, multi_frame=header.frames > 1) for path, header in zip(paths, headers, strict=True)
    }
    directions = _directions(header.orientation for header in headers)
    groups: dict[tuple[Any, ...], dict[int | None, list[int]]] = defaultdict(lambda: defaultdict(list))
    for index, (path, header) in enumerate(zip(paths, headers, strict=True)):
        key = (
            header.study_uid,
            header.series_uid,
            header.series_number,
            header.rows,
            header.columns,
            directions[header.orientation],
        )
        groups[key][names[path].series].append(index)
    runs_on = running_on([members for named in groups.values() for members in named.values()], paths, names)
    for key, by_name in groups.items():
        if (
            None in by_name and len(by_name) == 2
        ):  # a file whose name says no series is of the only one there is
            unnamed = by_name.pop(None)
            by_name[next(iter(by_name))] += unnamed
        for named, members in by_name.items():
            members.sort(key=lambda index: (paths[index], headers[index].frame))
            by_header = _by_header(members, headers)
            by_field, pattern = images_by_name(members, paths, names, headers)
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


def _directions(orientations: Iterable[tuple[float, ...]]) -> dict[tuple[float, ...], int]:
    """Give each orientation a number; those that differ by rounding have one number, unknown ones -1."""
    numbers: dict[tuple[float, ...], int] = {}
    known: list[tuple[float, ...]] = []
    for cosines in dict.fromkeys(orientations):
        if isnan(cosines[0]):
            numbers[cosines] = -1
            continue
        off = np.abs(np.array([*known, cosines]) - cosines).max(axis=1)
        off[-1] = PARALLEL  # no other is nearer
        numbers[cosines] = nearest = int(off.argmin())
        if nearest == len(known):
            known.append(cosines)
    return numbers


def _by_header(members: Iterable[int], headers: Sequence[ImageHeader]) -> dict[int, tuple[int, ...]]:
    found: dict[int, list[int]] = defaultdict(list)
    for index in members:
        header = headers[index]
        found[header.place if header.frames > 1 else header.instance_number].append(index)
    found.pop(-1, None)
    return usable(found)


def _stacked(series: Sequence[Series], headers: Sequence[ImageHeader]) -> Iterator[list[Series]]:
    parallel: dict[tuple[Any, ...], list[tuple[Series, float]]] = defaultdict(list)
    placed = [(each, headers[each.members[0]], _only_position(each, headers)) for each in series]
    directions = _directions(header.orientation for _, header, position in placed if position is not None)
    for each, header, position in placed:
        if position is None:
            yield [each]
            continue
        spacing = tuple(round(mm, 4) for mm in header.pixel_spacing_mm)
        direction = directions[header.orientation]
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
