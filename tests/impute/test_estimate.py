"""The properties an estimate must have whatever the method, then what each method adds."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dicom_etl.geometry.polygons import centroid, first_self_intersection, measure, polygon_area
from dicom_etl.impute.distance import overlap
from dicom_etl.impute.estimate import CONTOURS, DISTANCE, IMAGE, NEAREST, VERTEX_PX, WAYS, estimate, parent_of
from dicom_etl.impute.guide import Slice
from tests.impute.outlines import blank, blob, crescent, disc, heart

BLENDS = (IMAGE, CONTOURS, DISTANCE)
radii = st.floats(6, 25)
shares = st.floats(0.05, 0.95)


@pytest.mark.parametrize("way", WAYS)
def test_two_equal_discs_give_the_disc(way: str) -> None:
    parent = parent_of(blank(), (disc(40, 45, 15),))
    found = estimate(blank(), (parent, parent), (0.4, 0.6), way)
    assert found.agreement == pytest.approx(1.0, abs=1e-3)
    (ring,) = found.rings
    np.testing.assert_allclose(np.hypot(ring[:, 0] - 40, ring[:, 1] - 45), 15, atol=0.1)


@pytest.mark.parametrize("way", [CONTOURS, DISTANCE])
@given(a=radii, b=radii, share=shares)
@settings(max_examples=25)
def test_area_lies_between_that_of_the_parents(way: str, a: float, b: float, share: float) -> None:
    parents = [parent_of(blank(), (blob(48, 48, radius, 0.08),)) for radius in (a, b)]
    area = polygon_area(estimate(blank(), parents, (1 - share, share), way).rings)
    sizes = sorted(polygon_area(parent.shape) for parent in parents)
    assert 0.985 * sizes[0] <= area <= 1.015 * sizes[1]


@pytest.mark.parametrize("way", [CONTOURS, DISTANCE])
def test_area_grows_with_the_share_of_the_larger_parent(way: str) -> None:
    parents = [parent_of(blank(), (blob(48, 48, radius, 0.1),)) for radius in (10.0, 22.0)]
    areas = [
        polygon_area(estimate(blank(), parents, (1 - share, share), way).rings)
        for share in np.linspace(0, 1, 9)
    ]
    assert np.all(np.diff(areas) > 0)


@pytest.mark.parametrize("way", BLENDS)
@given(share=shares, turn=st.floats(0, 6))
@settings(max_examples=15)
def test_swapping_the_parents_changes_nothing(way: str, share: float, turn: float) -> None:
    rings = blob(48, 48, 18, 0.1), blob(50, 46, 14, 0.12, turn)
    one, other = (parent_of(Slice(heart(ring), (1.0, 1.0)), (ring,)) for ring in rings)
    target = Slice(heart(blob(49, 48, 16, 0.1)), (1.0, 1.0))
    here = estimate(target, (one, other), (1 - share, share), way)
    there = estimate(target, (other, one), (share, 1 - share), way)
    assert here.agreement == pytest.approx(there.agreement, rel=1e-9)
    np.testing.assert_allclose(here.rings[0], there.rings[0], atol=VERTEX_PX)


@pytest.mark.parametrize("way", WAYS)
@given(x=st.integers(-9, 9), y=st.integers(-9, 9))
@settings(max_examples=15)
def test_shifting_everything_shifts_the_result(way: str, x: int, y: int) -> None:
    def made(shift: tuple[int, int]) -> np.ndarray:
        rings = blob(48, 48, 18, 0.1) + shift, blob(50, 46, 14, 0.12, 2.0) + shift
        parents = [parent_of(Slice(heart(ring), (1.0, 1.0)), (ring,)) for ring in rings]
        return estimate(
            Slice(heart(blob(49, 48, 16, 0.1) + shift), (1.0, 1.0)), parents, (0.5, 0.5), way
        ).rings[0]

    np.testing.assert_allclose(made((x, y)), made((0, 0)) + np.array([x, y]), atol=0.05)


@pytest.mark.parametrize("way", WAYS)
def test_spacing_and_corner_of_each_image_are_honoured(way: str) -> None:
    """The same outline in mm, drawn on images of other pixels and field of view."""
    shape = blob(50, 40, 16, 0.1)
    target = Slice(np.zeros((90, 60)), (0.8, 1.6), (5.0, -3.0))
    images = blank(), Slice(np.zeros((50, 40)), (2.0, 1.3), (-20.0, 11.0))
    parents = [parent_of(image, image.rings_px((shape,))) for image in images]
    found = estimate(target, parents, (0.5, 0.5), way)
    area = polygon_area(found.rings) * 0.8 * 1.6
    assert area == pytest.approx(polygon_area((shape,)), rel=0.01)
    (centre,) = target.rings_mm((centroid(measure(found.rings)),))
    np.testing.assert_allclose(centre, centroid(measure((shape,))), atol=0.05)


@given(dx=st.floats(-4, 4), dy=st.floats(-4, 4), growth=st.floats(0.85, 1.15))
@settings(max_examples=40)
def test_the_image_finds_a_slice_that_moved(dx: float, dy: float, growth: float) -> None:
    """A breath-hold shift is invisible in the parents' contours and plain in the image."""
    rings = blob(48, 48, 17, 0.08), blob(48, 48, 19, 0.08)
    parents = [parent_of(Slice(heart(ring), (1.0, 1.0)), (ring,)) for ring in rings]
    truth = blob(48 + dx, 48 + dy, 18 * growth, 0.08)
    target = Slice(heart(truth), (1.0, 1.0))
    found = estimate(target, parents, (0.5, 0.5)).rings
    assert _dice(found, truth) > 0.97
    assert first_self_intersection(measure(found)) is None


