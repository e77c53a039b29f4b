"""Fixtures and settings that several rooms share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

# Wall-clock deadlines fail on a busy machine and say nothing about the code. The same examples every time,
# so that a failure can be repeated; HYPOTHESIS_PROFILE=search looks for new ones.
settings.register_profile("default", deadline=None, derandomize=True)
settings.register_profile("search", deadline=None, max_examples=1000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))


@pytest.fixture(scope="session")
def real_source() -> Path:
    """Return the folder of real studies, from DICOM_ETL_REAL or beside the checkout; skip without it."""
    path = Path(os.environ.get("DICOM_ETL_REAL", Path(__file__).parents[2] / "shared" / "real"))
    if not (path / "link.csv").is_file():
        pytest.skip("the real studies are not here: set DICOM_ETL_REAL to their folder")
    return path
