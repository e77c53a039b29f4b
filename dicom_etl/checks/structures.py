"""The contours of one structure in a study, in arrays."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
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

    ``facts`` are the images on which it is drawn, ``drawn`` the contours; the arrays go in their order. ``centre_px``
    (contour, 2) is the middle x,y of each contour's box, ``spacing_mm`` (contour, 2) that of pixels along x and y, NaN
    where it is unknown; ``stack`` (pair, 2) are contours at adjacent locations of a phase, that of the lower one first;
    ``ends`` (contour,) tells the first and the last of its phase along the stack.
    """

    def __init__(self, study: Sequence[SampleFacts], structure: str) -> None:
        found = [(f, c) for f in study for c in f.contours if c.structure == structure]
        self.facts: list[SampleFacts] = [facts for facts, _ in found]
        self.drawn: list[ContourFacts] = [contour for _, contour in found]
        self.location = np.array([facts.location_index for facts in self.facts], dtype=np.int64)
        self.phase = np.array([facts.phase_index for facts in self.facts], dtype=np.int64)
        self.area_px: FloatArray = np.array([max(c.area_px, _LEAST_AREA_PX) for c in self.drawn])
        boxes = np.array([contour.box for contour in self.drawn], dtype=np.float64).reshape(-1, 2, 2)
        rows_columns = np.array([facts.pixel_spacing_mm for facts in self.facts], dtype=np.float64)
        self.centre_px: FloatArray = boxes.mean(axis=1)
        self.spacing_mm: FloatArray = rows_columns.reshape(-1, 2)[:, ::-1]
        self._placed = np.flatnonzero((self.location >= 0) & (self.phase >= 0))
        self.answers: dict[object, Any] = {}
        along = self._in_order(self.phase, self.location)
        phase, location = self.phase[along], self.location[along]
        self.stack: Indices = _adjacent(along, (phase[1:] == phase[:-1]) & (np.diff(location) == 1))
        self.ends: NDArray[np.bool_] = np.zeros(len(found), dtype=bool)
        if len(along):
            turns = np.flatnonzero(np.diff(phase))
            self.ends[along[np.concatenate(([0, len(along) - 1], turns, turns + 1))]] = True

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
    def walls(self) -> Walls:
        """The contours beside their images."""
        rings = [contour.ring for contour in self.drawn]
        return Walls(rings, [f.window for f in self.facts], [f.corner for f in self.facts])

    @cached_property
    def mirror_gains(self) -> FloatArray:
        """The contrast that each contour (contour,) gains when mirrored left to right."""
        return self.walls.mirror_gains(np.array([facts.columns for facts in self.facts], dtype=np.int64))

    @property
    def radius_px(self) -> FloatArray:
        """The radius of a circle of each contour's area, (contour,) float64."""
        return np.sqrt(self.area_px / np.pi)

    @cached_property
    def middle_px(self) -> FloatArray:
        """The mean x,y (contour, 2) along each contour."""
        mean = equal_steps([contour.ring for contour in self.drawn]).mean(axis=1)
        return np.column_stack((mean.real, mean.imag))

    def differences_px(self, pairs: Indices) -> FloatArray:
        """Return by how much contours (pair, 2) differ: the distance of their centres plus the difference in radius."""
        one, other = pairs.T
        moved: FloatArray = np.hypot(*(self.centre_px[one] - self.centre_px[other]).T)
        moved += np.abs(self.radius_px[one] - self.radius_px[other])
        return moved

    @cached_property
    def out_of_line(self) -> FloatArray:
        """How far the logarithm of each area (contour,) is from the mean of those beside it; 0 for none."""
        size: FloatArray = np.log(self.area_px)
        total = np.bincount(self.stack.ravel(), size[self.stack[:, ::-1]].ravel(), minlength=len(size))
        count = np.bincount(self.stack.ravel(), minlength=len(size))
        return np.abs(size - total / np.maximum(count, 1)) * (count > 0)

    def extreme_phases(self) -> tuple[int, int]:
        """Return the phases in which the typical contour is largest and smallest; the same when that cannot be told.

        Of phases that are drawn on at least half as many locations as the best drawn one, by the mean over the
        others of the median ratio of areas at shared locations.
        """
        phases, row = np.unique(self.phase[self._placed], return_inverse=True)
        locations, column = np.unique(self.location[self._placed], return_inverse=True)
        size = np.full((len(phases), len(locations)), np.nan)
        size[row, column] = np.log(self.area_px[self._placed])
        drawn = np.isfinite(size).sum(axis=1)
        chosen = np.flatnonzero(2 * drawn >= drawn.max(initial=0))
        if len(chosen) < 2:
            return -1, -1
        scores = _mean_of_medians(size[chosen][:, None] - size[chosen])
        largest, smallest = int(np.argmax(scores)), int(np.argmin(scores))
        if scores[largest] <= scores[smallest]:
            return -1, -1
        return int(phases[chosen[largest]]), int(phases[chosen[smallest]])

    @cached_property
    def neighbours(self) -> Indices:
        """Pairs (pair, 2) at adjacent locations of a phase, and in phases of a location that follow each other."""
        along = self._in_order(self.location, self.phase)
        beat = _adjacent(along, np.diff(self.location[along]) == 0)
        return np.concatenate((self.stack, beat))

    def strayed_px(self, index: int, wrong: NDArray[np.bool_]) -> FloatArray:
        """Return how far a contour lies from where others that are not wrong have it, (n, 2) x,y; n is 0 for none.

        One row for the mean of those beside it along the stack. One for each drawn phase of its location just before
        and after: from that contour, moved as at the locations beside it, or as is typical, whichever is nearest.
        """
        strayed = []
        beside = self._partners(self.stack, index, wrong)
        if len(beside):
            strayed.append(self.middle_px[index] - self.middle_px[beside].mean(axis=0))
        for other in self._partners(self.neighbours[len(self.stack) :], index, wrong):
            before, after = self._shared(self.phase[other], self.phase[index])
            if len(before) >= _FEWEST:
                moves = self.middle_px[after] - self.middle_px[before]
                near = moves[np.abs(self.location[before] - self.location[index]) == 1]
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
        for other in self._partners(self.neighbours[len(self.stack) :], index, wrong):
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
        mine = self.neighbours[(self.neighbours == index).any(axis=1)]
        shapes = _shapes(equal_steps([self.drawn[i].ring for i in (index, *mine[mine != index].tolist())]))
        own, others = shapes[0], shapes[1:]
        unlike = [np.sqrt(((shape - others) ** 2).mean(axis=1)) for shape in (own, own[_MIRRORED])]
        return float((unlike[0] - unlike[1]).mean()) if len(others) else 0.0

    def _shared(self, start: int, end: int) -> tuple[Indices, Indices]:
        """Return the contours of two phases at the locations that are drawn in both, in their order."""
        found = (self._placed[self.phase[self._placed] == phase] for phase in (start, end))
        befores, afters = (dict(zip(self.location[each].tolist(), each, strict=True)) for each in found)
        shared = sorted(befores.keys() & afters.keys())
        before, after = ([each[location] for location in shared] for each in (befores, afters))
        return np.array(before, dtype=np.int64), np.array(after, dtype=np.int64)

    @staticmethod
    def _partners(pairs: Indices, index: int, wrong: NDArray[np.bool_]) -> Indices:
        """Return the contours that are paired with one and not wrong."""
        mine = pairs[(pairs == index).any(axis=1)]
        partners: Indices = mine[(mine != index) & ~wrong[mine]]
        return partners

    def _in_order(self, first: Indices, then: Indices) -> Indices:
        placed = self._placed
        return placed[np.lexsort((then[placed], first[placed]))]


def _adjacent(order: Indices, belong: NDArray[np.bool_]) -> Indices:
    return np.column_stack((order[:-1], order[1:]))[belong]


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
    count = np.isfinite(values).sum(axis=2, keepdims=True)
    middle = np.concatenate((np.maximum(count - 1, 0) // 2, count // 2 * (count > 0)), axis=2)
    medians = np.take_along_axis(ordered, middle, axis=2).mean(axis=2)
    known = count[..., 0] > 0
    mean: FloatArray = np.where(known, medians, 0).sum(axis=1) / np.maximum(known.sum(axis=1), 1)
    return mean
