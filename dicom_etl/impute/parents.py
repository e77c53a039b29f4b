"""Which slices can be filled, and from which two: neighbours along the stack or around the cardiac cycle.

A cine stack shows one beat, so the last phase is followed by the first. The ventricle does not empty and fill at an
even pace. In systole it goes from end-diastole (ED) to end-systole (ES) about like half a cosine. In diastole the first
third brings most of the blood, the middle third (diastasis) almost none, and in the last third the atria contract and
add about a fifth (Guyton and Hall, Textbook of Medical Physiology, chapter 9, "The Heart as a Pump").
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from math import inf, isfinite
from typing import Literal, NamedTuple

import numpy as np

Axis = Literal["spatial", "temporal"]
SPATIAL: Axis = "spatial"
TEMPORAL: Axis = "temporal"
BOTH = "both"

BEYOND = "beyond the outermost drawn location"
TOO_FAR = "the gap is wider than `impute_max_gap`"
ALONE = "not between two drawn slices"
UNPLACED = "location or phase unknown"
"""Why an image is not filled."""

SHARE_DIGITS = 9
"""Shares are rounded, since two processors may disagree about the last bit of a cosine."""

_CONTRACTED = (0.0, 1.0, 0.25, 0.2, 0.0)
"""Share of the stroke volume that is out at ED, at ES, and after each third of diastole."""


class SlicePlace(NamedTuple):
    """Where one image of a study lies; -1 and NaN where unknown, as in `geometry`."""

    location: int
    location_mm: float
    phase: int
    time_ms: float


class ParentLink(NamedTuple):
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
        for before, index, after in _between(members, drawn):
            start, now, end = (places[one].location_mm for one in (before, index, after))
            if start < now < end and (gap := end - start) <= most_mm:
                share = round((now - start) / gap, SHARE_DIGITS)
                distance = min(now - start, end - now)
                links[index] = ParentLink(SPATIAL, (before, after), (1 - share, share), gap, distance)
    return links


def temporal_links(
    places: Sequence[SlicePlace], drawn: Collection[int], most_ms: float, ed_es: tuple[int, int] | None
) -> dict[int, ParentLink]:
    """Link each slice to the drawn phases before and after it at its location, at most ``most_ms`` apart in the cycle.

    By position; nothing at a location with fewer than two drawn phases. For ``ed_es``, the phases of end-diastole and
    end-systole, see `later_share`.
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
        times = {places[index].phase: places[index].time_ms for index in members}
        known = [times[phase] for phase in ed_es or () if phase in times]
        turns = (known[0], known[1]) if len(known) == 2 else None
        for before, index, after in _between(members, drawn):
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
    most = max(map(len, by_location.values()), default=0)
    known = {
        location: period
        for location, members in by_location.items()
        if len(members) == most
        and isfinite(period := period_ms([places[index].time_ms for index in members]))
    }
    if not known:
        return {}
    usual = float(np.median(list(known.values())))
    return {location: known.get(location, usual) for location in by_location}


def _between(members: Sequence[int], drawn: Collection[int]) -> Iterator[tuple[int, int, int]]:
    """Yield (drawn before, undrawn, drawn after) around a cycle, when at least two are drawn."""
    labelled = [index for index in members if index in drawn]
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
    reach: tuple[float, float],
    ed_es: tuple[int, int] | None,
) -> list[dict[int, dict[str, ParentLink]]]:
    """Decide what is filled and from what: links by position and structure, one dict a round.

    ``reach`` is how far apart parents may be, in mm along the stack and in ms around the cycle.

    Mode "both" (and "nearest", which fills the same slices) has two rounds: first what lies between drawn phases, or
    else between drawn locations; then the same once more, with what has been filled as parents too. A phase in between
    at a location that nobody drew is thus made of its own ED and ES, which are made of their neighbours. Only images on
    which nothing is drawn are filled: a row is either drawn or imputed, never a mixture.
    """
    most_mm, most_ms = reach
    have = {structure: set(members) for structure, members in sorted(drawn.items())}
    taken: set[int] = set().union(*drawn.values())
    rounds = []
    for _ in range(1 if mode in (SPATIAL, TEMPORAL) else 2):
        found: dict[int, dict[str, ParentLink]] = {}
        for structure, members in have.items():
            links = {} if mode == TEMPORAL else spatial_links(places, members, most_mm)
            if mode != SPATIAL:
                links |= temporal_links(places, members, most_ms, ed_es)
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
    anywhere = plan_links(places, drawn, mode, (inf, inf), None)
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


def period_ms(times_ms: Sequence[float]) -> float:
    """Return the length of the cycle that phases at these times are part of: their span and one more step.

    NaN when fewer than three times are known, which is too few to tell.
    """
    times = np.sort(np.asarray(times_ms, dtype=np.float64))
    times = times[np.isfinite(times)]
    if len(times) < 3:
        return float("nan")
    return float(times[-1] - times[0] + np.median(np.diff(times)))


def contraction(time_ms: float, ed_ms: float, es_ms: float, period: float) -> float:
    """Return how far the ventricle has contracted at a trigger time, of whatever beat: 0 at ED, 1 at ES.

    From one of the turns to the next it goes like half a cosine: at rest at both ends.
    """
    since_ed = (time_ms - ed_ms) % period
    turns = [0.0, *np.linspace((es_ms - ed_ms) % period, period, 4).tolist()]
    last = min(bisect_right(turns, since_ed), 4) - 1
    eased = (1 - np.cos(np.pi * (since_ed - turns[last]) / (turns[last + 1] - turns[last]))) / 2
    return float(_CONTRACTED[last] + eased * (_CONTRACTED[last + 1] - _CONTRACTED[last]))


def later_share(
    time_ms: float, before_ms: float, after_ms: float, period: float, ed_es_ms: tuple[float, float] | None
) -> float:
    """Return the weight, 0 to 1, of the later of two drawn phases for a time between them.

    When both lie in systole, or both in diastole (ED and ES count for either), the weight follows the
    contraction; when ED or ES lies between them, or is not known, it follows the time. The phases follow each other
    in the order before, time, after around the cycle.
    """
    span = (after_ms - before_ms) % period
    elapsed = (time_ms - before_ms) % period
    if ed_es_ms is not None and not any(0 < (turn - before_ms) % period < span for turn in ed_es_ms):
        start, now, end = (
            contraction(when, ed_es_ms[0], ed_es_ms[1], period) for when in (before_ms, time_ms, after_ms)
        )
        # ED opens systole at 0 and ends diastole at 0, ES is 1 from both sides: only a flat stretch leaves
        # nothing to go by.
        if abs(end - start) > 0.05:
            return round(min(1.0, max(0.0, (now - start) / (end - start))), SHARE_DIGITS)
    return round(elapsed / span, SHARE_DIGITS)
