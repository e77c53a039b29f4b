"""The contours of one structure in a study, in arrays."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from itertools import count, groupby, pairwise
from operator import itemgetter
from typing import Any, SupportsIndex

import numpy as np
from numpy.typing import NDArray

from dicom_etl.checks.edge_contrast import Indices, Walls, equal_steps
from dicom_etl.checks.sample_checks import finding
from dicom_etl.geometry.planar import Points, median
from dicom_etl.records import ContourFacts, FloatArray, Issue, SampleFacts, Severity

_FEWEST = 3
"""Locations drawn in two phases, from which on it can be told how contours move from one to the other."""

_DIRECTIONS = np.arange(32) * (2 * np.pi / 32)
_MIRRORED = (16 - np.arange(32)) % 32
"""Which of these each of them becomes when left and right are exchanged."""

_LEAST_AREA_PX = 1e-6
"""What a damaged contour that encloses nothing is taken to enclose, so that areas can be compared."""


class Contours:
    """The contours of one structure in a study, and which of them lie next to each other.

    ``facts`` are the images on which it is drawn, ``drawn`` the contours; lists and arrays go in their order. ``stack``
    are pairs of contours at adjacent locations of a phase, that of the lower one first, ``beat`` pairs in phases of a
    location that follow each other; ``ends`` are the first and the last of each phase along the stack. ``centre_px``
    (contour, 2) is the middle x,y of each contour's box, ``spacing_mm`` (contour, 2) that of pixels along x and y, NaN
    where it is unknown.
    """

    def __init__(self, facts: list[SampleFacts], drawn: list[ContourFacts]) -> None:
        self.facts, self.drawn = facts, drawn
        self.location = [each.location_index for each in facts]
        self.phase = [each.phase_index for each in facts]
        self.areas = [max(contour.area_px, _LEAST_AREA_PX) for contour in drawn]
        self.area_px: FloatArray = np.array(self.areas)
        boxes = np.array([contour.box for contour in drawn], dtype=np.float64)
        self.centre_px: FloatArray = (boxes[:, :2] + boxes[:, 2:]) / 2
        self.spacing_mm: FloatArray = np.array([each.pixel_spacing_mm for each in facts])[:, ::-1]
        self.answers: dict[object, Any] = {}
        along = _runs(self.phase, self.location)
        self.ends = {end for run in along for end in (run[0], run[-1])}
        self.stack = [
            (one, other)
            for run in along
            for one, other in pairwise(run)
            if self.location[other] - self.location[one] == 1
        ]
        self.beat = [pair for run in _runs(self.location, self.phase) for pair in pairwise(run)]
        self.neighbours = self.stack + self.beat
        self._at = {self.phase[run[0]]: {self.location[each]: each for each in run} for run in along}

    def finding(
        self,
        index: SupportsIndex,
        code: str,
        message: str,
        other_path: str = "",
        severity: Severity = "warning",
    ) -> Issue:
        """Return a finding about one contour."""
        return finding(self.facts[index], severity, code, message, self.drawn[index], other_path)

    @cached_property
    def points(self) -> Points:
        """The points (contour, POINTS) at equal distances along each contour."""
        return equal_steps([contour.ring for contour in self.drawn])

    @cached_property
    def walls(self) -> Walls:
        """The contours beside their images."""
        return Walls(self.points, [f.window for f in self.facts], [f.corner for f in self.facts])

    @cached_property
    def mirror_gains(self) -> FloatArray:
        """The contrast that each contour (contour,) gains when mirrored left to right."""
        return self.walls.mirror_gains(np.array([facts.columns for facts in self.facts], dtype=np.int64))

    @cached_property
    def radius_px(self) -> FloatArray:
        """The radius of a circle of each contour's area, (contour,) float64."""
        return np.sqrt(self.area_px / np.pi)

    @cached_property
    def middle_px(self) -> FloatArray:
        """The mean x,y (contour, 2) along each contour."""
        mean = self.points.mean(axis=1)
        return np.column_stack((mean.real, mean.imag))

    @cached_property
    def pairs(self) -> Indices:
        """The `neighbours`, (pair, 2)."""
        return np.array(self.neighbours, dtype=np.int64).reshape(-1, 2)

    def apart(self, centres: FloatArray) -> FloatArray:
        """Return how far centres (contour, 2) of neighbours are from each other, (pair,)."""
        one, other = centres[self.pairs[:, 0]], centres[self.pairs[:, 1]]
        distance: FloatArray = np.hypot(*(one - other).T)
        return distance

    @cached_property
    def out_of_line(self) -> FloatArray:
        """How far the logarithm of each area (contour,) is from the mean of those beside it; 0 for none."""
        size: FloatArray = np.log(self.area_px)
        stack = np.array(self.stack, dtype=np.int64).reshape(-1, 2)
        total = np.bincount(stack.ravel(), size[stack[:, ::-1]].ravel(), minlength=len(size))
        count = np.bincount(stack.ravel(), minlength=len(size))
        return np.abs(size - total / np.maximum(count, 1)) * (count > 0)

    def extreme_phases(self) -> tuple[int, int]:
        """Return the phases in which the typical contour is largest and smallest; the same when that cannot be told.

        Of phases that are drawn on at least half as many locations as the best drawn one, by the mean over the
        others of the median ratio of areas at shared locations.
        """
        most = max(map(len, self._at.values()), default=0)
        chosen = sorted(phase for phase, drawn in self._at.items() if 2 * len(drawn) >= most)
        if len(chosen) < 2:
            return -1, -1
        size = np.log(self.area_px).tolist()
        column = {location: place for place, location in enumerate({*self.location})}
        sizes = np.full((len(chosen), len(column)), np.nan)
        for row, phase in zip(sizes, chosen, strict=True):
            for location, each in self._at[phase].items():
                row[column[location]] = size[each]
        scores = _mean_of_medians(sizes[:, None] - sizes)
        largest, smallest = int(scores.argmax()), int(scores.argmin())
        if scores[largest] <= scores[smallest]:
            return -1, -1
        return chosen[largest], chosen[smallest]

    def strayed_px(self, index: int, wrong: NDArray[np.bool_]) -> FloatArray:
        """Return how far a contour lies from where others that are not wrong have it, (n, 2) x,y; n is 0 for none.

        One row for the mean of those beside it along the stack. One for each drawn phase of its location just before
        and after: from that contour, moved as at the locations beside it, or as is typical, whichever is nearest.
        """
        strayed = []
        beside = self._partners(self.stack, index, wrong)
        if beside:
            strayed.append(self.middle_px[index] - self.middle_px[beside].mean(axis=0))
        for other in self._partners(self.beat, index, wrong):
            before, after = self._shared(self.phase[other], self.phase[index])
            if len(before) >= _FEWEST:
                moves = self.middle_px[after] - self.middle_px[before]
                near = moves[[abs(self.location[each] - self.location[index]) == 1 for each in before]]
                expected = np.concatenate((near, median(moves)[None]))
                apart = self.middle_px[index] - self.middle_px[other] - expected
                strayed.append(apart[np.hypot(*apart.T).argmin()])
        return np.array(strayed).reshape(-1, 2)

    def times_smaller(self, index: int, wrong: NDArray[np.bool_]) -> float:
        """Return how many times smaller a contour is than that of another phase, beyond what is typical of the two.

        The least of the drawn phases of its location just before and after whose contours are not wrong; 1 when there
        is none, or too few locations are drawn in both phases to say what is typical.
        """
        times = []
        for other in self._partners(self.beat, index, wrong):
            before, after = self._shared(self.phase[index], self.phase[other])
            if len(before) >= _FEWEST:
                typical = median(self.area_px[after] / self.area_px[before])
                times.append(float(self.area_px[other] / self.area_px[index] / typical))
        return min(times, default=1.0)

    def more_alike_mirrored(self, index: int) -> float:
        """Return by how much more a contour is shaped like its neighbours when mirrored left to right.

        The distance of the two outlines from the middle, in all directions and as a share of its mean, is compared:
        the root of the mean square of the differences, less that of the mirrored one, is averaged over the
        neighbours. 0 when there are none.
        """
        partners = self._partners(self.neighbours, index, np.zeros(len(self.drawn), dtype=bool))
        shapes = _shapes(self.points[[index, *partners]])
        own, others = shapes[0], shapes[1:]
        unlike = [np.sqrt(((shape - others) ** 2).mean(axis=1)) for shape in (own, own[_MIRRORED])]
        return float((unlike[0] - unlike[1]).mean()) if len(others) else 0.0

    def _shared(self, start: int, end: int) -> tuple[list[int], list[int]]:
        """Return the contours of two phases at the locations that are drawn in both, in their order."""
        befores, afters = self._at[start], self._at[end]
        shared = sorted(befores.keys() & afters.keys())
        return [befores[location] for location in shared], [afters[location] for location in shared]

    @staticmethod
    def _partners(pairs: Sequence[tuple[int, int]], index: int, wrong: NDArray[np.bool_]) -> list[int]:
        mine = (pair[pair[0] == index] for pair in pairs if index in pair)
        return [each for each in mine if not wrong[each]]


