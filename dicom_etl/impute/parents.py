"""Which slices can be filled, and from which two: neighbours along the stack or around the cardiac cycle."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import inf, isfinite
from typing import Literal

import numpy as np

from dicom_etl.impute.cycle import SHARE_DIGITS, later_share, period_ms

Axis = Literal["spatial", "temporal"]
SPATIAL: Axis = "spatial"
TEMPORAL: Axis = "temporal"
BOTH = "both"

BEYOND = "beyond the outermost drawn location"
TOO_FAR = "the gap is wider than `impute_max_gap`"
ALONE = "not between two drawn slices"
UNPLACED = "location or phase unknown"
"""Why an image is not filled."""


@dataclass(frozen=True, slots=True)
class SlicePlace:
    """Where one image of a study lies; -1 and NaN where unknown, as in `geometry`."""

    location: int
    location_mm: float
    phase: int
    time_ms: float


@dataclass(frozen=True, slots=True)
class ParentLink:
    """The two slices that a slice is made of: of its phase, one on each side, or of its location, before and after."""

    axis: Axis
    parents: tuple[int, int]
    """Positions in the study's list of places."""
    weights: tuple[float, float]
    """Their shares, adding up to 1."""
    gap: float
    """Distance between the parents, mm or ms."""
    distance: float
    """Distance to the nearer parent, mm or ms."""


@dataclass(frozen=True, slots=True)
class Reach:
    """How far apart parents may be, in mm along the stack and in ms around the cycle."""

    mm: float
    ms: float


def spatial_links(
    places: Sequence[SlicePlace], drawn: Collection[int], most_mm: float
) -> dict[int, ParentLink]:
    """Link each slice between two drawn ones of its phase, at most ``most_mm`` apart, to the nearest on either side.

    By position; weights go with the distance in mm. Nothing beyond the outermost drawn location of a phase.
    """
    by_phase: dict[int, list[int]] = defaultdict(list)
    for index, place in enumerate(places):
        if place.phase >= 0 and place.location >= 0 and isfinite(place.location_mm):
            by_phase[place.phase].append(index)
    links = {}
    for members in by_phase.values():
        members.sort(key=lambda index: (places[index].location_mm, index))
        labelled = [index for index in members if index in drawn]
        at = [places[index].location_mm for index in labelled]
        for index in members:
            here = places[index].location_mm
            after = bisect_left(at, here)
            if index in drawn or not 0 < after < len(at) or at[after] == here:
                continue
            gap = at[after] - at[after - 1]
            share = round((here - at[after - 1]) / gap, SHARE_DIGITS)
            if gap <= most_mm:
                links[index] = ParentLink(
                    SPATIAL,
                    (labelled[after - 1], labelled[after]),
                    (1 - share, share),
                    gap,
                    min(here - at[after - 1], at[after] - here),
                )
    return links


def temporal_links(
    places: Sequence[SlicePlace], drawn: Collection[int], most_ms: float, ed_es: tuple[int, int] | None
) -> dict[int, ParentLink]:
    """Link each slice to the drawn phases before and after it at its location, at most ``most_ms`` apart in the cycle.

    By position; nothing at a location with fewer than two drawn phases. For ``ed_es``, the phases of end-diastole and
    end-systole, see `cycle.later_share`.
    """
    by_location: dict[int, list[int]] = defaultdict(list)
    for index, place in enumerate(places):
        if place.location >= 0 and place.phase >= 0 and isfinite(place.time_ms):
            by_location[place.location].append(index)
    periods = _periods(places, by_location)
    links = {}
    for location, period in periods.items():
        members = by_location[location]
        members.sort(key=lambda index: places[index].time_ms)
        labelled = [index for index in members if index in drawn]
        times = {places[index].phase: places[index].time_ms for index in members}
        known = ed_es is not None and all(phase in times for phase in ed_es)
        turns = (times[ed_es[0]], times[ed_es[1]]) if ed_es is not None and known else None
        for before, index, after in _between(members, labelled):
            start, now, end = (places[one].time_ms for one in (before, index, after))
            gap = (end - start) % period
            if 0 < gap <= most_ms:
                share = later_share(now, start, end, period, turns)
                distance = min((now - start) % period, (end - now) % period)
                links[index] = ParentLink(TEMPORAL, (before, after), (1 - share, share), gap, distance)
    return links


