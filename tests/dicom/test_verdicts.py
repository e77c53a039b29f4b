"""The table of verdicts: what is refused, with which words, and what is accepted with a note."""

from __future__ import annotations

import zlib
from pathlib import Path
from struct import pack
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence

from dicom_etl.dicom import NOTES, Limits, stored_dtype
from dicom_etl.errors import ImageError
from tests.builders import write_dicom
from tests.costs import little_spent
from tests.dicom.reading import read_headers, read_image

from .corpus import base, head_of, meta_end, ramp, with_value

REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "no-transfer-syntax": ({"transfer_syntax": None}, "TransferSyntaxUID is missing"),
    "unknown-transfer-syntax": ({"transfer_syntax": "1.2.3.4.5"}, "transfer syntax is not one that is read"),
    "video": (
        {"transfer_syntax": "1.2.840.10008.1.2.4.100", "PixelData": encapsulate([b"\0\0"])},
        "not one that is read",
    ),
    "no-pixel-data": ({"PixelData": None}, "PixelData is missing"),
    "longer": (
        {"PixelData": bytes(480)},
        r"480 bytes long; 12 rows x 10 columns x 1 frames x 2 bytes make 240",
    ),
    "shorter": ({"PixelData": bytes(238)}, "238 bytes long"),
    "no-rows": ({"Rows": None}, "Rows is missing"),
    "zero-rows": ({"Rows": 0}, "image is empty: 0 rows x 10 columns"),
    "two-rows": ({"Rows": [12, 12]}, "Rows is 4 bytes long instead of 2"),
    "high-bit": ({"HighBit": 14}, "HighBit is 14; with BitsStored 16 it must be 15"),
    "bits-stored": ({"BitsStored": 17}, "BitsStored is 17"),
    "bits-stored-zero": ({"BitsStored": 0, "HighBit": 0}, "BitsStored is 0"),
    "bits-allocated": ({"BitsAllocated": 12}, "BitsAllocated is 12; 8, 16 and 32 are read"),
    "bits-allocated-1": ({"BitsAllocated": 1, "BitsStored": 1, "HighBit": 0}, "BitsAllocated is 1;"),
    "representation": ({"PixelRepresentation": 2}, "PixelRepresentation is 2; it must be 0 or 1"),
    "slope-zero": ({"RescaleSlope": "0", "RescaleIntercept": "0"}, "RescaleSlope is 0"),
    "slope-huge": ({"RescaleSlope": "1e30", "RescaleIntercept": "0"}, "out of the range of float32"),
    "slope-alone": ({"RescaleSlope": "2"}, "RescaleSlope is there without RescaleIntercept"),
    "intercept-alone": ({"RescaleIntercept": "2"}, "RescaleIntercept is there without RescaleSlope"),
    "spacing-count": ({"PixelSpacing": ["1", "1", "1"]}, "PixelSpacing has 3 values instead of 2"),
    "spacing-tiny": (
        {"PixelSpacing": ["1", "1e-310"]},
        "PixelSpacing is 1 and 1e-310 mm; 0.0001 to 1000 are",
    ),
    "spacing-huge": ({"PixelSpacing": ["1e300", "1e300"]}, r"PixelSpacing is 1e\+300 and 1e\+300 mm"),
    "position-far": (
        {"ImagePositionPatient": ["0", "-1e308", "0"]},
        r"ImagePositionPatient is 1e\+308 mm away; up to 1e\+06 is read",
    ),
    "orientation-huge": (
        {"ImageOrientationPatient": ["1e200"] * 3 + ["-1e200"] * 3},
        "not two perpendicular",
    ),
    "slope-tiny": (
        {"RescaleSlope": "1e-310", "RescaleIntercept": "0"},
        "RescaleSlope is 1e-310, which would",
    ),
    "spacing-zero": ({"PixelSpacing": ["1", "0"]}, "PixelSpacing is not positive"),
    "position-count": (
        {"ImagePositionPatient": ["1", "2"]},
        "ImagePositionPatient has 2 values instead of 3",
    ),
    "orientation-count": ({"ImageOrientationPatient": ["1", "0", "0"]}, "has 3 values instead of 6"),
    "orientation-zero": ({"ImageOrientationPatient": ["0"] * 6}, "not two perpendicular unit vectors"),
    "orientation-parallel": ({"ImageOrientationPatient": ["1", "0", "0"] * 2}, "not two perpendicular"),
    "uid-text": ({"SOPInstanceUID": "1.2 3.4"}, "SOPInstanceUID is no UID"),
    "uid-long": ({"SeriesInstanceUID": "1." + "2" * 64}, "SeriesInstanceUID is no UID"),
    "rgb": ({"PhotometricInterpretation": "RGB", "SamplesPerPixel": 3}, r"in colour \(RGB\)"),
    "palette": ({"PhotometricInterpretation": "PALETTE COLOR"}, r"in colour \(PALETTE COLOR\)"),
    "photometric": (
        {"PhotometricInterpretation": "SOMETHING"},
        "PhotometricInterpretation is not a known one",
    ),
    "no-photometric": ({"PhotometricInterpretation": None}, "PhotometricInterpretation is missing"),
    "samples": ({"SamplesPerPixel": 2}, "SamplesPerPixel is 2; only 1 is read"),
    "frames": ({"NumberOfFrames": 0}, "NumberOfFrames is 0"),
    "more-frames": ({"NumberOfFrames": 3}, "12 rows x 10 columns x 3 frames x 2 bytes make 720"),
    "float-pixels": ({"PixelData": None, "FloatPixelData": bytes(480)}, "floating-point"),
    "modality-lut": ({"ModalityLUTSequence": Sequence([Dataset()])}, "ModalityLUTSequence is not read"),
    "cut-in-pixels": ({"cut": -100}, "ends 100 bytes before the end of its pixel data"),
    "cut-in-header": ({"cut": 400}, "the file ends within its header"),
    "cut-in-meta": ({"cut": 150}, "the file ends within its file meta information"),
}


