"""Which rings count as stars, and which way around: against the signed area and rings that are none."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicom_etl.geometry.planar import extent, turning
from dicom_etl.geometry.polygons import polygon_area
from dicom_etl.records import FloatArray
from tests.shapes import coverage, disc, ring, ring_strategy, square, star_strategy

WEDGE = ring((0, 0), (20, 0), (20, 1), (2, 2), (1, 20), (0, 20))
"""A star around its corner, of which the middle of its box sees nothing from inside."""


def closed(points: FloatArray) -> FloatArray:
    return np.concatenate((points, points[:1]))


def turn(points: FloatArray) -> int:
    left, top, right, bottom = extent(points)
    return turning(closed(points), (left + right) / 2, (top + bottom) / 2)


@given(star_strategy(), st.sampled_from((1, -1)), st.integers(0, 23))
def test_a_star_turns_the_way_of_its_area(points: FloatArray, step: int, first: int) -> None:
    other = np.roll(points, first, axis=0)[::step]
    line = closed(other)
    assert turning(line, 8, 8) == step
    assert turn(other) in (0, step)


@pytest.mark.parametrize("step", [1, -1])
def test_a_star_is_found_from_a_centre_outside_it(step: int) -> None:
    assert turn(WEDGE[::step]) == step
    assert coverage((WEDGE[::step],), (24, 24)).sum() == pytest.approx(polygon_area((WEDGE,)))


@pytest.mark.parametrize(
    "points",
    [
        ring((0, 0), (9, 0), (9, 9), (6, 9), (6, 3), (3, 3), (3, 9), (0, 9)),
        ring((0, 0), (6, 6), (6, 0), (0, 6)),
        np.concatenate((disc((5, 5), 4, 12), disc((5, 5), 3, 12))),
        np.concatenate((square(0, 0, 4), square(0, 0, 4))),
        ring((0, 0), (3, 3), (6, 6)),
        ring((2, 2), (2, 2), (2, 2)),
    ],
    ids=["a horseshoe", "a figure of eight", "twice around", "twice the same", "a line", "a point"],
)
def test_what_is_no_star(points: FloatArray) -> None:
    assert turn(points) == 0


@given(ring_strategy())
def test_what_counts_as_a_star_has_the_area_of_its_edges(points: FloatArray) -> None:
    found = turn(points)
    if found:
        x, y = (points - points[0]).T
        area = float(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2
        assert np.sign(area) == found
        # Seen again as two rings with one that encloses nothing, it goes through the search for crossings.
        assert polygon_area((points, points[:1])) == pytest.approx(abs(area), abs=1e-9)


def test_the_extent_of_points() -> None:
    points = ring((3, -1), (7.5, 2), (-2, 4), (0, 9.25))
    assert extent(points) == (-2, -1, 7.5, 9.25)
