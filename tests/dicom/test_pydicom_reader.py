"""The general lane in this process: structures that few files have, each with its own words."""

from __future__ import annotations

from pathlib import Path
from struct import pack
from typing import Any

import numpy as np
import pytest
from pydicom.data import get_testdata_file
from pydicom.encaps import encapsulate

from dicom_etl.dicom import Limits, pydicom_reader
from dicom_etl.dicom.files import DEFAULT
from dicom_etl.errors import ImageError
from tests.builders import write_dicom
from tests.dicom.reading import read_image

from .corpus import base, compressed, head_of, heads, meta_end, ramp, with_value

_ITEM, _END = b"\xfe\xff\x00\xe0", b"\xfe\xff\xdd\xe0\0\0\0\0"


def refuse(data: bytes, words: str, limits: Limits = DEFAULT) -> None:
    with pytest.raises(ImageError, match=words):
        pydicom_reader.parse(data, limits)


def with_vr(data: bytes, keyword: str, vr: bytes, encoding: str = "explicit") -> bytes:
    head = head_of(data, keyword, encoding)
    assert head.vr is not None
    return data[: head.vr] + vr + data[head.vr + 2 :]


def with_fragments(fragments: bytes, codec: str = "rle") -> bytes:
    """Return a compressed file with other fragments."""
    data = compressed(codec)
    return data[: heads(data)[-1].value] + fragments


@pytest.mark.parametrize(
    ("fragments", "words"),
    [
        (b"", "ends within fragment 0"),
        (_ITEM + pack("<I", 0) + _ITEM + pack("<I", 99) + b"short", "ends within fragment 2"),
        (_ITEM + pack("<I", 0) + b"\0" * 8, "broken at fragment 1"),
        (_ITEM + pack("<I", 0) + _END[:4] + pack("<I", 4), "broken at fragment 1"),
        (_END, "the compressed pixel data is empty"),
        (_ITEM + pack("<I", 0) + _END, "the compressed pixel data is empty"),
        (_ITEM + pack("<I", 0) + _ITEM + pack("<I", 0) + _END, "the compressed pixel data is empty"),
        (encapsulate([b"one!", b"two!"]) + _END, "holds 2 frames; NumberOfFrames is 1"),
        (encapsulate([b"one!", b"two!"], has_bot=False) + _END, "holds 2 frames; NumberOfFrames is 1"),
    ],
)
def test_broken_fragments(fragments: bytes, words: str) -> None:
    refuse(with_fragments(fragments), words)


def test_frame_of_several_fragments() -> None:
    pytest.importorskip("jpeg_ls")
    data = compressed("jpeg-ls")
    start = heads(data)[-1].value
    first = start + 8 + data[start + 4] + 8  # behind the offset table
    stream = data[first:][: int.from_bytes(data[first - 4 : first], "little")]
    parts = [stream[:100], stream[100:]]
    body = b"".join(_ITEM + pack("<I", len(part)) + part for part in [b"", *parts])
    document = pydicom_reader.parse(data[:start] + body + _END, DEFAULT)
    np.testing.assert_array_equal(document.stored_values(0), ramp(np.uint16, (40, 36)))


def test_compressed_pixels_under_an_uncompressed_syntax() -> None:
    data = compressed("rle")
    head = head_of(data, "TransferSyntaxUID", "explicit")
    refuse(
        with_value(data, head, b"1.2.840.10008.1.2.1\0"),
        "is compressed, but the transfer syntax is Explicit VR",
    )
    data = base("explicit")
    head = head_of(data, "TransferSyntaxUID", "explicit")
    refuse(
        with_value(data, head, b"1.2.840.10008.1.2.5\0"), "is not compressed, but the transfer syntax is RLE"
    )


def test_compressed_image_of_another_size_or_kind() -> None:
    pytest.importorskip("jpeg_ls")
    data = compressed("jpeg-ls")
    for keyword, value in (("Rows", 41), ("Columns", 20)):
        document = pydicom_reader.parse(
            with_value(data, head_of(data, keyword, "explicit"), pack("<H", value)), DEFAULT
        )
        with pytest.raises(
            ImageError, match=r"JPEG-LS Lossless pixel data (cannot be decoded|holds another image)"
        ):
            document.stored_values(0)


