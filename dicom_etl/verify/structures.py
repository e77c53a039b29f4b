"""The contours of one structure in a study, in arrays."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from dicom_etl.records import ContourFacts, FloatArray, SampleFacts
from dicom_etl.verify.rims import Indices, equal_steps


class Contours:
    """The contours of one structure in a study, and which of them lie next to each other.

    Parameters
    ----------
    study : sequence of SampleFacts
        The images of the study.
    structure : str
        What the contours outline.

    Attributes
    ----------
    facts, drawn : list
        The images on which it is drawn, and the contours; the arrays go in their order.
    location, phase : (contour,) int64
        As in `SampleFacts`.
    area_px : (contour,) float64
    centre_px : (contour, 2) float64
        The middle of each contour's box, x,y.
    spacing_mm : (contour, 2) float64
        Of pixels along x and y; NaN where it is unknown.
    stack : (pair, 2) int64
        Contours at adjacent locations of a phase, that of the lower location first.
    ends : (contour,) bool
        Whether a contour is the first or the last of its phase along the stack.
    """

    def __init__(self, study: Sequence[SampleFacts], structure: str) -> None:
        found = [(f, c) for f in study for c in f.contours if c.structure == structure]
        self.facts: list[SampleFacts] = [facts for facts, _ in found]
        self.drawn: list[ContourFacts] = [contour for _, contour in found]
        self.location = np.array([facts.location_index for facts in self.facts], dtype=np.int64)
        self.phase = np.array([facts.phase_index for facts in self.facts], dtype=np.int64)
        self.area_px: FloatArray = np.array([contour.area_px for contour in self.drawn], dtype=np.float64)
        boxes = np.array([contour.box for contour in self.drawn], dtype=np.float64).reshape(-1, 2, 2)
        rows_columns = np.array([facts.pixel_spacing_mm for facts in self.facts], dtype=np.float64)
        self.centre_px: FloatArray = boxes.mean(axis=1)
        self.spacing_mm: FloatArray = rows_columns.reshape(-1, 2)[:, ::-1]
        self._placed = np.flatnonzero((self.location >= 0) & (self.phase >= 0))
        along = self._in_order(self.phase, self.location)
        phase, location = self.phase[along], self.location[along]
        self.stack: Indices = _adjacent(along, (phase[1:] == phase[:-1]) & (np.diff(location) == 1))
        self.ends: NDArray[np.bool_] = np.zeros(len(found), dtype=bool)
        if len(along):
            turns = np.flatnonzero(np.diff(phase))
            self.ends[along[np.concatenate(([0, len(along) - 1], turns, turns + 1))]] = True

    @property
    def radius_px(self) -> FloatArray:
        """The radius of a circle of each contour's area, (contour,) float64."""
        radius: FloatArray = np.sqrt(self.area_px / np.pi)
        return radius

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
    def neighbours(self) -> Indices:
        """Pairs (pair, 2) at adjacent locations of a phase, and in phases of a location that follow each other."""
        along = self._in_order(self.location, self.phase)
        beat = _adjacent(along, np.diff(self.location[along]) == 0)
        return np.concatenate((self.stack, beat))

    def _in_order(self, first: Indices, then: Indices) -> Indices:
        placed = self._placed
        order: Indices = placed[np.lexsort((then[placed], first[placed]))]
        return order


def _adjacent(order: Indices, belong: NDArray[np.bool_]) -> Indices:
    pairs: Indices = np.column_stack((order[:-1], order[1:]))[belong]
    return pairs
