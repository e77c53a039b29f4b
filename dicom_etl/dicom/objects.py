"""Data sets of pydicom in the decoding child: of files that are no images, read whole, and values as bytes."""

from __future__ import annotations

import warnings
from io import BytesIO
from typing import TYPE_CHECKING

from dicom_etl.dicom.files import Limits
from dicom_etl.dicom.pixels import check_decodable, check_fragments, decode, only_image_errors
from dicom_etl.dicom.syntaxes import SYNTAXES, data_set
from dicom_etl.errors import ImageError
from dicom_etl.records import ImageHeader

if TYPE_CHECKING:
    from pydicom import Dataset


def read_object(data: bytes | bytearray, limits: Limits) -> tuple[Dataset, bytes | bytearray, str]:
    """Return the data set, the bytes that it was read from (inflated if need be), and its transfer syntax."""
    from pydicom.filereader import read_dataset

    uid, body, start = data_set(data, limits)
    syntax = SYNTAXES[uid]
    stream = BytesIO(body)
    stream.seek(start)
    with only_image_errors("pydicom cannot read it"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset = read_dataset(stream, syntax.implicit, not syntax.big_endian)
    if stream.tell() != len(body):
        raise ImageError(f"pydicom stops {len(body) - stream.tell()} bytes before the end of the file")
    return dataset, body, uid


def items(dataset: Dataset, keyword: str) -> list[Dataset]:
    """Return the items of a sequence; none where it is absent."""
    found = dataset.get(keyword)
    return [] if found is None or isinstance(found, (bytes, str)) else list(found)


def raw(dataset: Dataset, keyword: str, vr: str = "") -> bytes:
    """Return the bytes of a value, b"" where it is absent; pydicom converts nothing.

    A representation other than ``vr`` is refused where that is given. Long values of Explicit VR may stand as UN (DICOM
    PS3.5 6.2.2).
    """
    from pydicom.tag import Tag

    tag = Tag(keyword)
    if tag not in dataset:
        return b""
    item = dataset.get_item(tag)
    value = item.value or b""
    if not isinstance(value, bytes) or getattr(item, "length", len(value)) != len(value):
        raise ImageError(f"{keyword} is cut off or no plain value")
    if vr and item.VR not in (None, "UN", vr):
        raise ImageError(f"{keyword} has another value representation than {vr}")
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
    """Return an integer string (IS) or 16 bits (US), little-endian; None where it is absent or something else."""
    from pydicom.datadict import dictionary_VR

    value = raw(dataset, keyword)
    if dictionary_VR(keyword).startswith("US"):
        return int.from_bytes(value, "little") if len(value) == 2 else None
    digits = value.strip(b" \0")
    return int(digits) if digits.isdigit() and len(digits) < 10 else None


def number(dataset: Dataset, keyword: str) -> int:
    """Return a `whole_number` that must be there."""
    found = whole_number(dataset, keyword)
    if found is None:
        raise ImageError(f"{keyword} is missing or no number")
    return found


def frames_of(
    dataset: Dataset, body: bytes | bytearray, uid: str, size: tuple[int, int, int, int]
) -> tuple[int, memoryview]:
    """Return where the pixels of all frames begin in ``body`` (-1: they were compressed), and their bytes.

    ``dataset``, ``body`` and ``uid`` are those of `read_object`. ``size`` is frames, rows, columns, and bits a pixel:
    1, 8 or 16; frames of single bits run on without padding.
    """
    frames, rows, columns, bits = size
    syntax = SYNTAXES[uid]
    if "PixelData" not in dataset:
        raise ImageError("it holds no pixels: PixelData is missing")
    item = dataset.get_item("PixelData")
    offset = int(getattr(item, "value_tell", 0))
    if syntax.big_endian or (syntax.compressed and bits == 1):
        raise ImageError(f"segmentations of {bits} bits in {syntax.name} are not read")
    if not syntax.compressed:
        expected = -(-frames * rows * columns * bits // 8)
        if not 0 < offset <= len(body) - expected or not expected <= getattr(item, "length", -1) == len(
            item.value or b""
        ):
            raise ImageError(f"the pixel data is shorter than the {expected} bytes that its frames take")
        return offset, memoryview(body)[offset : offset + expected]
    end = check_fragments(body, offset, frames, uid)
    header = ImageHeader(
        rows, columns, frames=frames, transfer_syntax=uid, bits_allocated=bits, bits_stored=bits
    )
    check_decodable(header)
    decoded = [
        decode(body[offset:end], "OB", header._replace(frame=frame)).tobytes() for frame in range(frames)
    ]
    return -1, memoryview(b"".join(decoded))


def encodings_of(dataset: Dataset) -> list[str]:
    """Return the names of Python's codecs for the texts of a data set."""
    original = dataset.original_character_set
    return [original] if isinstance(original, str) else list(original)
