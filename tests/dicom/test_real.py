"""The 700 real images are accepted, and what we make of them is what pydicom makes of them."""

from __future__ import annotations

import hashlib
import warnings
from pathlib import Path

import numpy as np
import pydicom
import pytest

from dicom_etl.dicom import read_headers, read_image


@pytest.fixture
def images(real_source: Path) -> list[Path]:
    return sorted((real_source / "dicoms").rglob("*.dcm"))


def test_every_image_is_accepted(images: list[Path]) -> None:
    headers = [header for path in images for header in read_headers(path)]
    assert len(headers) == 700
    assert {(h.rows, h.columns, h.bits_stored, h.pixel_representation) for h in headers} == {
        (256, 256, 16, 1)
    }
    assert {note for h in headers for note in h.notes} == {"invalid-uid"}


def test_equal_to_pydicom(images: list[Path]) -> None:
    for path in images[::23]:
        image = read_image(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            dataset = pydicom.dcmread(path)
        assert image.pixels.dtype == np.int16
        np.testing.assert_array_equal(image.pixels, dataset.pixel_array)
        assert image.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
        assert image.header.instance_number == dataset.InstanceNumber
        assert image.header.position_mm == tuple(dataset.ImagePositionPatient)
        assert image.header.orientation == tuple(dataset.ImageOrientationPatient)
        assert image.header.pixel_spacing_mm == tuple(dataset.PixelSpacing)
        assert image.header.trigger_time_ms == dataset.TriggerTime
        assert image.header.manufacturer == dataset.Manufacturer
        assert image.header.instance_uid == dataset.SOPInstanceUID
