"""The writer by itself: tables of any length, mistakes of ours, and a file that is never left open."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from dicom_etl.dataset import schema
from dicom_etl.dataset.schema import Ending
from dicom_etl.dataset.writer import open_writer
from dicom_etl.errors import OutputError
from dicom_etl.records import Chunk, EncodedSample
from tests.batches.datasets import content

WIDTHS = {"patient_id": 3, "original_id": 8, "source_image": 30, "manufacturer": 7, "source_icontour": 40}


def spec(**changes: Any) -> schema.DatasetSpec:
    whole = schema.DatasetSpec((4, 3), "<i2", ("icontour",), tuple(sorted(WIDTHS.items())))
    return replace(whole, **changes)


def samples(count: int, patients: int) -> list[EncodedSample]:
    made = content(count, (4, 3), ("icontour",), patients=patients)
    return [
        EncodedSample(
            made.row(row),
            Chunk(made.images[row].tobytes()),
            (Chunk(made.masks[row, 0].tobytes()),),
            (made.outline(row, 0),) if row % 3 else ((),),
        )
        for row in range(count)
    ]


@pytest.mark.parametrize("patients", [1, 7, 90])
def test_tables_longer_than_a_chunk_hold_every_row_in_order(tmp_path: Path, patients: int) -> None:
    rows = samples(count := 2 * schema.ROWS_PER_CHUNK + 300, patients)
    path = tmp_path / "out.h5"
    with open_writer(path, spec()) as writer:
        for row, sample in enumerate(rows):
            if row and sample.row.patient_id != rows[row - 1].row.patient_id:
                writer.end_study({0: "ED"})
            writer.append(sample)
        writer.end_study({1: "ES"})
        writer.finish(Ending(splits=[("", -1)] * count, attributes={}))
    with h5py.File(path) as file:
        table = file["samples"]
        assert file["sample"][()].tolist() == list(range(count))
        assert table["instance_number"][()].tolist() == [sample.row.instance_number for sample in rows]
        assert table["patient_id"].asstr()[()].tolist() == [sample.row.patient_id for sample in rows]
        last = [sample.row.patient_id == rows[-1].row.patient_id for sample in rows]
        assert table["cardiac_phase"].asstr()[()].tolist() == [
            ("" if row % 2 == 0 else "ES") if ends else ("ED" if row % 2 == 0 else "")
            for row, ends in enumerate(last)
        ]
        offsets = file["contours/icontour/offsets"][()]
        vertices = file["contours/icontour/vertices"][()]
        for row in (0, 1, 2, 1023, 1024, 1025, 2047, 2048, count - 1):
            (rings,) = rows[row].rings
            expected = rings[0] if rings else np.empty((0, 2))
            np.testing.assert_array_equal(vertices[offsets[row] : offsets[row + 1]], expected)
            assert file["images"][row].tobytes() == rows[row].image.data


def test_a_text_that_is_longer_than_its_column_is_never_cut(tmp_path: Path) -> None:
    (sample,) = samples(1, 1)
    sample = sample._replace(row=replace(sample.row, patient_id="P000"))
    with open_writer(tmp_path / "out.h5", spec()) as writer:
        writer.append(sample)
        writer.end_study({})
        with pytest.raises(OutputError, match="4 bytes does not fit its column of 3"):
            writer.finish(Ending(splits=[("", -1)], attributes={}))


def test_a_mistake_of_ours_is_raised_as_it_is_and_the_file_closed(tmp_path: Path) -> None:
    (sample,) = samples(1, 1)
    path = tmp_path / "out.h5"

    def write() -> None:
        with open_writer(path, spec()) as writer:
            writer.append(sample._replace(masks=()))

    with pytest.raises(ValueError, match="shorter"):
        write()
    with h5py.File(path, "r+"):  # which HDF5 refuses while it is open
        pass
