import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicom_etl.impute.guide import Slice


def test_millimetres_follow_spacing_of_columns_in_x_and_of_rows_in_y() -> None:
    image = Slice(np.zeros((4, 5)), (2.0, 3.0), (10.0, 20.0))
    np.testing.assert_allclose(image.rings_mm((np.array([[1.0, 1.0]]),))[0], [[13.0, 22.0]])


@given(st.floats(-50, 50), st.floats(-50, 50))
def test_pixels_undo_millimetres(x: float, y: float) -> None:
    image = Slice(np.zeros((4, 5)), (1.3, 0.7), (-31.0, 4.0))
    ring = np.array([[x, y], [x + 1, y], [x, y + 1]])
    np.testing.assert_allclose(image.rings_px(image.rings_mm((ring,)))[0], ring, atol=1e-9)


def test_a_plane_is_sampled_exactly_between_pixels() -> None:
    y, x = np.mgrid[:6, :7]
    image = Slice((2 * x + 5 * y).astype(np.int16), (1.0, 1.0))
    points = np.array([[0.0, 0.0], [2.25, 3.5], [6.0, 5.0], [5.9, 4.1]])
    np.testing.assert_allclose(image.sample(*points.T), 2 * points[:, 0] + 5 * points[:, 1])


def test_beyond_the_edge_the_edge_is_seen() -> None:
    image = Slice(np.array([[1, 2], [3, 4]]), (1.0, 1.0))
    np.testing.assert_allclose(
        image.sample(np.array([-9.0, 9.0, 9.0]), np.array([-9.0, -9.0, 9.0])), [1, 2, 4]
    )


@pytest.mark.parametrize("shape", [(1, 1), (1, 4), (4, 1)])
def test_an_image_one_pixel_wide_can_be_sampled(shape: tuple[int, int]) -> None:
    image = Slice(np.full(shape, 7), (1.0, 1.0))
    np.testing.assert_allclose(image.sample(np.array([0.0, 0.5, 3.0]), np.array([0.0, 0.5, 3.0])), 7)


def test_unsigned_pixels_do_not_wrap() -> None:
    image = Slice(np.array([[200, 100]], dtype=np.uint8), (1.0, 1.0))
    np.testing.assert_allclose(image.sample(np.array([0.25]), np.array([0.0])), 175)
