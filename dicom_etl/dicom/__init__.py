"""DICOM files to headers and pixels: the only place that reads DICOM images.

`read_headers` and `read_image` are strict: what is not by the book in a way that could change a pixel, a
position or a pairing is an `ImageError` of one line, without any text from the header. Everything else is
accepted, and noted.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from dicom_etl.dicom.files import check_inside, check_size, is_dicom, open_regular, read_bytes
from dicom_etl.dicom.limits import DEFAULT, Limits
from dicom_etl.dicom.pixels import stored_dtype
from dicom_etl.errors import ImageError
from dicom_etl.records import Image, ImageHeader

__all__ = ["Limits", "check_inside", "is_dicom", "read_headers", "read_image", "stored_dtype"]


def read_headers(path: Path, limits: Limits = DEFAULT) -> tuple[ImageHeader, ...]:
    """Return the header of each frame of a DICOM image; nearly always one.

    Raises
    ------
    ImageError
        If the file cannot be used, with the reason.
    """
    from dicom_etl.dicom import general

    return general.parse(_read_whole(path, limits), limits).headers


def read_image(path: Path, frame: int = 0, limits: Limits = DEFAULT) -> Image:
    """Read one frame: its header, its pixels after the modality LUT, and the SHA-256 of the file.

    The file is read once. The pixels are (rows, columns) of dtype `stored_dtype`; they may be a
    read-only view of the file's bytes.

    Raises
    ------
    ImageError
        If the file cannot be used or has no such frame, with the reason.
    """
    from dicom_etl.dicom import general

    data = _read_whole(path, limits)
    document = general.parse(data, limits)
    if not 0 <= frame < len(document.headers):
        raise ImageError(f"there is no frame {frame}; the file has {len(document.headers)}")
    pixels = general.frame_pixels(document, frame)
    return Image(document.headers[frame], pixels, hashlib.sha256(data).hexdigest())


def _read_whole(path: Path, limits: Limits) -> bytes:
    descriptor, size = open_regular(path)
    try:
        check_size(size, limits)
        return read_bytes(descriptor, size)
    finally:
        os.close(descriptor)