REFUSED_VALUES = [
    ("RescaleSlope", b"nan ", "RescaleSlope holds something that is not a finite number"),
    ("RescaleSlope", b"inf ", "RescaleSlope holds something"),
    ("RescaleSlope", b"1e999 ", "RescaleSlope holds something"),
    ("RescaleIntercept", b"0x10", "RescaleIntercept holds something"),
    ("PixelSpacing", b"1_0\\1 ", "PixelSpacing holds something"),
    ("PixelSpacing", "1\\\u0663".encode(), "PixelSpacing holds something"),
    ("PixelSpacing", b"1\\1\n ", "PixelSpacing holds something"),
    ("ImagePositionPatient", b"1\\nan\\2", "ImagePositionPatient holds something"),
    ("ImagePositionPatient", b"1\\\\2 ", "ImagePositionPatient holds something"),
    ("InstanceNumber", b"7.5 ", "InstanceNumber holds something that is not one whole number"),
    ("InstanceNumber", b"7\\8 ", "InstanceNumber holds something"),
    ("Rows", b"\x0c\0\0\0", "Rows is 4 bytes long instead of 2"),
]


@pytest.mark.parametrize("syntax", ["explicit", "implicit"])
@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str, syntax: str, tmp_path: Path) -> None:
    options, words = REFUSED[name]
    path = write_dicom(tmp_path / "1.dcm", ramp(), **({"transfer_syntax": syntax} | options))
    _assert_refused(path, words)


@pytest.mark.parametrize("syntax", ["explicit", "implicit", "big"])
@pytest.mark.parametrize(("keyword", "value", "words"), REFUSED_VALUES)
def test_refused_value(keyword: str, value: bytes, words: str, syntax: str, tmp_path: Path) -> None:
    path = tmp_path / "1.dcm"
    data = base(syntax, seed=1)
    head = head_of(data, keyword, syntax)
    path.write_bytes(with_value(data, head, value))
    _assert_refused(path, words)


def _assert_refused(path: Path, words: str) -> None:
    with pytest.raises(ImageError, match=words) as caught:
        read_image(path)
    assert "\n" not in str(caught.value)
    with pytest.raises(ImageError, match=words):
        read_headers(path)


