"""Points along outlines, parts of images, and the contrast between them, each for a whole study at once."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicom_etl.checks.edge_contrast import (
    BORDER_FALL,
    DISTANCE_PX,
    MARGIN_PX,
    POINTS,
    Walls,
    both_sides,
    cut_window,
    equal_steps,
    like_muscle,
)
from dicom_etl.records import FloatArray
from tests.shapes import ring_strategy

Box = tuple[float, float, float, float]


def circle(x: float, y: float, radius: float, points: int = 90) -> FloatArray:
    angle = np.arange(points) * (2 * np.pi / points)
    return np.column_stack((x + radius * np.cos(angle), y + radius * np.sin(angle)))


def box_of(ring: FloatArray) -> Box:
    left, top = ring.min(axis=0).tolist()
    right, bottom = ring.max(axis=0).tolist()
    return left, top, right, bottom


def disc(x: float, y: float, radius: float, bright: float = 900, dark: float = 100) -> np.ndarray:
    rows, columns = np.mgrid[:96, :96]
    noise = np.random.default_rng(0).normal(0, 30, (96, 96))
    return (np.where(np.hypot(columns - x, rows - y) < radius, bright, dark) + noise).astype(np.int16)


def walls(*slices: tuple[np.ndarray, FloatArray]) -> Walls:
    windows, corners = zip(*(cut_window(pixels, [box_of(ring)]) for pixels, ring in slices), strict=True)
    return Walls(equal_steps([ring for _, ring in slices]), windows, corners)


class TestPoints:
    """Points along rings and beside them."""

    @given(st.lists(ring_strategy(), min_size=1, max_size=4), st.integers(0, 3))
    def test_a_ring_has_the_same_points_in_any_company(self, rings: list[FloatArray], which: int) -> None:
        ring = rings[which % len(rings)]
        alone = equal_steps([ring])[0]
        assert (equal_steps(rings)[which % len(rings)] == alone).all()
        assert (equal_steps([ring, *rings])[0] == alone).all()

    @given(ring_strategy())
    def test_steps_along_the_ring_are_equal(self, ring: FloatArray) -> None:
        found = equal_steps([ring])[0]
        closed = np.concatenate((ring, ring[:1]))
        along = np.concatenate(([0.0], np.cumsum(np.hypot(*np.diff(closed, axis=0).T))))
        at = np.arange(POINTS) * along[-1] / POINTS
        expected = np.interp(at, along, closed[:, 0]) + 1j * np.interp(at, along, closed[:, 1])
        assert np.abs(found - expected).max() < 1e-4

    @pytest.mark.parametrize("step", [1, -1], ids=["with x towards y", "against"])
    def test_inside_is_inside_in_either_direction(self, step: int) -> None:
        inside, outside = both_sides(equal_steps([circle(50, 40, 20)[::step]]))[0]
        assert np.abs(inside - (50 + 40j)) == pytest.approx(20 - DISTANCE_PX, abs=0.1)
        assert np.abs(outside - (50 + 40j)) == pytest.approx(20 + DISTANCE_PX, abs=0.1)

    def test_repeated_vertices_do_no_harm(self) -> None:
        ring = circle(30, 30, 9, 12)
        assert equal_steps([np.repeat(ring, 3, axis=0)])[0] == pytest.approx(equal_steps([ring])[0])


class TestWindows:
    """The parts of images that are kept."""

    @pytest.mark.parametrize(
        "box",
        [
            (40.0, 30.0, 60.0, 55.0),
            (0.0, 0.0, 5.0, 95.0),
            (-300.0, 20.0, 9000.0, 1e9),
            (200.0, 200.0, 210.0, 210.0),
        ],
        ids=["inside", "at the edge", "far beyond", "outside"],
    )
    def test_a_window_is_the_image_with_its_edge_repeated(self, box: Box) -> None:
        pixels = np.arange(96 * 96, dtype=np.int16).reshape(96, 96)
        window, (left, top) = cut_window(pixels, [box])
        assert max(window.shape) <= 96 + 2 * MARGIN_PX
        wide = np.pad(pixels, MARGIN_PX, mode="edge")
        rows, columns = window.shape
        y, x = top + MARGIN_PX, left + MARGIN_PX
        assert (window == wide[y : y + rows, x : x + columns]).all()
        assert left + MARGIN_PX <= max(min(box[0], 95), 0) <= left + columns - MARGIN_PX
        assert not np.shares_memory(window, pixels)

    def test_points_are_looked_up_on_their_own_image(self) -> None:
        images = [np.full((96, 96), value, np.int16) for value in (3, 5, 7)]
        rings = [circle(30 + 5 * k, 40, 8 + k) for k in range(3)]
        found = walls(*zip(images, rings, strict=True))
        assert found.levels(np.array([2, 0, 1])).tolist() == [[7, 7], [3, 3], [5, 5]]


class TestWalls:
    """The contrast across contours."""

    def test_it_is_one_on_a_wall_and_none_where_there_is_none(self) -> None:
        found = walls(
            (disc(48, 48, 15), circle(48, 48, 15)),
            (disc(48, 48, 15), circle(25, 25, 9)),
            (np.full((96, 96), 7, np.int16), circle(48, 48, 15)),
        )
        assert found.contrast[0] == pytest.approx(1, abs=0.05)
        assert found.contrast[1] == pytest.approx(0, abs=0.3)
        assert np.isnan(found.contrast[2])

    @pytest.mark.parametrize("x", [-7, -5, 0, 6])
    @pytest.mark.parametrize("y", [-5, 0, 7])
    def test_the_way_back_is_found(self, x: int, y: int) -> None:
        right = (disc(48, 48, 15), circle(48, 48, 15))
        gain, shift = walls(right, (disc(48, 48, 15), circle(48 + x, 48 + y, 15)), right).better
        assert np.hypot(*(shift[1] + (x, y))) <= 1.5
        assert (gain[1] > 0.15) == ((x, y) != (0, 0))
        assert gain[[0, 2]] == pytest.approx(0, abs=0.05)

    def test_bright_fat_on_one_side_makes_no_wall(self) -> None:
        pixels = disc(48, 48, 0)
        pixels[:, :40] = 30_000
        assert abs(walls((pixels, circle(48, 48, 10))).contrast[0]) < 0.4

    def test_the_middle_of_the_contrast_around_is_that_of_the_contours(self) -> None:
        found = walls((disc(48, 48, 15), circle(51, 48, 15)), (disc(40, 48, 12), circle(43, 48, 12)))
        around = found.contrast_around(np.arange(2))
        assert around[1, 1] == pytest.approx(found.contrast.mean())
        assert np.unravel_index(around.argmax(), (3, 3))[1] == 0

    def test_exchanged_contours_gain_what_their_own_lack(self) -> None:
        small, large = disc(48, 48, 12), disc(48, 48, 18)
        found = walls((small, circle(48, 48, 18)), (large, circle(48, 48, 12)), (large, circle(48, 48, 12)))
        gains = found.exchange_gains(np.array([(0, 1), (1, 2)]))
        assert (gains[0] > 0.5).all()
        assert gains[1].sum() == pytest.approx(0, abs=0.1)

    @pytest.mark.parametrize("x", [30.0, 44.0])
    def test_mirrored_contours_gain_what_their_own_lack(self, x: float) -> None:
        # 96 columns: what lies at x lies at 95 - x then.
        right, wrong = (disc(x, 48, 12), circle(x, 48, 12)), (disc(95 - x, 48, 12), circle(x, 48, 12))
        gains = walls(right, wrong).mirror_gains(np.array([96, 96]))
        near = abs(95 - 2 * x) < 10
        assert gains[0] < -0.3
        # Beyond the window, 12 px around a contour, nothing can be seen.
        assert (gains[1] > 0.3) == near
        assert walls(right).mirror_gains(np.array([int(2 * x) + 1])) == pytest.approx(0, abs=0.02)

    def test_a_flat_image_says_nothing_about_mirrors(self) -> None:
        found = walls((np.full((96, 96), 7, np.int16), circle(40, 48, 12)))
        assert np.isnan(found.mirror_gains(np.array([96]))).all()

    def test_the_values_on_both_sides_are_those_of_blood_and_muscle(self) -> None:
        found = walls((disc(48, 48, 15), circle(48, 48, 15)), (disc(40, 48, 9, 700, 200), circle(40, 48, 9)))
        assert found.levels(np.array([1, 0])) == pytest.approx(np.array([(700, 200), (900, 100)]), abs=20)

    @pytest.mark.parametrize("dtype", [np.int16, np.uint16])
    def test_the_border_of_muscle_is_a_wall_whatever_lies_beyond(self, dtype: type) -> None:
        rows, columns = np.mgrid[:96, :96]
        from_middle = np.hypot(columns - 48, rows - 48)
        beyond = np.where(columns < 48, 900, 0)  # fat on one side, air on the other
        image: np.ndarray = np.where(from_middle < 12, 600, np.where(from_middle < 18, 300, beyond))
        window, corner = cut_window(image.astype(dtype), [box_of(circle(48, 48, 18))])
        picture = like_muscle(window, 600, 300)
        assert picture.min() == -1
        assert picture.max() == 0
        ring, off = circle(48, 48, 18), circle(52, 45, 18)
        found = Walls(equal_steps([ring, off]), [picture, picture], [corner, corner], BORDER_FALL)
        assert found.contrast[0] == pytest.approx(1.5, abs=0.1)
        gain, shift = found.better
        assert gain[0] < 0.1
        assert gain[1] > 0.5
        assert np.hypot(*(shift[1] - (-4, 3))) <= 1.5

    def test_where_blood_is_like_muscle_nothing_breaks(self) -> None:
        assert set(like_muscle(np.array([[5, 6]]), 5, 5).ravel().tolist()) <= {0, -1}

    def test_a_contour_far_outside_its_image_is_measured_without_fault(self) -> None:
        found = walls((disc(48, 48, 15), circle(5000, -700, 15)), (disc(48, 48, 15), circle(48, 48, 15)))
        gain, shift = found.better
        assert found.contrast[1] == pytest.approx(1, abs=0.05)
        assert gain[1] < 0.05
        assert np.hypot(*shift[1]) < 2