def test_twelve_bits_of_jpeg_extended() -> None:
    """Values that other decoders of the same file gave (pydicom's tests of pylibjpeg)."""
    image = read_image(Path(str(get_testdata_file("JPEG-lossy.dcm"))))
    assert image.pixels.dtype == np.uint16
    assert (int(image.pixels[420, 140]), int(image.pixels[230, 120])) == (244, 95)


@pytest.mark.parametrize(
    ("keyword", "vr", "words"),
    [
        ("PixelData", b"OF", "PixelData has a value representation other than OB and OW"),
        ("Rows", b"SS", "Rows has another value representation than US"),
        ("PixelSpacing", b"LO", "PixelSpacing has another value representation than DS"),
        ("TransferSyntaxUID", b"LO", "TransferSyntaxUID has another value representation than UI"),
        ("MediaStorageSOPClassUID", b"XX", "file meta information cannot be read: an unknown value"),
    ],
)
def test_other_value_representations(keyword: str, vr: bytes, words: str) -> None:
    refuse(with_vr(base("explicit"), keyword, vr), words)


def test_unknown_value_representation_is_read_by_the_dictionary() -> None:
    """UN has a long length; a writer that does not know an element uses it (PS3.5, 6.2.2)."""
    data = base("explicit")
    head = head_of(data, "Rows", "explicit")
    value = data[head.value : head.end]
    changed = data[: head.start + 4] + b"UN\0\0" + pack("<I", 2) + value + data[head.end :]
    assert pydicom_reader.parse(changed, DEFAULT).headers[0].rows == 12


def test_values_far_too_long() -> None:
    for keyword in ("PixelSpacing", "SOPInstanceUID", "InstanceNumber", "PhotometricInterpretation"):
        data = base("explicit")
        long = with_value(data, head_of(data, keyword, "explicit"), b"1" + b" " * 301)
        refuse(long, f"{keyword} is 302 bytes long, far more than its value can take")


def test_value_cut_off_by_the_end_of_the_file() -> None:
    data = base("explicit")
    head = head_of(data, "PixelSpacing", "explicit")
    refuse(data[: head.end - 2], "the file ends within its header")


def test_data_set_that_begins_with_something_else() -> None:
    data = base("explicit")
    for start in (b"\xfe\xff\x0d\xe0\0\0\0\0", b"\0\0\0\0UL\4\0\0\0\0\0"):
        refuse(
            data[: meta_end(data)] + start + data[meta_end(data) :],
            "begins with something that is no element",
        )


def test_nothing_but_file_meta_information() -> None:
    data = base("explicit")
    refuse(data[: meta_end(data)], "the file ends within its file meta information")


def test_group_length_that_is_no_number() -> None:
    data = base("explicit")
    start = b"\2\0\0\0UL\2\0\0\0"
    refuse(data[:132] + start + data[132:], "its group length is no number")


def test_transfer_syntax_twice() -> None:
    data = base("explicit")
    head = head_of(data, "TransferSyntaxUID", "explicit")
    refuse(
        data[: head.end] + data[head.start : head.end] + data[head.end :], "TransferSyntaxUID is there twice"
    )


def test_empty_modality_lut_sequence_says_nothing(tmp_path: Path) -> None:
    elements: dict[tuple[int, int], tuple[str, Any]] = {(0x0028, 0x3000): ("SQ", [])}
    path = write_dicom(tmp_path / "1.dcm", ramp(), transfer_syntax="big", elements=elements)
    assert pydicom_reader.parse(path.read_bytes(), DEFAULT).headers[0].rows == 12


def test_header_longer_than_the_limit() -> None:
    for encoding in ("explicit", "big"):
        refuse(
            base(encoding), "no pixel data within 500 bytes; `max_header_bytes`", Limits(max_header_bytes=500)
        )