def test_sound_file_in_every_encoding(tmp_path: Path) -> None:
    for syntax in ("explicit", "implicit", "big", "deflated", "rle"):
        path = write_dicom(tmp_path / f"{syntax}.dcm", ramp(), transfer_syntax=syntax, InstanceNumber=7)
        image = read_image(path)
        np.testing.assert_array_equal(image.pixels, ramp())
        assert image.pixels.dtype == np.int16 == stored_dtype(image.header)
        assert image.header.instance_number == 7
        assert image.header.notes == ()
        assert read_headers(path) == (image.header,)


def test_absent_values_are_not_made_up(tmp_path: Path) -> None:
    words = (
        "InstanceNumber PixelSpacing ImagePositionPatient ImageOrientationPatient TriggerTime Manufacturer"
    )
    words += " MagneticFieldStrength SeriesInstanceUID SOPInstanceUID"
    absent: dict[str, Any] = dict.fromkeys(words.split())
    for syntax in ("explicit", "big"):
        path = write_dicom(tmp_path / "1.dcm", ramp(), transfer_syntax=syntax, **absent)
        (header,) = read_headers(path)
        assert header.instance_number == -1
        numbers = (*header.pixel_spacing_mm, *header.position_mm, *header.orientation)
        assert np.isnan([*numbers, header.trigger_time_ms, header.field_strength_t]).all()
        assert (header.manufacturer, header.series_uid, header.instance_uid) == ("", "", "")
        assert (header.rescale_slope, header.rescale_intercept) == (1.0, 0.0)


def test_one_padding_byte_is_allowed(tmp_path: Path) -> None:
    pixels = ramp(np.uint8)[:3, :3]
    path = write_dicom(tmp_path / "1.dcm", pixels)
    np.testing.assert_array_equal(read_image(path).pixels, pixels)


@pytest.mark.parametrize("syntax", ["explicit", "big"])
def test_oddities_are_noted(syntax: str, tmp_path: Path) -> None:
    def notes(**header: Any) -> tuple[str, ...]:
        path = write_dicom(tmp_path / "1.dcm", ramp(), transfer_syntax=syntax, **header)
        (found,) = read_headers(path)
        assert set(found.notes) <= NOTES.keys()
        return found.notes

    assert notes(SOPInstanceUID="1.2.03") == ("invalid-uid",)
    assert notes(PhotometricInterpretation="MONOCHROME1") == ("inverted",)
    assert notes(Manufacturer="M" * 65) == ("bad-manufacturer",)
    assert notes(SpecificCharacterSet="ISO_IR 192", Manufacturer="Größe") == ()


@pytest.mark.parametrize("syntax", ["explicit", "big"])
def test_field_strength_only_describes(syntax: str, tmp_path: Path) -> None:
    path, data = tmp_path / "1.dcm", base(syntax)
    path.write_bytes(with_value(data, head_of(data, "MagneticFieldStrength", syntax), b"1,5 T "))
    (header,) = read_headers(path)
    assert header.notes == ("bad-field-strength",)
    assert np.isnan(header.field_strength_t)


@pytest.mark.parametrize("syntax", ["explicit", "big"])
@pytest.mark.parametrize(
    ("keyword", "value", "note"),
    [
        ("TriggerTime", b"12 ms ", "bad-trigger-time"),
        ("TriggerTime", b"1e300 ", "bad-trigger-time"),
        ("TriggerTime", b"-1e30 ", "bad-trigger-time"),
        ("MagneticFieldStrength", b"1e300 ", "bad-field-strength"),
        ("MagneticFieldStrength", b"-1.5", "bad-field-strength"),
    ],
)
def test_numbers_that_only_describe_are_left_out_when_bad(
    syntax: str, keyword: str, value: bytes, note: str, tmp_path: Path
) -> None:
    path, data = tmp_path / "1.dcm", base(syntax)
    path.write_bytes(with_value(data, head_of(data, keyword, syntax), value))
    (header,) = read_headers(path)
    assert header.notes == (note,)
    assert np.isnan(header.trigger_time_ms if keyword == "TriggerTime" else header.field_strength_t)


def test_unordered_elements_are_noted_and_repeated_ones_refused(tmp_path: Path) -> None:
    data = base("explicit")
    rows, columns = (head_of(data, keyword, "explicit") for keyword in ("Rows", "Columns"))
    path = tmp_path / "1.dcm"
    swapped = data[columns.start : columns.end] + data[rows.start : rows.end]
    path.write_bytes(data[: rows.start] + swapped + data[columns.end :])
    assert read_headers(path)[0].notes == ("unordered-elements",)
    path.write_bytes(data[: rows.start] + data[rows.start : rows.end] * 2 + data[rows.end :])
    with pytest.raises(ImageError, match="Rows is there twice"):
        read_headers(path)


