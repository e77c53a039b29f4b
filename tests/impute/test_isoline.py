import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from dicom_etl.geometry.polygons import first_self_intersection, measure, polygon_area
from dicom_etl.impute.distance import isolines


def test_a_disc_is_found_between_the_nodes() -> None:
    y, x = np.mgrid[:40, :50].astype(float)
    (ring,) = isolines(np.hypot(x - 21.3, y - 18.6) - 12.4)
    np.testing.assert_allclose(np.hypot(ring[:, 0] - 21.3, ring[:, 1] - 18.6), 12.4, atol=0.02)
    assert polygon_area((ring,)) == pytest.approx(np.pi * 12.4**2, rel=0.005)


def test_one_node_inside_gives_a_diamond() -> None:
    field = np.ones((3, 3))
    field[1, 1] = -1
    (ring,) = isolines(field)
    assert {tuple(point) for point in ring.tolist()} == {(1, 0.5), (1.5, 1), (1, 1.5), (0.5, 1)}


@pytest.mark.parametrize(("middle", "rings"), [(3.0, 2), (-3.0, 1)])
def test_a_saddle_is_parted_or_joined_by_its_middle(middle: float, rings: int) -> None:
    field = np.full((4, 4), 5.0)
    field[1, 1] = field[2, 2] = -1 if middle > 0 else -10
    field[1, 2] = field[2, 1] = 5 if middle > 0 else 1
    assert len(isolines(field)) == rings


def test_a_hole_is_a_ring_of_its_own() -> None:
    y, x = np.mgrid[:40, :40].astype(float)
    away = np.hypot(x - 20, y - 20)
    assert len(isolines(np.maximum(away - 15, 7 - away))) == 2


def test_nothing_inside_gives_nothing() -> None:
    assert isolines(np.ones((5, 5))) == ()


@given(arrays(np.int8, (7, 8), elements=st.integers(-3, 3)))
def test_any_field_gives_simple_rings_with_the_nodes_inside_them(values: np.ndarray) -> None:
    field = np.pad(values.astype(float) + 0.5, 1, constant_values=1.0)
    rings = isolines(field)
    assert all(first_self_intersection(measure((ring,))) is None for ring in rings)
    inside = field < 0
    for row, column in np.argwhere(inside):
        assert _winding(rings, column, row) % 2 == 1
    for row, column in np.argwhere(~inside):
        assert _winding(rings, column, row) % 2 == 0


def _winding(rings: tuple[np.ndarray, ...], x: int, y: int) -> int:
    crossings = 0
    for ring in rings:
        for (x0, y0), (x1, y1) in zip(ring, np.roll(ring, -1, axis=0), strict=True):
            if (y0 <= y + 1e-9) != (y1 <= y + 1e-9):
                crossings += x < x0 + (y + 1e-9 - y0) / (y1 - y0) * (x1 - x0)
    return crossings
