"""What is remembered of rings: never another ring's answer, nor that of a ring which changed since."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from dicom_etl.planar import fault, outline
from dicom_etl.polygons import polygon_area
from dicom_etl.records import FloatArray


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
