"""A SOURCE that changes between the pass over headers and that over pixels: nothing of two states gets into one row."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import h5py
import numpy as np
import pytest

from dicom_etl import dicom, pipeline
from dicom_etl.config import IngestConfig, RunOptions
from dicom_etl.dataset.digest import sha256_of_file
from dicom_etl.dicom import files, native_reader
from dicom_etl.dicom.files import read_exactly
from dicom_etl.errors import ImageError
from dicom_etl.records import Issue
from dicom_etl.verification.dataset import verify_dataset
from tests.builders import TinySource, circle, make_source, position_mm, write_contour, write_dicom
from tests.dicom.reading import read_image

CHANGED = "changed-while-read"


def ingest_meanwhile(
    source: TinySource, output: Path, change: Callable[[], object], **config: Any
) -> pipeline.Summary:
    """Make a dataset; ``change`` is called when all headers were read, and no pixel."""
    called: list[bool] = []

    def progress(stage: str, done: int, total: int) -> None:
        if stage == "discover" and done == total and not called:
            called.append(True)
            change()

    roots = pipeline.locate(source.root)
    return pipeline.ingest(roots, output, IngestConfig(**config), progress=progress)


def changed(issues: list[Issue]) -> list[str]:
    return sorted(issue.path for issue in issues if issue.code == CHANGED)


def rows_of(path: Path) -> dict[str, Any]:
    with h5py.File(path) as file:
        return {
            name: file["samples"][name][()] for name in ("source_image", "sha256_image_file", "has_icontour")
        }


@pytest.fixture
def source(tmp_path: Path) -> TinySource:
    return make_source(tmp_path / "source")


def anew(source: TinySource, study: int, location: int, phase: int, **header: Any) -> str:
    """Write an image again, with another value in its header; return its name in the dataset."""
    values: dict[str, Any] = {
        "PatientID": source.patient_id(study),
        "InstanceNumber": source.number(location, phase),
        "TriggerTime": f"{20 + 800 * phase / source.phases:.4f}",
        "ImagePositionPatient": position_mm(location),
    }
    path = source.image(study, location, phase)
    write_dicom(path, source.pixels(study, location, phase), **values | header)
    return str(path.relative_to(source.root))


@pytest.mark.parametrize(
    "header",
    [
        {"InstanceNumber": 99},
        {"ImagePositionPatient": [1, 2, 3]},
        {"Manufacturer": "Somebody else"},
        {"PixelSpacing": [1.5, 1.5]},
        {"TriggerTime": "1"},
        {"PatientID": "SYN00002"},
        {"SeriesInstanceUID": "1.2.3"},
    ],
    ids=lambda header: next(iter(header)),
)
def test_an_image_whose_header_changed_is_left_out(
    source: TinySource, tmp_path: Path, header: dict[str, Any]
) -> None:
    names: list[str] = []
    out = tmp_path / "out.h5"
    summary = ingest_meanwhile(source, out, lambda: names.append(anew(source, 0, 1, source.ed, **header)))
    assert changed(summary.issues) == names
    assert summary.samples == source.sample_count() - 1
    assert names[0].encode() not in set(rows_of(out)["source_image"])
    (issue,) = (issue for issue in summary.issues if issue.code == CHANGED)
    assert issue.message.endswith("changed since the header was planned with; left out")


def test_images_that_change_places_are_left_out(source: TinySource, tmp_path: Path) -> None:
    """As when a folder is replaced by a new export while it is read: 26 to 50% of rows were of both."""

    def exchange() -> None:
        for location in range(source.locations):
            one, other = (source.image(study, location, source.es) for study in (0, 1))
            both = one.read_bytes(), other.read_bytes()
            other.write_bytes(both[0])
            one.write_bytes(both[1])

    out = tmp_path / "out.h5"
    summary = ingest_meanwhile(source, out, exchange)
    assert len(changed(summary.issues)) == 2 * source.locations
    assert summary.samples == source.sample_count() - 2 * source.locations


def test_pixels_may_change_under_a_header(source: TinySource, tmp_path: Path) -> None:
    """All of the row comes from one reading, so it is what SOURCE gives afterwards."""
    path = source.image(0, 1, source.ed)

    def brighten() -> None:
        data = bytearray(path.read_bytes())
        data[-2000:] = bytes(2000)
        path.write_bytes(data)

    out = tmp_path / "out.h5"
    summary = ingest_meanwhile(source, out, brighten)
    assert (summary.samples, changed(summary.issues)) == (source.sample_count(), [])
    found = rows_of(out)
    row = found["source_image"].tolist().index(str(path.relative_to(source.root)).encode())
    assert found["sha256_image_file"][row].decode() == sha256_of_file(path)
    with h5py.File(out) as file:
        np.testing.assert_array_equal(file["images"][row], read_image(path).pixels)
    assert verify_dataset(out, source=pipeline.locate(source.root)).findings == []


def test_a_contour_file_in_the_middle_of_being_written_is_left_out(
    source: TinySource, tmp_path: Path
) -> None:
    path = source.contour(0, "icontour", 1, source.ed)

    def write_half() -> None:
        lines = path.read_text().splitlines(keepends=True)
        path.write_text("".join(lines[: len(lines) // 2]))

    out = tmp_path / "out.h5"
    summary = ingest_meanwhile(source, out, write_half)
    assert changed(summary.issues) == [str(path.relative_to(source.root))]
    assert summary.structures == {"icontour": 11, "ocontour": 6}  # the image keeps its other contour
    assert summary.samples == source.sample_count()


def test_a_contour_file_of_the_same_length_is_left_out(source: TinySource, tmp_path: Path) -> None:
    path = source.contour(1, "icontour", 0, source.es)
    text = path.read_text()
    summary = ingest_meanwhile(source, tmp_path / "out.h5", lambda: path.write_text(text))
    assert changed(summary.issues) == [str(path.relative_to(source.root))]


def test_a_file_that_goes_is_left_out(source: TinySource, tmp_path: Path) -> None:
    gone = [source.image(0, 0, source.ed), source.contour(0, "icontour", 1, source.ed)]

    def remove() -> None:
        for path in gone:
            path.unlink()

    summary = ingest_meanwhile(source, tmp_path / "out.h5", remove)
    found = {issue.path for issue in summary.issues if issue.severity == "error"}
    assert found == {str(path.relative_to(source.root)) for path in gone}


def test_a_manufacturer_in_pseudonyms_is_no_change(source: TinySource, tmp_path: Path) -> None:
    from dicom_etl.layouts.pseudonyms import Pseudonyms

    roots = pipeline.locate(source.root)
    summary = pipeline.ingest(
        roots,
        tmp_path / "out.h5",
        IngestConfig(pseudonymize=True),
        RunOptions(),
        pseudonyms=Pseudonyms(bytes(range(32))),
    )
    assert changed(summary.issues) == []


def test_a_file_that_is_written_to_while_it_is_read_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_dicom(tmp_path / "1.dcm", np.zeros((8, 8), np.int16))
    content = path.read_bytes()

    def slowly(descriptor: int, count: int) -> bytes:
        half = read_exactly(descriptor, count // 2)
        with path.open("r+b") as stream:
            stream.write(content)
            os.utime(path, ns=(1, 1))
        return half + read_exactly(descriptor, count - count // 2)

    monkeypatch.setattr(files, "read_exactly", slowly)
    with pytest.raises(ImageError, match="wrote to the file while it was read") as found:
        read_image(path)
    assert found.value.code == CHANGED


def test_verify_blames_nobody_it_cannot_prove(source: TinySource, tmp_path: Path) -> None:
    """One more image moves the places of others, whose files are as they were: not the dataset has changed."""
    out = tmp_path / "out.h5"
    pipeline.ingest(pipeline.locate(source.root), out)
    folder = source.root / "dicoms" / source.patient_id(0)
    write_dicom(
        folder / "99.dcm",
        np.ones(source.shape, np.int16),
        InstanceNumber=99,
        ImagePositionPatient=position_mm(-1),
        PatientID=source.patient_id(0),
    )
    write_contour(
        source.contour(0, "icontour", 0, 0).with_name("IM-0001-0099-icontour-manual.txt"), circle(15, 15, 5)
    )
    messages = [issue.message for issue in verify_dataset(out, source=pipeline.locate(source.root)).findings]
    moved = [message for message in messages if message.startswith("location_index")]
    assert moved
    assert all(
        "the image file is as it was, so the rest of SOURCE, or the dataset, is not" in one for one in moved
    )


def test_the_header_of_a_file_that_is_as_it_was_is_not_parsed_again(
    source: TinySource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of one that was touched it is: the row is the same, for its fields are."""
    parsed: list[int] = []

    def scan(data: bytes, size: int) -> native_reader.Plain | None:
        parsed.append(size)
        return native_reader.scan(data, size)

    touched = source.image(0, 1, source.ed)

    def touch() -> None:
        os.utime(touched, ns=(1, 1))
        parsed.clear()
        monkeypatch.setattr(dicom, "native_reader", SimpleNamespace(scan=scan))

    summary = ingest_meanwhile(source, tmp_path / "out.h5", touch)
    assert parsed == [touched.stat().st_size]
    assert (summary.samples, changed(summary.issues)) == (source.sample_count(), [])
