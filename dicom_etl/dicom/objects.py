"""DICOM files that are no images (structure sets, segmentations): read whole, in the decoding child."""

from __future__ import annotations

import warnings
from io import BytesIO
from typing import TYPE_CHECKING

from dicom_etl.dicom.deflate import inflate
from dicom_etl.dicom.error_translation import only_image_errors
from dicom_etl.dicom.limits import Limits
from dicom_etl.dicom.meta import file_meta
from dicom_etl.dicom.syntaxes import SYNTAXES
from dicom_etl.errors import ImageError

if TYPE_CHECKING:
    from pydicom import Dataset


def read_object(data: bytes | bytearray, limits: Limits) -> tuple[Dataset, str]:
    """Return the data set and its transfer syntax.

    Raises
    ------
    ImageError
        If it cannot be parsed to the last byte.
    """
    from pydicom.filereader import read_dataset

    uid, start = file_meta(data)
    syntax = SYNTAXES[uid]
    body = data
    if syntax.deflated:
        body, start = inflate(data[start:], limits), 0
    stream = BytesIO(body)
    stream.seek(start)
    with only_image_errors("pydicom cannot read it"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset = read_dataset(stream, syntax.implicit, not syntax.big_endian)
    if stream.tell() != len(body):
        raise ImageError(f"pydicom stops {len(body) - stream.tell()} bytes before the end of the file")
    return dataset, uid


def items(dataset: Dataset, keyword: str) -> list[Dataset]:
    """Return the items of a sequence; none where it is absent."""
    found = dataset.get(keyword)
    if found is None or isinstance(found, (bytes, str)):
        return []
    return list(found)


def raw(dataset: Dataset, keyword: str) -> bytes:
    """Return the bytes of a value whatever its representation, b"" where it is absent; pydicom converts nothing.

    Long values of Explicit VR may stand as UN (DICOM PS3.5 6.2.2).

    Raises
    ------
    ImageError
        If it is cut off, or a sequence.
    """
    from pydicom.tag import Tag

    tag = Tag(keyword)
    if tag not in dataset:
        return b""
    item = dataset.get_item(tag)
    value = item.value or b""
    if not isinstance(value, bytes) or getattr(item, "length", len(value)) != len(value):
        raise ImageError(f"{keyword} is cut off or no plain value")
    return value


def text(dataset: Dataset, keyword: str, encodings: list[str]) -> str:
    """Return a text without padding, decoded as its character set says; bytes that do not fit become signs of doubt."""
    from pydicom.charset import decode_bytes
    from pydicom.valuerep import TEXT_VR_DELIMS

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return str(decode_bytes(raw(dataset, keyword), encodings, TEXT_VR_DELIMS)).strip(" \0")


def word(dataset: Dataset, keyword: str) -> str:
    """Return a UID or a code string."""
    return raw(dataset, keyword).decode("ascii", "replace").strip(" \0")


def whole_number(dataset: Dataset, keyword: str) -> int | None:
    """Return an integer string (IS), None where it is absent or no number."""
    value = raw(dataset, keyword).strip(b" \0")
    return int(value) if value.isdigit() and len(value) < 10 else None


def encodings_of(dataset: Dataset) -> list[str]:
    """Return the names of Python's codecs for the texts of a data set."""
    original = dataset.original_character_set
    return [original] if isinstance(original, str) else list(original)
