"""The builders write what they say: a fault here would make every other test lie."""

from __future__ import annotations

from pathlib import Path
from time import process_time
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from phantom.trace import trace
from pydicom import dcmread
from pydicom.encaps import encapsulate
from pydicom.errors import InvalidDicomError
from pydicom.uid import JPEGBaseline8Bit

from tests.builders import SYNTAXES, circle, make_source, write_contour, write_dicom, write_link


def _area(ring: np.ndarray) -> float:
    x, y = ring.T
    return float(np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y) / 2)


@pytest.mark.parametrize("syntax", SYNTAXES)
@pytest.mark.parametrize("dtype", [np.int16, np.uint16, np.uint8])
def test_every_syntax_and_dtype_reads_back(tmp_path: Path, syntax: str, dtype: type) -> None:
    pixels: NDArray[Any] = np.arange(15, dtype=dtype).reshape(3, 5) * 7
    read = dcmread(write_dicom(tmp_path / "a" / "1.dcm", pixels, transfer_syntax=syntax))
    assert read.file_meta.TransferSyntaxUID == SYNTAXES[syntax]
    assert read.pixel_array.dtype.newbyteorder("=") == dtype
    assert np.array_equal(read.pixel_array, pixels)


def test_frames_overrides_removals_and_private_elements(tmp_path: Path) -> None:
    path = write_dicom(
        tmp_path / "1.dcm",
        np.zeros((2, 3, 4), np.int16),
        InstanceNumber=7,
        PixelSpacing=None,
        RescaleSlope="nan",
        elements={(0x0019, 0x0010): ("LO", "MAKER"), (0x0019, 0x1001): ("LO", "secret")},
    )
    read = dcmread(path)
    assert (read.NumberOfFrames, read.InstanceNumber, read.pixel_array.shape) == (2, 7, (2, 3, 4))
    assert "PixelSpacing" not in read
    assert np.isnan(read.RescaleSlope)
    assert read[0x0019, 0x1001].value == "secret"


def test_encapsulated_data_is_written_as_given(tmp_path: Path) -> None:
    path = write_dicom(
        tmp_path / "1.dcm",
        np.zeros((2, 2), np.uint8),
        transfer_syntax=JPEGBaseline8Bit,
        PixelData=encapsulate([b"\xff\xd8\xff\xd9"]),
    )
    read = dcmread(path)
    assert read["PixelData"].is_undefined_length
    assert b"\xff\xd8\xff\xd9" in read.PixelData


def test_broken_files(tmp_path: Path) -> None:
    pixels = np.zeros((4, 4), np.int16)
    bare = write_dicom(tmp_path / "bare", pixels, preamble=False)
    with pytest.raises(InvalidDicomError):
        dcmread(bare)
    whole = write_dicom(tmp_path / "short", pixels).stat().st_size
    assert write_dicom(tmp_path / "short", pixels, cut=-10).stat().st_size == whole - 10
    assert (
        "TransferSyntaxUID"
        not in dcmread(write_dicom(tmp_path / "n", pixels, transfer_syntax=None)).file_meta
    )
    assert (
        dcmread(write_dicom(tmp_path / "u", pixels, transfer_syntax="1.2.3")).file_meta.TransferSyntaxUID
        == "1.2.3"
    )


def test_same_call_same_bytes(tmp_path: Path) -> None:
    pixels = np.zeros((4, 4), np.int16)
    first = write_dicom(tmp_path / "1.dcm", pixels).read_bytes()
    assert write_dicom(tmp_path / "1.dcm", pixels).read_bytes() == first


def test_contour_file_counts_from_one(tmp_path: Path) -> None:
    path = write_contour(tmp_path / "c.txt", [[0.0, 0.0], [1.5, 0.0], [1.0, 2.0]], newline="\r\n", bom=True)
    assert path.read_bytes() == b"\xef\xbb\xbf1.00 1.00\r\n2.50 1.00\r\n2.00 3.00\r\n"
    assert write_contour(path, [[0.0, 0.25]], origin=0).read_bytes() == b"0.00 0.25\n"


def test_link_table(tmp_path: Path) -> None:
    assert write_link(tmp_path / "l.csv", [("A", "B")]).read_text() == "patient_id,original_id\nA,B\n"
    assert write_link(tmp_path / "l.csv", [("A", "B")], header=()).read_text() == "A,B\n"


@pytest.mark.parametrize("radius", [1.3, 4.0, 9.37, 25.0])
def test_a_traced_ring_is_what_a_drawing_tool_stores(radius: float) -> None:
    true = circle(20.13, 31.71, radius)
    drawn = trace(true)
    steps = np.hypot(*(np.roll(drawn, -1, axis=0) - drawn).T)
    assert np.all(np.isclose(steps, 0.5) | np.isclose(steps, np.sqrt(0.5)))
    assert np.array_equal(drawn * 2, np.rint(drawn * 2))
    assert np.all(np.abs(np.hypot(*(drawn - (20.13, 31.71)).T) - radius) < 0.36)
    assert len(np.unique(drawn, axis=0)) == len(drawn)
    assert _area(drawn) == pytest.approx(_area(true), rel=0.16 / radius)


def test_tracing_has_no_offset() -> None:
    centres = np.random.default_rng(0).random((100, 2)) + 20
    areas = [_area(trace(circle(x, y, 9.37))) for x, y in centres]
    offset_px = (np.mean(areas) - np.pi * 9.37**2) / (2 * np.pi * 9.37)
    assert abs(offset_px) < 0.01


def test_make_source_is_whole_quick_and_true(tmp_path: Path) -> None:
    start = process_time()
    source = make_source(tmp_path)
    assert process_time() - start < 1.5  # 0.1 s on a fast core
    assert len(list(tmp_path.rglob("*.dcm"))) == source.image_count == 24
    assert len(list(tmp_path.rglob("*.txt"))) == source.sample_count() + source.sample_count("ocontour") == 18
    seen = {path.read_bytes() for path in tmp_path.rglob("*.txt")}
    assert len(seen) == 18  # no contour twice, which a check of labels would report
    for study, structure, location, phase in source.drawn():
        text = np.loadtxt(source.contour(study, structure, location, phase)) - 1
        assert _area(text) == pytest.approx(_area(source.ring(study, structure, location, phase)), rel=0.05)
    read = dcmread(source.image(1, 2, source.ed))
    assert read.InstanceNumber == source.number(2, source.ed) == 12
    assert np.array_equal(read.pixel_array, source.pixels(1, 2, source.ed))
