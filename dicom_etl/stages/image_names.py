"""What the names of image files say: a series number, a number, and whether it runs on over several series. Pure."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from itertools import pairwise

from dicom_etl.layouts.pseudonyms import real_of
from dicom_etl.records import ImageHeader

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


def number_of(path: str, pattern: Sequence[str]) -> int | None:
    """Return the number that a file would have among others of a pattern, None where it is not named as they are."""
    parts = _DIGITS.split(_stem(path))
    if len(parts) != len(pattern):
        return None
    differing = [part for part, same in zip(parts, pattern, strict=True) if part != same]
    place = pattern.index(_NUMBER)
    return int(parts[place]) if len(differing) == 1 and parts[place].isdigit() else None


def images_by_name(
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
    return usable(found), tuple(pattern)


def _most_differ(column: Sequence[int]) -> bool:
    """Tell whether a field tells files apart; one number that repeats is refused alone (see `usable`)."""
    repeated = [number for number, count in Counter(column).items() if count > 1]
    return not repeated or (len(repeated) == 1 and len(set(column)) + 1 == len(column) > 2)


def usable(found: Mapping[int, Sequence[int]]) -> dict[int, tuple[int, ...]]:
    """Return a reading, or none where several of its numbers stand for more than one image."""
    if sum(len(images) > 1 for images in found.values()) > 1:
        return {}
    return {number: tuple(images) for number, images in found.items()}


def running_on(groups: Sequence[Sequence[int]], paths: Sequence[str], names: Mapping[str, Name]) -> bool:
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