def _runs(by: Sequence[int], along: Sequence[int]) -> list[list[int]]:
    """Return the contours of each place or phase, in the order of the other; not those where either is unknown."""
    # Sorted as Python's numbers: of four contours in a third of the time of numpy, of four hundred in twice.
    known = sorted(each for each in zip(by, along, count()) if each[0] >= 0 and each[1] >= 0)
    return [[each[2] for each in run] for _, run in groupby(known, key=itemgetter(0))]


def _shapes(points: Points) -> FloatArray:
    """Return how far points (ring, POINTS) lie from their mean in each of `_DIRECTIONS`, over the mean distance."""
    spokes = points - points.mean(axis=1, keepdims=True)
    far = np.array(
        [np.interp(_DIRECTIONS, np.angle(each), np.abs(each), period=2 * np.pi) for each in spokes]
    )
    # A damaged contour may be a single point.
    shapes: FloatArray = far / np.maximum(far.mean(axis=1, keepdims=True), 1e-9)
    return shapes


def _mean_of_medians(values: FloatArray) -> FloatArray:
    """Return the mean (m,) over n of the medians of what is known of (m, n, value); those of nothing do not count."""
    ordered = np.sort(values, axis=2)  # NaN last
    number = np.isfinite(values).sum(axis=2)
    known = number > 0
    first = np.arange(number.size).reshape(number.shape) * values.shape[2]
    lower, upper = ordered.take(first + (number - known) // 2), ordered.take(first + number // 2)
    mean: FloatArray = np.where(known, (lower + upper) / 2, 0).sum(axis=1) / known.sum(axis=1)
    return mean
