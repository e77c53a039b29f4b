from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicom_etl.report.overlays import (
    CropBox,
    close_up,
    close_up_side,
    common_side,
    extent,
    whole_image,
)

SHAPES = st.tuples(st.integers(1, 600), st.integers(1, 600))
PLACES = st.floats(-50, 650)
BOXES = st.none() | st.builds(CropBox, PLACES, PLACES, st.floats(0, 700), st.floats(0, 700))


def test_a_whole_image_begins_half_a_pixel_before_the_first_centre() -> None:
    assert whole_image((96, 128)) == CropBox(-0.5, -0.5, 128.0, 96.0)


@given(BOXES, SHAPES, st.floats(0, 1))
def test_a_square_stays_within_the_image(around: CropBox | None, shape: tuple[int, int], part: float) -> None:
    box = close_up(around, part * min(shape), shape)
    side = box.width
    assert side == box.height >= part * min(shape)
    assert -0.5 <= box.left <= shape[1] - 0.5 - side + 1e-9
    assert -0.5 <= box.top <= shape[0] - 0.5 - side + 1e-9


@given(BOXES, SHAPES)
def test_a_close_up_is_never_larger_than_the_image(around: CropBox | None, shape: tuple[int, int]) -> None:
    assert 0 < close_up_side(around, shape) <= min(shape)


def test_what_is_outlined_is_in_the_middle() -> None:
    around = CropBox(100.0, 80.0, 20.0, 30.0)
    side = close_up_side(around, (256, 256))
    box = close_up(around, 0, (256, 256))
    assert side == pytest.approx(57.0)
    assert box.left + side / 2 == pytest.approx(110.0)
    assert box.top + side / 2 == pytest.approx(95.0)


def test_the_extent_is_of_all_rings_and_passes_over_what_is_not_finite() -> None:
    one = (np.array([[1.0, 2.0], [3.0, 9.0]]), np.array([[np.nan, 0.0], [4.0, 5.0]]))
    assert extent([one, ()]) == CropBox(1.0, 2.0, 3.0, 7.0)
    assert extent([(), (np.array([[np.inf, 0.0]]),)]) is None


def test_one_stray_outline_does_not_set_the_scale() -> None:
    boxes = [CropBox(0.0, 0.0, 30.0, 30.0)] * 30 + [CropBox(0.0, 0.0, 130.0, 130.0), None]
    assert common_side(boxes, (256, 256)) == pytest.approx(57.0)
    assert common_side([None], (256, 256)) == 0.0
