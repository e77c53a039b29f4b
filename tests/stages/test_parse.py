"""Contours that cannot be read at all: each is one clear error, without its path."""

from __future__ import annotations

from pathlib import Path

import pytest

from dicom_etl.config import IngestConfig
from dicom_etl.errors import ContourError
from tests.contours.reading import read_label


def test_a_file_that_went_away_is_said_without_its_path(tmp_path: Path) -> None:
    with pytest.raises(ContourError, match="cannot be read: No such file") as caught:
        read_label(tmp_path, "IM-0001-0007-icontour-manual.txt", (9, 9), IngestConfig())
    assert "IM-" not in str(caught.value)
    assert str(tmp_path) not in str(caught.value)
