"""Contours that cannot be read at all: each is one clear error, without its path."""

from __future__ import annotations

from pathlib import Path

import pytest

from dicom_etl.config import IngestConfig
from dicom_etl.errors import ContourError
from dicom_etl.layouts import SourceRoots
from dicom_etl.records import ContourFile, Rings
from dicom_etl.stages.parse import parse_contour


def parse(folder: Path, name: str) -> Rings:
    file = ContourFile(f"contourfiles/S/{name}", "icontour", 7)
    return parse_contour(file, SourceRoots(folder, folder, folder / "link.csv"), IngestConfig(), (9, 9))


def test_a_name_that_no_format_knows(tmp_path: Path) -> None:
    with pytest.raises(ContourError, match="no contour format knows"):
        parse(tmp_path, "Jane.roi")


def test_a_file_that_went_away_is_said_without_its_path(tmp_path: Path) -> None:
    with pytest.raises(ContourError, match="cannot be read: No such file") as caught:
        parse(tmp_path, "IM-0001-0007-icontour-manual.txt")
    assert "IM-" not in str(caught.value)
    assert str(tmp_path) not in str(caught.value)