def test_wrong_transfer_syntax_that_pydicom_sees_through_is_noted(tmp_path: Path) -> None:
    data = base("implicit")
    path = tmp_path / "1.dcm"
    path.write_bytes(
        with_value(data, head_of(data, "TransferSyntaxUID", "implicit"), b"1.2.840.10008.1.2.1\0")
    )
    image = read_image(path)
    assert image.header.notes == ("vr-mismatch",)
    np.testing.assert_array_equal(image.pixels, ramp())


def test_limits_name_their_options(tmp_path: Path) -> None:
    path = write_dicom(tmp_path / "1.dcm", ramp(), elements={(0x0029, 0x1010): ("OB", bytes(50_000))})
    for limits, option in (
        (Limits(max_image_bytes=239), "`max_image_bytes`"),
        (Limits(max_file_bytes=1000), "`max_file_bytes`"),
        (Limits(max_header_bytes=1000), "`max_header_bytes`"),
    ):
        with pytest.raises(ImageError, match=option):
            read_image(path, limits=limits)
        with pytest.raises(ImageError, match=option):
            read_headers(path, limits=limits)
    assert read_image(path, limits=Limits(max_image_bytes=240)).pixels.shape == (12, 10)


def test_rows_times_columns_that_claim_too_much(tmp_path: Path) -> None:
    path = write_dicom(tmp_path / "1.dcm", ramp(), Rows=65535, Columns=65535)
    with (
        little_spent(),
        pytest.raises(ImageError, match=r"65535 x 65535 pixels takes 8589672450 bytes.*`max_image_bytes`"),
    ):
        read_image(path)


@pytest.mark.parametrize("tail", [b"garbage!", b"\0\0\1"])
@pytest.mark.parametrize("syntax", ["explicit", "implicit", "big", "rle"])
def test_bytes_behind_the_pixel_data(tail: bytes, syntax: str, tmp_path: Path) -> None:
    path = write_dicom(tmp_path / "1.dcm", ramp(), transfer_syntax=syntax)
    path.write_bytes(path.read_bytes() + tail)
    with pytest.raises(
        ImageError, match=f"{len(tail)} bytes follow the pixel data and are no DICOM elements"
    ):
        read_image(path)


@pytest.mark.parametrize("zeros", [1, 8, 300_000])
@pytest.mark.parametrize("syntax", ["explicit", "implicit", "big", "rle"])
def test_zeros_behind_the_data_set_are_noted(zeros: int, syntax: str, tmp_path: Path) -> None:
    path = write_dicom(tmp_path / "1.dcm", ramp(), transfer_syntax=syntax)
    path.write_bytes(path.read_bytes() + bytes(zeros))
    image = read_image(path)
    assert image.header.notes == ("trailing-zeros",)
    np.testing.assert_array_equal(image.pixels, ramp())


ODD: dict[str, tuple[dict[str, Any], str]] = {
    "no-preamble": ({"preamble": False}, "no-preamble"),
    "padded": ({"PixelData": ramp().tobytes() + bytes(100)}, "padded-pixels"),
    "instance-number": ({"InstanceNumber": "1.000"}, "text-number"),
    "series-text": ({"SeriesInstanceUID": "CINE short axis"}, "text-uid"),
    "no-high-bit": ({"HighBit": None}, "highbit-absent"),
}


@pytest.mark.parametrize("syntax", ["explicit", "implicit"])
@pytest.mark.parametrize("kind", ODD)
def test_odd_files_are_read_with_a_note(kind: str, syntax: str, tmp_path: Path) -> None:
    changes, note = ODD[kind]
    path = write_dicom(tmp_path / "1.dcm", ramp(), transfer_syntax=syntax, **changes)
    image = read_image(path)
    assert image.header.notes == (note,)
    assert (image.header.instance_number, NOTES[note]) == (1, NOTES[note])
    assert [each.notes for each in read_headers(path)] == [(note,)]
    np.testing.assert_array_equal(image.pixels, ramp())