def test_papillary_muscles_stay_where_the_parents_left_them() -> None:
    """A dark muscle just inside the parents' contours must not pull the boundary inwards."""

    def picture(ring: np.ndarray) -> np.ndarray:
        image = heart(ring)
        x, y = ring.mean(axis=0) + np.array([12, 0])
        rows, columns = np.mgrid[:96, :96]
        image[np.hypot(columns - x, rows - y) < 3.5] = 110
        return image

    rings = disc(48, 48, 17), disc(48, 48, 18)
    parents = [parent_of(Slice(picture(ring), (1.0, 1.0)), (ring,)) for ring in rings]
    truth = disc(50, 47, 17.5)
    found = estimate(Slice(picture(truth), (1.0, 1.0)), parents, (0.5, 0.5))
    assert _dice(found.rings, truth) > 0.985
    assert found.agreement > 0.97


def test_without_an_image_to_go_by_the_contours_decide() -> None:
    rings = blob(48, 48, 18, 0.1), blob(50, 46, 14, 0.12, 2.0)
    parents = [parent_of(Slice(heart(ring), (1.0, 1.0)), (ring,)) for ring in rings]
    guided = estimate(blank(), parents, (0.5, 0.5), IMAGE)
    blended = estimate(blank(), parents, (0.5, 0.5), CONTOURS)
    np.testing.assert_allclose(guided.rings[0], blended.rings[0], atol=VERTEX_PX)


def test_other_shapes_fall_back_to_distances() -> None:
    parents = [parent_of(blank(), (crescent(48, 40, radius),)) for radius in (26.0, 30.0)]
    expected = estimate(blank(), parents, (0.5, 0.5), DISTANCE)
    for way in (IMAGE, CONTOURS):
        np.testing.assert_array_equal(estimate(blank(), parents, (0.5, 0.5), way).rings[0], expected.rings[0])


def test_a_tiny_outline_keeps_its_centre_inside() -> None:
    rings = disc(48, 48, 2.0), disc(48, 48, 3.0)
    rng = np.random.default_rng(3)
    parents = [parent_of(Slice(rng.normal(size=(96, 96)), (1.0, 1.0)), (ring,)) for ring in rings]
    found = estimate(Slice(rng.normal(size=(96, 96)), (1.0, 1.0)), parents, (0.5, 0.5)).rings
    assert first_self_intersection(measure(found)) is None
    assert polygon_area(found) > 0


def test_nearest_copies_the_heavier_parent_and_the_first_of_equals() -> None:
    parents = [parent_of(blank(), (disc(48, 48, radius),)) for radius in (10.0, 20.0)]
    for weights, radius in (((0.7, 0.3), 10.0), ((0.2, 0.8), 20.0), ((0.5, 0.5), 10.0)):
        found = estimate(blank(), parents, weights, NEAREST)
        np.testing.assert_allclose(found.rings[0], disc(48, 48, radius), atol=VERTEX_PX)
        assert found.agreement < 1


def test_nothing_between_small_outlines_far_apart() -> None:
    parents = [parent_of(blank(), (disc(x, 48, 2.0), disc(x, 60, 2.0))) for x in (20.0, 70.0)]
    found = estimate(blank(), parents, (0.5, 0.5))
    assert found.rings == ()
    assert found.agreement == 0


def _dice(rings: tuple[np.ndarray, ...], truth: np.ndarray) -> float:
    return overlap(rings, (truth,))