def _periods(places: Sequence[SlicePlace], by_location: Mapping[int, Sequence[int]]) -> dict[int, float]:
    """Return the length of the beat at each location, in ms; locations are taken in different breath-holds.

    Where images are missing the beat is that of the other locations; locations whose beat nothing tells are left out.
    """
    own = {
        location: period_ms([places[index].time_ms for index in members])
        for location, members in by_location.items()
    }
    most = max((len(members) for members in by_location.values()), default=0)
    complete = {location for location, members in by_location.items() if len(members) == most}
    known = {location: own[location] for location in complete if isfinite(own[location])}
    if not known:
        return {}
    usual = float(np.median(list(known.values())))
    return {location: known.get(location, usual) for location in by_location}


def _between(members: Sequence[int], labelled: Sequence[int]) -> Iterator[tuple[int, int, int]]:
    """Yield (drawn before, undrawn, drawn after) around a cycle, when at least two are drawn."""
    if len(labelled) < 2:
        return
    after = 0
    for index in members:
        if index == labelled[after % len(labelled)]:
            after += 1
        else:
            yield labelled[after - 1], index, labelled[after % len(labelled)]


def plan_links(
    places: Sequence[SlicePlace],
    drawn: Mapping[str, Collection[int]],
    mode: str,
    reach: Reach,
    ed_es: tuple[int, int] | None,
) -> list[dict[int, dict[str, ParentLink]]]:
    """Decide what is filled and from what: links by position and structure, one dict a round.

    Mode "both" (and "nearest", which fills the same slices) has two rounds: first what lies between drawn phases, or
    else between drawn locations; then the same once more, with what has been filled as parents too. A phase in between
    at a location that nobody drew is thus made of its own ED and ES, which are made of their neighbours. Only images on
    which nothing is drawn are filled: a row is either drawn or imputed, never a mixture.
    """
    have = {structure: set(members) for structure, members in sorted(drawn.items())}
    taken: set[int] = set().union(*drawn.values())
    rounds = []
    for _ in range(1 if mode in (SPATIAL, TEMPORAL) else 2):
        found: dict[int, dict[str, ParentLink]] = {}
        for structure, members in have.items():
            links = {} if mode == TEMPORAL else spatial_links(places, members, reach.mm)
            if mode != SPATIAL:
                links |= temporal_links(places, members, reach.ms, ed_es)
            for index, link in links.items():
                if index not in taken:
                    found.setdefault(index, {})[structure] = link
        rounds.append(dict(sorted(found.items())))
        taken |= found.keys()
        for structure, members in have.items():
            members.update(index for index, made in found.items() if structure in made)
    return rounds


def unfilled(
    places: Sequence[SlicePlace], drawn: Mapping[str, Collection[int]], mode: str, filled: Collection[int]
) -> dict[str, int]:
    """Count, by reason, the images of a study that are neither drawn on nor filled."""
    taken: set[int] = set().union(*drawn.values())
    anywhere = plan_links(places, drawn, mode, Reach(inf, inf), None)
    too_far = set().union(*anywhere)
    located = [places[index].location_mm for index in taken if isfinite(places[index].location_mm)]
    reasons: Counter[str] = Counter()
    for index, place in enumerate(places):
        if index in taken or index in filled:
            continue
        if index in too_far:
            reasons[TOO_FAR] += 1
        elif place.location < 0 or place.phase < 0:
            reasons[UNPLACED] += 1
        elif not located or not min(located) <= place.location_mm <= max(located):
            reasons[BEYOND] += 1
        else:
            reasons[ALONE] += 1
    return dict(reasons)
