"""What is remembered of rings: never another ring's answer, nor that of a ring which changed since."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicom_etl.geometry.outlines import box_of, fault, measure, outline
from dicom_etl.geometry.polygons import polygon_area
from dicom_etl.records import FloatArray
from tests.shapes import ring_strategy


def square(side: float) -> FloatArray:
    return np.array([[0.0, 0.0], [side, 0.0], [side, side], [0.0, side]])


@given(st.lists(st.integers(1, 40), min_size=1, max_size=60))
def test_read_only_rings_are_not_mixed_up(sides: list[int]) -> None:
    for side in sides:
        ring = square(side)
        ring.flags.writeable = False
        # Twice, so that the second answer is a remembered one; then the ring goes, and its place is used again.
        assert polygon_area((ring,)) == polygon_area((ring,)) == side**2


def test_a_ring_that_can_be_changed_is_looked_at_anew() -> None:
    ring = square(10)
    assert fault(ring) is None
    ring[[1, 2]] = ring[[2, 1]]
    assert fault(ring) is not None
    assert polygon_area((ring,)) == 50
    assert len(outline((ring,))[0]) != 4


@given(ring_strategy(), st.booleans())
def test_what_is_known_of_a_ring_is_true_of_its_points(ring: FloatArray, read_only: bool) -> None:
    ring.flags.writeable = not read_only
    known = measure(ring)
    assert known.box == box_of((ring,)) == (*ring.min(axis=0), *ring.max(axis=0))
    moved = (ring != np.roll(ring, 1, axis=0)).any(axis=1)
    if moved.any():
        start, end = known.line[:-1], known.line[1:]
        assert (start != end).any(axis=1).all()
        assert len(start) == np.count_nonzero(moved)
        assert {tuple(point) for point in start.tolist()} == {tuple(point) for point in ring.tolist()}
        assert known.line[0].tolist() == known.line[-1].tolist()
    if known.turn:
        x, y = (ring - ring[0]).T
        area = float(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2
        assert known.area == polygon_area((ring,)) == pytest.approx(known.turn * area, abs=1e-9)
        assert fault(ring) is None


def test_the_box_of_several_rings_holds_all_of_them() -> None:
    assert box_of((square(4) + 10, square(2))) == (0, 0, 14, 14)


def test_a_ring_without_points_encloses_nothing() -> None:
    nothing = np.empty((0, 2))
    assert measure(nothing).turn == 0
    assert polygon_area((nothing,)) == 0
    assert polygon_area((np.ones((4, 2)),)) == 0
