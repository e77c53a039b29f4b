"""The dataset's grid: points keep their place in the patient, and pixels and contours stay on each other."""

from __future__ import annotations

import sys
from math import nan

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from dicom_etl.errors import ImageError, MissingExtraError
from dicom_etl.geometry.grid import place, regrid, resample
from dicom_etl.geometry.polygons import centroid, measure, polygon_area
from dicom_etl.geometry.raster import rasterize
from dicom_etl.records import FloatArray, Image, ImageHeader
from tests.shapes import coverage, disc, ring

TILTED = (0.8, 0.6, 0.0, -0.36, 0.48, 0.8)
"""Direction cosines of a plane that is oblique to all axes."""


def header(rows: int, columns: int, spacing: tuple[float, float] = (1.4, 1.4)) -> ImageHeader:
    return ImageHeader(
        rows,
        columns,
        pixel_spacing_mm=spacing,
        position_mm=(10.0, -20.0, 30.0),
        orientation=TILTED,
    )


def patient(of: ImageHeader, points: FloatArray) -> FloatArray:
    """Return where pixel points x,y lie in the patient, by the formula of DICOM PS3.3 C.7.6.2.1.1."""
    along_row, along_column = np.array(of.orientation[:3]), np.array(of.orientation[3:])
    x, y = points[:, :1] * of.pixel_spacing_mm[1], points[:, 1:] * of.pixel_spacing_mm[0]
    place_mm: FloatArray = np.array(of.position_mm) + x * along_row + y * along_column
    return place_mm


SIZES = st.tuples(st.integers(1, 40), st.integers(1, 40))
SPACINGS = st.floats(0.5, 3)


@given(SIZES, SPACINGS, SPACINGS, st.none() | SIZES, st.none() | st.floats(0.4, 0.5))
def test_a_point_keeps_its_place_in_the_patient(
    old: tuple[int, int],
    between_rows: float,
    between_columns: float,
    size: tuple[int, int] | None,
    spacing_mm: float | None,
) -> None:
    before = header(*old, (between_rows, between_columns))
    placement = place(before, size, spacing_mm)
    points = ring((0, 0), (old[1] - 1, 0), (3.25, 7.5), (-2, 40))
    (moved,) = placement.map_rings((points,))
    assert patient(placement.header, moved) == pytest.approx(patient(before, points), abs=1e-9)
    assert (placement.header.rows, placement.header.columns) == placement.shape
    if size is not None:
        assert placement.shape == size


