"""What is measured of an outline is true of its points."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given

from dicom_etl.geometry.polygons import first_self_intersection, measure
from dicom_etl.records import FloatArray
from tests.shapes import ring_strategy, square


@given(ring_strategy())
def test_what_is_measured_of_a_ring_is_true_of_its_points(ring: FloatArray) -> None:
    outline = measure((ring,))
    assert outline.box == (*ring.min(axis=0), *ring.max(axis=0))
    if outline.simple:
        start, end = outline.boundary
        assert (start != end).any(axis=1).all()
        assert len(start) == np.count_nonzero((ring != np.roll(ring, 1, axis=0)).any(axis=1))
        assert {tuple(point) for point in start.tolist()} == {tuple(point) for point in ring.tolist()}
        x, y = (ring - ring[0]).T
        shoelace = float(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2
        assert outline.area == pytest.approx(abs(shoelace), abs=1e-9)
        assert first_self_intersection(outline) is None


def test_several_rings_are_measured_together() -> None:
    outline = measure((square(10, 10, 4), square(0, 0, 2)))
    assert (outline.box, outline.area, outline.simple) == ((0, 0, 14, 14), 20, False)


def test_a_ring_without_points_encloses_nothing() -> None:
    for nothing in ((), (np.empty((0, 2)),), (np.ones((4, 2)),)):
        outline = measure(nothing)
        assert (outline.area, outline.simple) == (0, False)
        assert first_self_intersection(outline) is None
