"""The drawn images of one study as the checks across them see it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np

from dicom_etl.checks.boundary_samples import Indices
from dicom_etl.checks.edge_contrast import BORDER_FALL, Walls, like_muscle
from dicom_etl.checks.measurements import INNER, OUTER
from dicom_etl.checks.myocardium import Myocardium
from dicom_etl.checks.structures import Contours
from dicom_etl.geometry.locations import ED, ES
from dicom_etl.records import FloatArray, SampleFacts


class DrawnStudy:
    """The drawn images of one study.

    Parameters
    ----------
    images : sequence of SampleFacts
        In row order, each with a contour.
    """

    def __init__(self, images: Sequence[SampleFacts]) -> None:
        self.images = tuple(images)

    @cached_property
    def structures(self) -> dict[str, Contours]:
        """What is drawn, by structure in the order of their names."""
        names = sorted({contour.structure for facts in self.images for contour in facts.contours})
        return {name: Contours(self.images, name) for name in names}

    @property
    def inner(self) -> Contours | None:
        """The inner contours, if there are any."""
        return self.structures.get(INNER)

    @cached_property
    def walls(self) -> Walls | None:
        """The inner contours beside their images, if there are any."""
        if self.inner is None:
            return None
        facts = self.inner.facts
        rings = [contour.ring for contour in self.inner.drawn]
        return Walls(rings, [f.window for f in facts], [f.corner for f in facts])

    @cached_property
    def mirror_gains(self) -> FloatArray:
        """The contrast that each inner contour (contour,) gains when mirrored left to right."""
        if self.inner is None or self.walls is None:
            return np.empty(0)
        return self.walls.mirror_gains(
            np.array([facts.columns for facts in self.inner.facts], dtype=np.int64)
        )

    @cached_property
    def myocardium(self) -> Myocardium | None:
        """The muscle between inner and outer contours, if there are any of both."""
        outer = self.structures.get(OUTER)
        return None if self.inner is None or outer is None else Myocardium(self.inner, outer)

    def borders(self, which: Indices) -> Walls:
        """The outer contours of some images of `myocardium` beside pictures of what is muscle there.

        Its value is the typical one just outside the inner contour.
        """
        assert self.walls is not None
        assert self.myocardium is not None
        outer = self.myocardium.outer
        rows = self.myocardium.which[which].tolist()
        levels = self.walls.levels(self.myocardium.inner[which])
        return Walls(
            [outer.drawn[row].ring for row in rows],
            [like_muscle(outer.facts[row].window, *level) for row, level in zip(rows, levels, strict=True)],
            [outer.facts[row].corner for row in rows],
            BORDER_FALL,
        )

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