@given(SIZES, SIZES)
def test_padding_back_undoes_a_crop_and_a_crop_undoes_padding(
    old: tuple[int, int], size: tuple[int, int]
) -> None:
    pixels = np.arange(1, old[0] * old[1] + 1).reshape(old)
    there = regrid(Image(header(*old), pixels, ""), place(header(*old), size))
    back = regrid(there, place(there.header, old))
    middle = old[0] // 2, old[1] // 2
    assert there.pixels[size[0] // 2, size[1] // 2] == pixels[middle]
    assert back.header.position_mm == pytest.approx((10.0, -20.0, 30.0))
    assert back.pixels[middle] == pixels[middle]
    if size[0] > old[0] and size[1] > old[1]:
        assert (back.pixels == pixels).all()


def test_parity_of_crop_and_pad() -> None:
    def columns(old: int, new: int) -> list[int]:
        pixels = np.arange(1, old + 1).reshape(1, old)
        image = regrid(Image(header(1, old), pixels, ""), place(header(1, old), (1, new)))
        return [int(value) for value in image.pixels[0]]

    assert columns(6, 4) == [2, 3, 4, 5]
    assert columns(6, 3) == [3, 4, 5]
    assert columns(5, 4) == [1, 2, 3, 4]
    assert columns(5, 2) == [2, 3]
    assert columns(4, 5) == [1, 2, 3, 4, 1]
    assert columns(3, 6) == [1, 1, 1, 2, 3, 1]
    assert columns(3, 5) == [1, 1, 2, 3, 1]


def test_padding_is_the_least_value_of_the_image() -> None:
    pixels = np.array([[5, 7], [-3, 9]], dtype=np.int16)
    image = regrid(Image(header(2, 2), pixels, "digest"), place(header(2, 2), (4, 4)))
    assert image.pixels.tolist() == [[-3, -3, -3, -3], [-3, 5, 7, -3], [-3, -3, 9, -3], [-3, -3, -3, -3]]
    assert image.pixels.dtype == np.int16
    assert image.sha256 == "digest"


def test_without_size_and_spacing_nothing_changes() -> None:
    before = header(5, 7)
    pixels = np.arange(35).reshape(5, 7)
    placement = place(before)
    points = (ring((1, 1), (3, 1), (2, 4)),)
    assert placement.header == before
    assert placement.map_rings(points) is points
    assert regrid(Image(before, pixels, ""), placement).pixels is pixels


def test_a_spacing_that_is_the_same_but_for_its_digits_does_not_resample(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)
    before = header(8, 8, (1.3671875, 1.3671875))
    pixels = np.arange(64).reshape(8, 8)
    placement = place(before, None, 1.367188)
    assert regrid(Image(before, pixels, ""), placement).pixels is pixels
    assert placement.header.pixel_spacing_mm == (1.3671875, 1.3671875)


def phantom(shape: tuple[int, int], outline: FloatArray) -> NDArray[np.int16]:
    return np.rint(100 + 400 * coverage((outline,), shape)).astype(np.int16)


@pytest.mark.parametrize("spacing_mm", [0.7, 1.0, 1.25, 1.4, 1.6, 2.0, 3.1])
@pytest.mark.parametrize("size", [None, (64, 48), (45, 81)])
@pytest.mark.parametrize("old", [((64, 64), (1.4, 1.4)), ((50, 71), (1.2, 1.5))])
def test_contours_stay_on_the_disc_they_outline(
    spacing_mm: float,
    size: tuple[int, int] | None,
    old: tuple[tuple[int, int], tuple[float, float]],
) -> None:
    shape, spacing = old
    before = header(*shape, spacing)
    outline = disc((shape[1] / 2 - 1.3, shape[0] / 2 + 0.6), 8)
    placement = place(before, size, spacing_mm)
    image = regrid(Image(before, phantom(shape, outline), ""), placement)
    (moved,) = placement.map_rings((outline,))
    assert image.pixels.shape == placement.shape
    assert image.header.pixel_spacing_mm == pytest.approx((spacing_mm, spacing_mm))
    weight = np.clip((image.pixels.astype(np.float64) - 100) / 400, 0, None)
    y, x = np.indices(weight.shape)
    middle = [(weight * x).sum() / weight.sum(), (weight * y).sum() / weight.sum()]
    assert middle == pytest.approx(centroid(measure((moved,))).tolist(), abs=0.03)
    area_mm2 = polygon_area((outline,)) * spacing[0] * spacing[1]
    assert polygon_area((moved,)) * spacing_mm**2 == pytest.approx(area_mm2)
    assert weight.sum() * spacing_mm**2 == pytest.approx(area_mm2, rel=0.02)
    mask = rasterize(measure((moved,)), placement.shape)
    # A pixel that is half blood is as likely on one side of the threshold as on the other.
    assert np.mean((weight > 0.5) == mask) > 0.985


def test_detail_finer_than_the_new_grid_does_not_alias() -> None:
    stripes = np.tile(np.array([0, 1000], dtype=np.int16), (64, 32))
    placement = place(header(64, 64, (1.0, 1.0)), None, 3.0)
    coarse = resample(stripes, placement)
    assert np.abs(coarse[:, 1:-1].astype(int) - 500).max() < 60


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.int32, np.float32, np.float64])
def test_dtype_and_range_stay(dtype: type[np.generic]) -> None:
    edge = np.zeros((20, 20), dtype=dtype)
    edge[:, 10:] = 200
    if np.dtype(dtype) == np.int32:
        edge += np.array(2**30, dtype=dtype)
    for spacing_mm in (0.6, 1.7):
        result = resample(edge, place(header(20, 20, (1.0, 1.0)), None, spacing_mm))
        assert result.dtype == dtype
        assert result.min() == edge.min()
        assert result.max() == edge.max()


def test_as_many_new_pixels_as_fit() -> None:
    assert place(header(10, 10, (1.5, 1.5)), None, 1.0).shape == (15, 15)
    assert place(header(10, 10, (1.0, 1.0)), None, 1.5).shape == (6, 6)
    assert place(header(10, 10, (0.3, 0.3)), None, 0.1).shape == (30, 30)


def test_an_image_without_spacing_cannot_be_resampled() -> None:
    unknown = header(8, 8, (nan, nan))
    with pytest.raises(ImageError, match="no PixelSpacing"):
        place(unknown, None, 1.0)
    assert place(unknown, (4, 4)).shape == (4, 4)


def test_a_grid_of_gigabytes_or_of_nothing_is_refused() -> None:
    with pytest.raises(ImageError, match=r"would become 25600 of 0\.01 mm"):
        place(header(256, 256, (1.0, 1.0)), None, 0.01)
    with pytest.raises(ImageError, match="would become 0 of 99 mm"):
        place(header(8, 8, (1.0, 1.0)), None, 99.0)


def test_the_extra_for_resampling_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(MissingExtraError, match=r'`spacing_mm` .*"dicom-etl\[resample\]"'):
        resample(np.zeros((8, 8)), place(header(8, 8), None, 1.0))
