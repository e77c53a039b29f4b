import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicom_etl.geometry.polygons import polygon_area
from dicom_etl.impute import rays
from tests.impute.outlines import blob, crescent, disc


def test_a_disc_has_one_radius() -> None:
    outline = rays.to_rays((disc(12.0, -7.0, 9.0, 720),))
    assert outline is not None
    np.testing.assert_allclose(outline.centre, (12, -7), atol=1e-9)
    np.testing.assert_allclose(outline.radii, 9.0, rtol=2e-5)


@given(st.floats(3, 30), st.floats(0, 0.15), st.floats(0, 6.3))
def test_a_ring_survives_radii_and_back(radius: float, wobble: float, turn: float) -> None:
    ring = blob(100.0, 80.0, radius, wobble, turn)
    outline = rays.to_rays((ring,))
    assert outline is not None
    assert polygon_area((outline.ring(),)) == pytest.approx(polygon_area((ring,)), rel=0.005)


def test_a_coarse_polygon_is_met_on_its_edges() -> None:
    square = np.array([[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]])
    radii = rays.outermost_crossings(square)
    np.testing.assert_allclose(radii, 1 / np.abs(rays.DIRECTIONS).max(axis=1))


def test_neither_direction_nor_first_vertex_matters() -> None:
    ring = blob(0.0, 0.0, 20.0, 0.1)
    expected = rays.outermost_crossings(ring)
    np.testing.assert_allclose(rays.outermost_crossings(ring[::-1]), expected, atol=1e-12)
    np.testing.assert_allclose(rays.outermost_crossings(np.roll(ring, 17, axis=0)), expected, atol=1e-12)


def test_other_shapes_are_declined() -> None:
    assert rays.to_rays((crescent(0.0, 0.0, 30.0),)) is None
    assert rays.to_rays((disc(0.0, 0.0, 5.0), disc(20.0, 0.0, 5.0))) is None
    assert rays.to_rays(()) is None


def test_half_pixel_steps_are_still_star_shaped() -> None:
    for radius in (3.0, 6.0, 20.0):
        steps = np.round(disc(0.2, 0.1, radius, int(12 * radius)) * 2) / 2
        ring = steps[(steps != np.roll(steps, 1, axis=0)).any(axis=1)]
        assert rays.to_rays((ring,)) is not None


def test_areas_and_centres_are_averaged() -> None:
    one = rays.RadialOutline(np.array([0.0, 8.0]), np.full(rays.RAYS, 3.0))
    other = rays.RadialOutline(np.array([4.0, 0.0]), np.full(rays.RAYS, 5.0))
    found = rays.blend([one, other], np.array([0.25, 0.75]))
    np.testing.assert_allclose(found.centre, (3, 2))
    np.testing.assert_allclose(found.radii**2, 0.25 * 9 + 0.75 * 25)


def test_overlap_of_concentric_discs() -> None:
    one, other = np.full(rays.RAYS, 3.0), np.full(rays.RAYS, 4.0)
    assert rays.overlap(one, other) == pytest.approx(2 * 9 / (9 + 16))
    assert rays.overlap(one, one) == pytest.approx(1.0)
