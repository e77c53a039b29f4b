from __future__ import annotations

import base64
from io import BytesIO

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from dicom_etl.report.cards import data_uri, mask_png, picture_png
from dicom_etl.report.overlays import grey, window
from tests.report.reading import read_picture

ANY_IMAGE = arrays.arrays(
    st.sampled_from(["<i2", "<u2", "u1", "<f4"]), arrays.array_shapes(min_dims=2, max_dims=2, max_side=9)
)


@given(ANY_IMAGE)
def test_brighter_pixels_are_never_darker(image: np.ndarray) -> None:
    low, high = window(image)
    assert low < high
    levels = grey(image, low, high)
    assert levels.shape == image.shape
    assert levels.dtype == np.uint8
    known = np.isfinite(image)
    order = np.argsort(image[known], kind="stable")
    assert (np.diff(levels[known][order].astype(int)) >= 0).all()


def test_the_window_is_from_percentiles() -> None:
    image = np.arange(1000, dtype=np.int16).reshape(20, 50)
    image[0, 0] = 30_000
    low, high = window(image)
    assert (low, high) == pytest.approx(np.percentile(image, (1.0, 99.5)).tolist())
    levels = grey(image, low, high)
    assert levels[0, 0] == 255
    assert levels[-1, 0] == pytest.approx(255 * (950 - low) / (high - low), abs=1)


def test_the_whole_range_of_int16_fits() -> None:
    image = np.array([[-32768, 32767], [0, 0]], np.int16)
    assert grey(image, -32768, 32767).tolist() == [[0, 255], [128, 128]]


@pytest.mark.parametrize(
    "image",
    [np.full((3, 3), 7, np.int16), np.full((2, 2), np.nan, np.float32), np.array([[np.nan, 1.0]])],
)
def test_an_image_without_contrast_is_drawn_all_the_same(image: np.ndarray) -> None:
    low, high = window(image)
    assert low < high
    assert np.isfinite([low, high]).all()
    grey(image, low, high)


def test_a_few_pixels_of_another_value_still_have_contrast() -> None:
    image = np.zeros((100, 100), np.int16)
    image[50, 50] = 9
    assert window(image) == (0.0, 9.0)


def test_png_keeps_every_level() -> None:
    levels = np.random.default_rng(0).integers(0, 256, (40, 50), dtype=np.uint8)
    data, factor = picture_png(levels, 10_000)
    assert factor == 1
    assert np.array_equal(np.asarray(read_picture(data_uri(data))), levels)
    assert data_uri(b"\0\1").endswith(base64.b64encode(b"\0\1").decode())


def test_a_large_png_loses_resolution_not_extent() -> None:
    levels = np.random.default_rng(0).integers(0, 256, (300, 401), dtype=np.uint8)
    levels[:, :200] //= 4
    data, factor = picture_png(levels, 40_000)
    assert factor == 2
    assert len(data) <= 40_000
    small = np.asarray(Image.open(BytesIO(data)))
    assert small.shape == (150, 201)
    assert small[:, :99].mean() == pytest.approx(levels[:, :198].mean(), abs=1)
    assert picture_png(levels, 1)[1] == 9  # 300 / 9 is the last side of at least 32


@pytest.mark.parametrize("full", [1, 255])
def test_a_mask_is_the_opacity_of_one_colour(full: int) -> None:
    mask = np.random.default_rng(0).integers(0, full + 1, (7, 11), dtype=np.uint8)
    picture = np.asarray(Image.open(BytesIO(mask_png(mask, full, (1, 2, 3)))).convert("RGBA"))
    assert np.array_equal(picture[..., 3], mask * (255 // full))
    assert (picture[..., :3] == (1, 2, 3)).all()


def test_a_mask_is_small() -> None:
    mask = np.zeros((256, 256), np.uint8)
    mask[100:150, 90:140] = 1
    assert len(mask_png(mask, 1, (1, 2, 3))) < 400
