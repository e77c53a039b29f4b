"""Stored values become image values: unused bits, inversion, modality LUT."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicom_etl.dicom import stored_dtype
from dicom_etl.dicom.pixels import modality_values
from dicom_etl.records import ImageHeader
from tests.builders import write_dicom
from tests.dicom.reading import read_image

from .corpus import ramp


def header(**fields: object) -> ImageHeader:
    return ImageHeader(rows=1, columns=1, **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize("bits", [8, 16, 32])
@pytest.mark.parametrize("signed", [0, 1])
def test_integers_stay_integers_without_a_rescale(bits: int, signed: int) -> None:
    made = header(bits_allocated=bits, bits_stored=bits, pixel_representation=signed)
    assert stored_dtype(made) == np.dtype(f"{'ui'[signed]}{bits // 8}")
    assert stored_dtype(header(bits_allocated=bits, rescale_slope=2.0)) == np.float32
    assert stored_dtype(header(bits_allocated=bits, rescale_intercept=-1024.0)) == np.float32


def test_nothing_is_copied_where_nothing_changes(tmp_path: Path) -> None:
    stored = ramp()
    assert modality_values(stored, header()) is stored
    assert not read_image(write_dicom(tmp_path / "1.dcm", stored)).pixels.flags.owndata


@given(
    values=st.lists(st.integers(-(2**31), 2**31 - 1), min_size=1, max_size=20),
    slope=st.floats(-1e3, 1e3).filter(bool),
    intercept=st.floats(-1e6, 1e6),
)
def test_rescaled_values_are_rounded_once(values: list[int], slope: float, intercept: float) -> None:
    made = header(bits_allocated=32, bits_stored=32, rescale_slope=slope, rescale_intercept=intercept)
    got = modality_values(np.array([values], np.int32), made)
    expected = np.array([[np.float32(v * slope + intercept) for v in values]])
    assert got.dtype == stored_dtype(made)
    if (slope, intercept) != (1.0, 0.0):
        np.testing.assert_array_equal(got, expected)


def test_large_images_are_rescaled_block_by_block() -> None:
    stored = np.arange(300 * 1000, dtype=np.int32).reshape(300, 1000)
    made = header(bits_allocated=32, bits_stored=32, rescale_slope=0.5, rescale_intercept=3.0)
    np.testing.assert_array_equal(modality_values(stored, made), (stored * 0.5 + 3).astype(np.float32))


@given(bits=st.integers(1, 16), signed=st.booleans(), data=st.data())
def test_inversion_is_its_own_inverse_and_keeps_the_range(
    bits: int, signed: bool, data: st.DataObject
) -> None:
    low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)
    values = data.draw(st.lists(st.integers(low, high), min_size=1, max_size=20))
    stored = np.array([values], np.int16 if signed else np.uint16)
    made = header(bits_stored=bits, pixel_representation=int(signed), photometric="MONOCHROME1")
    inverted = modality_values(stored, made)
    assert inverted.dtype == stored.dtype
    np.testing.assert_array_equal(inverted.astype(int), low + high - np.array([values]))
    np.testing.assert_array_equal(modality_values(inverted, made), stored)


def test_bits_above_the_stored_ones_are_dropped() -> None:
    signed = header(bits_stored=12, pixel_representation=1)
    np.testing.assert_array_equal(
        modality_values(np.array([[0x0FFF, 0x0800, 0x07FF]], np.int16), signed), [[-1, -2048, 2047]]
    )
    unsigned = header(bits_stored=12)
    np.testing.assert_array_equal(modality_values(np.array([[0xF123]], np.uint16), unsigned), [[0x0123]])


def test_stored_values_are_not_changed_in_place() -> None:
    stored = np.array([[0xF123]], np.uint16)
    modality_values(stored, header(bits_stored=12, photometric="MONOCHROME1"))
    assert stored[0, 0] == 0xF123
