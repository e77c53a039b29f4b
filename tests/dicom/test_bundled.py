"""Every test image that pydicom brings: equal to its own reading, or one clear error."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom.data
import pytest

from dicom_etl.errors import ImageError
from tests.dicom.reading import read_headers, read_image

from . import oracle

_FOLDER = Path(pydicom.data.__file__).parent / "test_files"
FILES = sorted(path for path in _FOLDER.rglob("*") if path.is_file() and "TINY_ALPHA" not in path.parts)
READ = {
    "693_J2KI.dcm", "CT_small.dcm", "J2K_pixelrep_mismatch.dcm", "JPEG2000.dcm",
    "JPEGLSNearLossless_08.dcm", "JPEGLSNearLossless_16.dcm", "MR_small.dcm", "MR_small_RLE.dcm",
    "MR_small_bigendian.dcm", "MR_small_expb.dcm", "MR_small_implicit.dcm", "MR_small_jp2klossless.dcm",
    "MR_small_jpeg_ls_lossless.dcm", "image_dfl.dcm", "rtdose_1frame.dcm",
    "rtdose_expb_1frame.dcm", "rtdose_rle_1frame.dcm", "examples_overlay.dcm", "6154", "4467",
}  # fmt: skip
"""Some that must be read, so that refusing everything does not pass."""


@pytest.fixture(scope="module", autouse=True)
def _codecs() -> None:
    for module in ("PIL", "jpeg_ls", "openjpeg", "gdcm"):
        pytest.importorskip(module)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_equal_or_one_clear_error(path: Path) -> None:
    data = path.read_bytes()
    if path.name not in READ and (message := _refusal(path)):
        assert "\n" not in message
        assert 10 < len(message) < 160
        return
    image = read_image(path)
    if path.name in {"JPEG-lossy.dcm", "JPGExtended.dcm"}:
        return  # of 12 bits, which pydicom does not ask GDCM for; test_pydicom_reader holds its values
    expected = oracle.pixel_values(data, image.header)
    if image.header.frames > 1:  # without functional groups, so their place is unknown
        np.testing.assert_array_equal(image.pixels, expected[0])
        return
    np.testing.assert_array_equal(image.pixels, expected)
    assert oracle.differences(image.header, data) == {}
    assert repr(read_headers(path)) == repr((image.header,))


def _refusal(path: Path) -> str:
    try:
        read_image(path)
    except ImageError as error:
        return str(error)
    return ""


def test_about_sixty_of_them() -> None:
    assert len(FILES) > 100, "pydicom has moved its test images"
    assert {path.name for path in FILES} >= READ
