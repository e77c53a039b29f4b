"""The 700 real images are accepted, and what we make of them is what pydicom makes of them."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

from tests.dicom.reading import read_headers, read_image

from . import oracle


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
        image, data = read_image(path), path.read_bytes()
        assert image.pixels.dtype == np.int16
        assert image.sha256 == hashlib.sha256(data).hexdigest()
        np.testing.assert_array_equal(image.pixels, oracle.pixel_values(data, image.header))
        expected = oracle.header_values(data)
        assert {name: getattr(image.header, name) for name in expected} == expected
        assert read_headers(path) == (image.header,)
