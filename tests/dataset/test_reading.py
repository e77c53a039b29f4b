"""The reader of a dataset: what it reads ahead is what is there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dicom_etl import pipeline
from dicom_etl.dataset import schema
from dicom_etl.dataset.reading import open_reader
from tests.builders import make_source


def test_blocks_in_any_order_hold_their_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = make_source(tmp_path / "source", studies=3)
    pipeline.ingest(pipeline.locate(source.root), tmp_path / "out.h5")
    monkeypatch.setattr(schema, "ROWS_PER_CHUNK", 5)
    with open_reader(tmp_path / "out.h5") as rows:
        total = len(rows)
        whole = {column.name: rows.column(column.name) for column in rows.columns}
        rings = {name: rows.rings(name, 0, total) for name in rows.structures}
        for start, stop in ((0, 2), (2, 4), (3, 7), (0, total), (1, 1), (total - 1, total), (4, 6)):
            block = rows.block(start, stop)
            assert (block.start, block.stop, len(block)) == (start, stop, stop - start)
            for name, values in whole.items():
                np.testing.assert_array_equal(block[name], values[start:stop])
            for name in rows.structures:
                for mine, wanted in zip(block.rings[name], rings[name][start:stop], strict=True):
                    assert all(map(np.array_equal, mine, wanted))
