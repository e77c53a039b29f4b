"""Fixtures that several rooms share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def real_source() -> Path:
    """Return the folder of real studies, from DICOM_ETL_REAL or beside the checkout; skip without it."""
    path = Path(os.environ.get("DICOM_ETL_REAL", Path(__file__).parents[2] / "shared" / "real"))
    if not (path / "link.csv").is_file():
        pytest.skip("the real studies are not here: set DICOM_ETL_REAL to their folder")
    return path
