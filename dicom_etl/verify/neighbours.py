"""Which contours of a study lie next to each other: along the stack, and along the cardiac cycle."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from dicom_etl.records import ContourFacts, SampleFacts


@dataclass(frozen=True, slots=True, eq=False)
class Place:
    """A contour and the sample that it is drawn on; compared by identity."""

    facts: SampleFacts
    contour: ContourFacts


def along_stack(study: Sequence[SampleFacts]) -> list[list[Place]]:
    """Return the contours of each structure and phase in order of location; where these are known."""
    lines: dict[tuple[str, int], list[Place]] = defaultdict(list)
    for place in _places(study):
        lines[place.contour.structure, place.facts.phase_index].append(place)
    return [sorted(line, key=lambda place: place.facts.location_index) for _, line in sorted(lines.items())]


def pairs(line: Sequence[Place]) -> list[tuple[Place, Place]]:
    """Return those that lie at adjacent locations."""
    return [
        (one, other)
        for one, other in pairwise(line)
        if other.facts.location_index - one.facts.location_index == 1
    ]


def neighbours(study: Sequence[SampleFacts], structure: str) -> Iterator[tuple[Place, Place]]:
    """Yield all contours of a structure that are next to each other.

    At adjacent locations of a phase, or in drawn phases of a location that follow each other.
    """
    own = [line for line in along_stack(study) if line[0].contour.structure == structure]
    for line in own:
        yield from pairs(line)
    by_location: dict[int, list[Place]] = defaultdict(list)
    for line in own:
        for place in line:
            by_location[place.facts.location_index].append(place)
    for _, places in sorted(by_location.items()):
        yield from pairwise(sorted(places, key=lambda place: place.facts.phase_index))


def _places(study: Sequence[SampleFacts]) -> Iterator[Place]:
    for facts in study:
        if facts.location_index >= 0 and facts.phase_index >= 0:
            for contour in facts.contours:
                yield Place(facts, contour)
