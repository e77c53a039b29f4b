import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicom_etl.geometry.polygons import centroid, measure, polygon_area
from dicom_etl.impute import distance
from tests.impute.outlines import blob, crescent, disc


@given(st.floats(-30, 30), st.floats(-30, 30))
def test_distance_to_a_square_in_every_direction(x: float, y: float) -> None:
    square = np.array([[-5.0, -5.0], [5.0, -5.0], [5.0, 5.0], [-5.0, 5.0]])
    expected = np.hypot(max(abs(x) - 5, 0), max(abs(y) - 5, 0)) or 5 - max(abs(x), abs(y))
    assert distance.boundary_distance((square,), np.array([[x, y]]))[0] == pytest.approx(expected, abs=1e-6)


def test_repeated_vertices_do_no_harm() -> None:
    ring = np.repeat(disc(0.0, 0.0, 4.0), 2, axis=0)
    assert distance.boundary_distance((ring,), np.zeros((1, 2)))[0] == pytest.approx(4.0, rel=1e-3)


def test_many_points_are_taken_in_blocks() -> None:
    ring = disc(0.0, 0.0, 5.0, 4000)
    points = np.random.default_rng(0).uniform(-9, 9, (500, 2))
    away = distance.boundary_distance((ring,), points)
    np.testing.assert_allclose(away, np.abs(np.hypot(*points.T) - 5), atol=1e-4)


def test_a_ring_inside_a_ring_is_a_hole() -> None:
    inside = distance.signed_distance((disc(10.1, 10.1, 8.0), disc(10.1, 10.1, 4.0)), (21, 21)) < 0
    assert not inside[10, 10]
    assert inside[10, 16]
    assert not inside[0, 0]


@given(st.floats(2, 20), st.floats(2, 20), st.floats(0.05, 0.95))
def test_between_concentric_discs_lies_the_disc_of_the_mean_radius(a: float, b: float, share: float) -> None:
    (ring,) = distance.blend([(disc(0, 0, a),), (disc(0, 0, b),)], np.array([1 - share, share]), 0.7)
    radii = np.hypot(*ring.T)
    assert radii.mean() == pytest.approx((1 - share) * a + share * b, rel=0.02)


def test_swapping_the_shapes_changes_nothing() -> None:
    one, other = (blob(0, 0, 20, 0.1),), (blob(3, 2, 15, 0.12, 1.0),)
    here = distance.blend([one, other], np.array([0.3, 0.7]), 1.0)
    there = distance.blend([other, one], np.array([0.7, 0.3]), 1.0)
    assert polygon_area(here) == pytest.approx(polygon_area(there), rel=1e-12)
    np.testing.assert_allclose(centroid(measure(here)), centroid(measure(there)), atol=1e-9)


def test_crescents_and_pairs_keep_their_kind() -> None:
    (ring,) = distance.blend([(crescent(0, 0, 30),), (crescent(1, 2, 28),)], np.array([0.5, 0.5]), 1.0)
    assert polygon_area((ring,)) == pytest.approx(polygon_area((crescent(0, 0, 29),)), rel=0.1)
    pair = [(disc(0, 0, 6), disc(30, 0, 4)), (disc(0, 1, 6), disc(30, 1, 4))]
    found = distance.blend(pair, np.array([0.5, 0.5]), 1.0)
    assert len(found) == 2
    assert polygon_area(found[:1]) > polygon_area(found[1:])


def test_far_small_shapes_have_nothing_between_them() -> None:
    assert distance.blend([(disc(0, 0, 2),), (disc(40, 0, 2),)], np.array([0.5, 0.5]), 1.0) == ()


def test_a_huge_shape_gets_a_coarser_grid() -> None:
    (ring,) = distance.blend([(disc(0, 0, 4000, 50),), (disc(0, 0, 5000, 50),)], np.array([0.5, 0.5]), 1.0)
    assert polygon_area((ring,)) == pytest.approx(np.pi * 4500**2, rel=0.01)


def test_overlap_is_exact() -> None:
    square = np.array([[0.0, 0.0], [4.0, 0.0], [4.0, 4.0], [0.0, 4.0]])
    assert distance.overlap((square,), (square + np.array([2, 0]),)) == pytest.approx(0.5)
    assert distance.overlap((square,), (square + np.array([9, 0]),)) == 0
    assert distance.overlap((square,), ()) == 0
