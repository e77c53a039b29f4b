"""How good the estimates are on one's own data: each drawn slice is left out, made of its neighbours, and compared."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import NamedTuple

import numpy as np

from dicom_etl.geometry.polygons import measure
from dicom_etl.geometry.raster import rasterize
from dicom_etl.impute.distance import boundary_distance
from dicom_etl.impute.estimate import NEAREST, WAYS, Estimate, Parent, confidence, estimate, parent_of
from dicom_etl.impute.guide import Slice
from dicom_etl.impute.parents import Axis, SlicePlace, spatial_links, temporal_links
from dicom_etl.records import FloatArray, Outline, Rings

_SPACING_MM = 0.5
"""Points this far apart stand for a boundary when distances to it are averaged."""

_TIE = 0.02
"""Weights that differ by less than rounding in a header can make (0.2 mm of 20) are equal."""


class DrawnSlice(NamedTuple):
    """A slice and the contour that was drawn on it, in its pixel frame."""

    image: Slice
    outline: Outline


class Score(NamedTuple):
    """One slice that was left out, made by one way, beside what was drawn: overlap of masks, distance of contours.

    ``gap`` is the distance between its parents, mm or ms; ``confidence`` is what the estimate said of itself.
    """

    structure: str
    axis: Axis
    way: str
    location: int
    phase: int
    gap: float
    dice: float
    distance_mm: float
    confidence: float


class Mean(NamedTuple):
    """Many scores of one structure, axis and way in a few numbers; ``location`` is None for all of them."""

    structure: str
    axis: Axis
    way: str
    location: int | None
    slices: int
    dice: float
    least_dice: float
    distance_mm: float
    confidence: float


def means(scores: Sequence[Score], *, by_location: bool = False) -> list[Mean]:
    """Average scores by structure, axis and way, the ways in the order of `estimate.WAYS`; or by location too."""
    groups: dict[tuple[str, Axis, int | None, int], list[Score]] = defaultdict(list)
    for score in scores:
        location = score.location if by_location else None
        groups[score.structure, score.axis, location, WAYS.index(score.way)].append(score)
    return [_mean(groups[key], key[2]) for key in sorted(groups)]


def _mean(scores: Sequence[Score], location: int | None) -> Mean:
    overlaps = [score.dice for score in scores]  # 0 where nothing was imputed, and then there is no distance
    distances = [score.distance_mm for score in scores if np.isfinite(score.distance_mm)]
    return Mean(
        *scores[0][:3],  # structure, axis, way
        location,
        len(scores),
        float(np.mean(overlaps)),
        min(overlaps),
        float(np.mean(distances)) if distances else float("nan"),
        float(np.mean([score.confidence for score in scores])),
    )


def leave_one_out(
    structure: str,
    places: Sequence[SlicePlace],
    drawn: Mapping[int, DrawnSlice],
    reach: tuple[float, float],
    ed_es: tuple[int, int] | None,
) -> Iterator[Score]:
    """Score every slice of one study that has drawn neighbours on both sides, in space or around the cycle.

    ``places`` are those of all images, ``drawn`` has those with the structure by position; for ``reach`` see
    `plan_links`. Way "nearest" of two parents equally near is scored as the mean of both.
    """
    most_mm, most_ms = reach
    known = {index: parent_of(one.image, one.outline.rings) for index, one in drawn.items()}
    for index in sorted(drawn):
        others, truth, place = drawn.keys() - {index}, drawn[index], places[index]
        found = spatial_links(places, others, most_mm), temporal_links(places, others, most_ms, ed_es)
        for link, way in product((links[index] for links in found if index in links), WAYS):
            made = _estimates(truth.image, [known[parent] for parent in link.parents], link.weights, way)
            scored = [
                (
                    dice(truth.image, measure(one.rings), truth.outline),
                    contour_distance_mm(truth.image, one.rings, truth.outline.rings),
                    confidence(one.agreement, link.axis, link.distance),
                )
                for one in made
            ]
            averages = np.mean(scored, axis=0).tolist()
            yield Score(structure, link.axis, way, place.location, place.phase, link.gap, *averages)


def _estimates(
    image: Slice, parents: Sequence[Parent], weights: tuple[float, float], way: str
) -> list[Estimate]:
    """Return the estimate; of parents equally near one is as good an answer as the other, so then both."""
    if way == NEAREST and abs(weights[0] - weights[1]) < _TIE:
        return [estimate(image, pair, (0.5, 0.5), way) for pair in (parents, parents[::-1])]
    return [estimate(image, parents, weights, way)]


def dice(image: Slice, one: Outline, other: Outline) -> float:
    """Return the Dice overlap, 0 to 1, of the masks of two contours on an image: 2 shared / (one + other)."""
    rows, columns = image.pixels.shape
    first, second = (rasterize(outline, (rows, columns)) > 0 for outline in (one, other))
    total = int(first.sum()) + int(second.sum())
    return 2 * int((first & second).sum()) / total if total else 1.0


def contour_distance_mm(image: Slice, one: Rings, other: Rings) -> float:
    """Return the mean distance of points of either contour to the other one, in mm; NaN when one is empty."""
    if not one or not other:
        return float("nan")
    here, there = image.rings_mm(one), image.rings_mm(other)
    means = [boundary_distance(a, _points(b)).mean() for a, b in ((here, there), (there, here))]
    return float(np.mean(means))


def _points(rings: Rings) -> FloatArray:
    spread = []
    for ring in rings:
        closed = np.concatenate((ring, ring[:1]))
        along = np.concatenate(([0.0], np.cumsum(np.hypot(*np.diff(closed, axis=0).T))))
        count = max(3, int(np.ceil(along[-1] / _SPACING_MM)))
        at = np.arange(count) * (along[-1] / count)
        spread.append(np.column_stack([np.interp(at, along, axis) for axis in closed.T]))
    return np.concatenate(spread)