def test_a_file_without_meta_information_behind_its_preamble(tmp_path: Path) -> None:
    path = write_dicom(tmp_path / "1.dcm", ramp(), preamble=False)
    data = path.read_bytes()
    path.write_bytes(bytes(128) + b"DICM" + data[data.index(b"\x08\0\x08\0CS") :])
    assert read_image(path).header.notes == ("no-preamble",)


def test_elements_behind_the_pixel_data_are_accepted(tmp_path: Path) -> None:
    padding = {(0xFFFC, 0xFFFC): ("OB", bytes(4000))}
    for syntax in ("explicit", "implicit"):
        path = write_dicom(tmp_path / "1.dcm", ramp(), transfer_syntax=syntax, elements=padding)
        np.testing.assert_array_equal(read_image(path).pixels, ramp())


@pytest.mark.parametrize("bomb", ["behind the pixel data", "in the header"])
def test_deflated_bomb(bomb: str, tmp_path: Path) -> None:
    path = write_dicom(tmp_path / "1.dcm", ramp(), transfer_syntax="deflated")
    data = path.read_bytes()
    start = zlib.decompress(data[meta_end(data) :], -15)
    if bomb == "in the header":
        start = b"\x09\0\x01\x10OB\0\0\0\0\0\x70"
    squeeze = zlib.compressobj(1, zlib.DEFLATED, -15)
    parts = [
        squeeze.compress(start),
        *(squeeze.compress(bytes(1 << 20)) for _ in range(100)),
        squeeze.flush(),
    ]
    path.write_bytes(data[: meta_end(data)] + b"".join(parts))
    assert path.stat().st_size < 1 << 20
    with (
        little_spent(bomb),
        pytest.raises(ImageError, match=r"data set is longer than \d+ bytes; .*`max_image_bytes`"),
    ):
        read_image(path, limits=Limits(max_image_bytes=32 << 20))


def test_damaged_deflated_data(tmp_path: Path) -> None:
    path = write_dicom(tmp_path / "1.dcm", ramp(), transfer_syntax="deflated")
    data = path.read_bytes()
    for damaged, words in (
        (data[:-30], "the deflated data set is incomplete"),
        (data[: meta_end(data)] + b"\xff" * 50, "the deflated data set is damaged"),
        (data + b"some", r"\d bytes follow the deflated data set"),
    ):
        path.write_bytes(damaged)
        with pytest.raises(ImageError, match=words):
            read_image(path)
    inflated = zlib.decompress(data[meta_end(data) :], -15)
    squeeze = zlib.compressobj(9, zlib.DEFLATED, -15)
    deflated = squeeze.compress(inflated) + squeeze.flush()
    trailer = pack("<II", zlib.crc32(inflated), len(inflated))  # as gzip writes it; some files have it
    path.write_bytes(data[: meta_end(data)] + deflated + trailer)
    np.testing.assert_array_equal(read_image(path).pixels, ramp())


_SEQUENCE = b"\x08\0\x40\x11SQ\0\0\xff\xff\xff\xff"
_ITEM = b"\xfe\xff\x00\xe0\xff\xff\xff\xff"


@pytest.mark.parametrize(
    "endless",
    [
        _SEQUENCE + _ITEM * 400_000,
        (_SEQUENCE + _ITEM) * 100_000,
        _SEQUENCE + (_ITEM[:4] + bytes(4)) * 1_500_000,
    ],
    ids=["items", "nested", "empty-items"],
)
def test_endless_sequences(endless: bytes, tmp_path: Path) -> None:
    path = write_dicom(tmp_path / "1.dcm", ramp())
    data = path.read_bytes()
    path.write_bytes(data[: meta_end(data)] + endless)
    with little_spent(), pytest.raises(ImageError, match=r"RecursionError|seconds|pydicom cannot read"):
        read_headers(path)


def test_frame_that_is_not_there(tmp_path: Path) -> None:
    for syntax in ("explicit", "big"):
        path = write_dicom(tmp_path / "1.dcm", ramp(), transfer_syntax=syntax)
        for frame in (-1, 1):
            with pytest.raises(ImageError, match=f"there is no frame {frame}; the file has 1"):
                read_image(path, frame)
