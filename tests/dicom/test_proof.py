"""A header that was read before: taken while its bytes are the same, parsed as ever when they are not."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicom_etl import dicom
from dicom_etl.dicom import native_reader, read_image, read_planned, read_proven_headers
from dicom_etl.dicom.proof import prove, proven_offset
from dicom_etl.errors import ImageError
from dicom_etl.records import ImageHeader
from tests.builders import write_dicom

from .corpus import ramp


@contextmanager
def never_parsed() -> Iterator[None]:
    """Fail where a header is parsed."""

    def refuse(*_: object) -> None:
        raise AssertionError("it was parsed")

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(native_reader, "scan", refuse)
        yield


def proven(path: Path) -> tuple[ImageHeader, bytes]:
    (header,), proof = read_proven_headers(path)
    assert proof
    return header, proof


@pytest.mark.parametrize(
    "header",
    [
        {},
        {"RescaleSlope": "2", "RescaleIntercept": "-7"},
        {"PhotometricInterpretation": "MONOCHROME1"},
        {"BitsStored": 12, "HighBit": 11},
    ],
)
def test_a_header_that_is_the_same_is_not_parsed(tmp_path: Path, header: dict[str, Any]) -> None:
    path = write_dicom(tmp_path / "1.dcm", ramp(), **header)
    known, proof = proven(path)
    whole = read_image(path)
    with never_parsed():
        again = read_planned(path, known, proof)
    assert (again.header, again.sha256) == (whole.header, whole.sha256)
    assert again.pixels.dtype == whole.pixels.dtype
    np.testing.assert_array_equal(again.pixels, whole.pixels)


def test_pixels_may_change_under_a_header(tmp_path: Path) -> None:
    path = write_dicom(tmp_path / "1.dcm", ramp())
    known, proof = proven(path)
    write_dicom(path, ramp() + 1)
    with never_parsed():
        image = read_planned(path, known, proof)
    np.testing.assert_array_equal(image.pixels, ramp() + 1)
    assert image.sha256 == read_image(path).sha256


@pytest.mark.parametrize("change", [{"InstanceNumber": "8"}, {"Manufacturer": "Nobody, who is longer"}])
def test_another_header_is_parsed(tmp_path: Path, change: dict[str, Any]) -> None:
    path = write_dicom(tmp_path / "1.dcm", ramp(), InstanceNumber="7", Manufacturer="Somebody")
    known, proof = proven(path)
    write_dicom(path, ramp(), **{"InstanceNumber": "7", "Manufacturer": "Somebody"} | change)
    image = read_planned(path, known, proof)
    assert image.header == read_image(path).header != known


def test_a_header_without_proof_is_parsed(tmp_path: Path) -> None:
    path = write_dicom(tmp_path / "1.dcm", ramp(), InstanceNumber="7")
    known, _ = proven(path)
    assert read_planned(path, known._replace(instance_number=8), b"").header == known


@given(st.data())
def test_no_changed_byte_before_the_pixels_is_overlooked(data: st.DataObject) -> None:
    content = data.draw(st.binary(min_size=1, max_size=300))
    offset = data.draw(st.integers(1, len(content)))
    proof = prove(content, offset, len(content))
    assert proven_offset(proof, content) == offset
    place = data.draw(st.integers(0, len(content) - 1))
    changed = bytearray(content)
    changed[place] ^= data.draw(st.integers(1, 255))
    assert proven_offset(proof, bytes(changed)) == (offset if place >= offset else None)
    assert proven_offset(proof, content + b"\0") is None
    assert proven_offset(proof, content[:-1]) is None


def test_a_file_that_broke_is_refused_as_without_proof(tmp_path: Path) -> None:
    path = write_dicom(tmp_path / "1.dcm", ramp())
    known, proof = proven(path)
    whole = path.read_bytes()
    for broken in (whole[:-2], whole[:-100], b"", whole + b"\0\0", whole.replace(b"DICM", b"DICN")):
        path.write_bytes(broken)
        with pytest.raises(ImageError) as expected:
            read_image(path)
        with pytest.raises(ImageError) as found:
            read_planned(path, known, proof)
        assert str(found.value) == str(expected.value)


def test_what_is_not_plain_has_no_proof(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_dicom(tmp_path / "1.dcm", ramp())
    with monkeypatch.context() as patched:
        patched.setattr(dicom.native_reader, "scan", lambda *_: None)
        headers, proof = read_proven_headers(path)
    assert proof == b""
    assert headers == (read_image(path).header,)
