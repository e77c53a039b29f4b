"""The drawn images of one study as the checks across them see it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import cached_property
from math import isfinite

import numpy as np

from dicom_etl.checks.edge_contrast import BORDER_FALL, Indices, Walls, like_muscle
from dicom_etl.checks.sample_checks import INNER, OUTER
from dicom_etl.checks.structures import Contours
from dicom_etl.geometry.locations import ED, ES
from dicom_etl.geometry.planar import median
from dicom_etl.records import ContourFacts, FloatArray, SampleFacts

FEWEST = 3
"""Images of a phase with both contours, from which on one of them can be told to be out of step."""


class Myocardium:
    """How outer contours lie around inner ones, wherever an image has both, a place, and a known spacing.

    A wall is three numbers in mm: the middle of the outer contour from that of the inner one in x and in y, and
    the difference of their radii. ``which`` and ``inner`` (image,), of which ``both`` are pairs, are the outer and the
    inner contour of each image that has both, ``stack`` (pair, 2) images at adjacent locations of a phase.
    """

    def __init__(self, inner: Contours, outer: Contours, both: Sequence[tuple[int, int]]) -> None:
        self.inners, self.outer = inner, outer
        self.which, self.inner = np.array(both, dtype=np.int64).T
        image = {contour: place for place, (contour, _) in enumerate(both)}
        pairs = [(image[one], image[other]) for one, other in outer.stack if one in image and other in image]
        self.stack: Indices = np.array(pairs, dtype=np.int64).reshape(-1, 2)
        self._phase = np.array([outer.phase[contour] for contour in image])
        self._inner = _middle_and_radius(inner, self.inner)
        self._outer = _middle_and_radius(outer, self.which)

    def walls(self, inner: Indices, outer: Indices) -> FloatArray:
        """Return the walls (m, 3) between the inner contours of some images and the outer ones of some."""
        return self._outer[outer] - self._inner[inner]

    def moved(self, images: Indices, shift_px: FloatArray | Indices) -> FloatArray:
        """Return the walls (m, 3) of some images when their outer contours are shifted by (m, 2) pixels x,y."""
        walls = self.own[images]
        walls[:, :2] += shift_px * self.outer.spacing_mm[self.which[images]]
        return walls

    @cached_property
    def own(self) -> FloatArray:
        """The wall (image, 3) of each image."""
        every = np.arange(len(self.which))
        return self.walls(every, every)

    @cached_property
    def typical(self) -> FloatArray:
        """The wall (image, 3) that is typical of the phase of each image; NaN where `FEWEST` have none."""
        found = np.full_like(self.own, np.nan)
        for phase in np.unique(self._phase):
            here = self._phase == phase
            if np.count_nonzero(here) >= FEWEST:
                found[here] = median(self.own[here])
        return found

    @cached_property
    def expected(self) -> FloatArray:
        """The walls (image, 3, 3) that each image is compared with: before it, after it, and the typical one."""
        return np.concatenate((self.beside(), self.typical[:, None]), axis=1)

    @cached_property
    def strayed_mm(self) -> FloatArray:
        """How far each wall (image, 2) is from the nearest expected one, in the middle's place and in the radius."""
        return apart_mm(self.own, self.expected)

    def borders(self, images: Indices) -> Walls:
        """Return the outer contours of some images beside pictures of what is muscle there.

        Its value is the typical one just outside the inner contour.
        """
        outer, rows = self.outer, self.which[images].tolist()
        levels = self.inners.walls.levels(self.inner[images])
        return Walls(
            outer.points[rows],
            [like_muscle(outer.facts[row].window, *level) for row, level in zip(rows, levels, strict=True)],
            [outer.facts[row].corner for row in rows],
            BORDER_FALL,
        )

    def beside(self) -> FloatArray:
        """Return the walls (image, 2, 3) at the locations before and after each image; NaN where there is none."""
        found = np.full((len(self.which), 2, 3), np.nan)
        before, after = self.stack.T
        found[after, 0], found[before, 1] = self.own[before], self.own[after]
        return found


def apart_mm(walls: FloatArray, expected: FloatArray) -> FloatArray:
    """Return how far walls (.., 3) are from the nearest of those expected (.., n, 3), (.., 2) in mm.

    In the place of the outer contour's middle, and in its radius. NaN where the typical wall, the last, is.
    """
    apart = walls[..., None, :] - expected
    kinds = np.stack((np.hypot(apart[..., 0], apart[..., 1]), np.abs(apart[..., 2])), axis=-1)
    typical = kinds[..., -1, :]
    least: FloatArray = np.where(np.isnan(kinds), np.inf, kinds).min(axis=-2)
    least[np.isnan(typical)] = np.nan
    return least


def _middle_and_radius(contours: Contours, which: Indices) -> FloatArray:
    """Return the middle x, y and the radius (m, 3) of some contours in mm."""
    spacing = contours.spacing_mm[which]
    radius = contours.radius_px[which] * np.sqrt(spacing.prod(axis=1))
    return np.column_stack((contours.middle_px[which] * spacing, radius))


class DrawnStudy:
    """The drawn images of one study, in row order, each with a contour."""

    def __init__(self, images: Sequence[SampleFacts]) -> None:
        self.images = tuple(images)

    @cached_property
    def structures(self) -> dict[str, Contours]:
        """What is drawn, by structure in the order of their names."""
        found: dict[str, tuple[list[SampleFacts], list[ContourFacts]]] = {}
        for facts in self.images:
            for contour in facts.contours:
                on, drawn = found.setdefault(contour.structure, ([], []))
                on.append(facts)
                drawn.append(contour)
        return {name: Contours(*found[name]) for name in sorted(found)}

    @property
    def inner(self) -> Contours | None:
        """The inner contours, if there are any."""
        return self.structures.get(INNER)

    @cached_property
    def myocardium(self) -> Myocardium | None:
        """The muscle between inner and outer contours, if `FEWEST` images of any phase have both.

        With fewer no wall is typical, and without a typical one nothing is said of any.
        """
        inner, outer = self.inner, self.structures.get(OUTER)
        if inner is None or outer is None:
            return None
        number = {id(facts): index for index, facts in enumerate(inner.facts)}
        both = [
            (index, number[id(facts)])
            for index, facts in enumerate(outer.facts)
            if id(facts) in number
            and min(facts.location_index, facts.phase_index) >= 0
            and all(map(isfinite, facts.pixel_spacing_mm))
        ]
        images = Counter(outer.phase[index] for index, _ in both)
        return Myocardium(inner, outer, both) if max(images.values(), default=0) >= FEWEST else None

    @cached_property
    def phases(self) -> dict[str, int]:
        """Which phases the inner contours make end-diastole and end-systole, by word; empty when none.

        As `dicom_etl.geometry.locations.cardiac_phases`, but by the typical contour instead of by volume, which a
        single wrong contour can turn.
        """
        if self.inner is None:
            return {}
        largest, smallest = self.inner.extreme_phases()
        return {} if largest == smallest else {ED: largest, ES: smallest}
