"""No header value leaves by an error, a warning, a log or a note."""

from __future__ import annotations

import logging
import traceback
from pathlib import Path
from typing import Any

import pytest

from dicom_etl.dicom import NOTES
from dicom_etl.errors import ImageError
from tests.builders import write_anew, write_dicom
from tests.dicom.reading import read_headers, read_image

from .corpus import CANARY, base, head_of, heads, ramp, with_value

_KEPT = ("Manufacturer", "SOPInstanceUID", "SeriesInstanceUID")
"""Read as text on purpose: one is in the allow-list, the others tell duplicates and never leave the process."""


@pytest.mark.parametrize("syntax", ["explicit", "implicit", "big"])
def test_no_value_in_any_error(
    syntax: str, tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    path = tmp_path / "1.dcm"
    sound = base(syntax, seed=1)
    kept = {head_of(sound, keyword, syntax).start for keyword in _KEPT}
    said = []
    for head in heads(sound):
        for value in (CANARY.encode(), CANARY.encode() + b"^1.5\\2", b"\xff" + CANARY.encode() + b"\0"):
            write_anew(path, with_value(sound, head, value))
            for read in (read_headers, read_image):
                try:
                    read(path)
                except ImageError as error:
                    said.append("".join(traceback.format_exception(error)).split("dicom_etl.errors.")[-1])
            if head.start not in kept:
                said.append(repr(_header(path)))
    assert len(said) > 100
    assert not [text for text in said if CANARY in text]
    assert CANARY not in caplog.text
    assert capfd.readouterr() == ("", "")


def _header(path: Path) -> Any:
    try:
        return read_headers(path)
    except ImageError:
        return None


def test_text_that_is_kept_is_bounded(tmp_path: Path) -> None:
    for text in ("A" * 65, "Line\nbreak", "\x1b[31mred", "\u202eabc"):
        path = write_dicom(tmp_path / "1.dcm", ramp(), Manufacturer=text, SpecificCharacterSet="ISO_IR 192")
        (header,) = read_headers(path)
        assert header.manufacturer == ""
        assert "bad-manufacturer" in header.notes


def test_notes_are_known_words(tmp_path: Path) -> None:
    data = base("big", seed=1)
    path = tmp_path / "1.dcm"
    path.write_bytes(with_value(data, head_of(data, "SpecificCharacterSet", "big"), CANARY.encode()))
    (header,) = read_headers(path)
    assert header.notes == ("pydicom-warning",)
    assert set(header.notes) <= NOTES.keys()
