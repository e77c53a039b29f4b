"""Fixtures and settings that several rooms share."""

from __future__ import annotations

import os
import shutil
from importlib.util import find_spec
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import settings

from dicom_etl import pipeline
from tests.builders import TinySource, make_source

# Wall-clock deadlines fail on a busy machine and say nothing about the code. The same examples every time,
# so that a failure can be repeated; HYPOTHESIS_PROFILE=search looks for new ones.
settings.register_profile("default", deadline=None, derandomize=True)
settings.register_profile("search", deadline=None, max_examples=1000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))


SOME_TESTS_NEED = {
    **dict.fromkeys(("torch", "tensorflow", "lightning", "torchdata", "monai", "jax", "keras"), "pip install NAME"),
    **dict.fromkeys(("accelerate", "highdicom", "albumentations", "pandas", "mkdocs_click"), "pip install NAME"),
    "distributed": 'pip install ".[dask]"',
    "selenium": 'pip install ".[browser]"',
}  # fmt: skip


def pytest_report_header() -> list[str]:
    """Say first what is skipped for want of something, and how to get it."""
    lacking = [name for name in SOME_TESTS_NEED if find_spec(name) is None]
    lines = [f"skipped without {name}: {SOME_TESTS_NEED[name].replace('NAME', name)}" for name in lacking]
    if not shutil.which("chromedriver"):
        lines.append("skipped without Chromium: apt-get install chromium chromium-driver")
    if "DICOM_ETL_REAL" not in os.environ:
        lines.append("skipped without the three real studies: set DICOM_ETL_REAL to their folder")
    return lines


@pytest.fixture(scope="session")
def real_source() -> Path:
    """Return the folder of real studies, from DICOM_ETL_REAL or beside the checkout; skip without it."""
    path = Path(os.environ.get("DICOM_ETL_REAL", Path(__file__).parents[2] / "shared" / "real"))
    if not (path / "link.csv").is_file():
        pytest.skip("the real studies are not here: set DICOM_ETL_REAL to their folder")
    return path


@pytest.fixture
def source(tmp_path: Path) -> TinySource:
    """Return a small whole SOURCE that a test may change."""
    return make_source(tmp_path / "source")


@pytest.fixture(scope="session")
def kept_source(tmp_path_factory: pytest.TempPathFactory) -> TinySource:
    """Return a small whole SOURCE that tests only read."""
    return make_source(tmp_path_factory.mktemp("kept") / "source")


@pytest.fixture(scope="session")
def dataset(kept_source: TinySource, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a dataset made of `kept_source`, that tests only read."""
    path = tmp_path_factory.mktemp("dataset") / "dataset.h5"
    pipeline.ingest(pipeline.locate(kept_source.root), path)
    return path


@pytest.fixture
def runner() -> CliRunner:
    """Return a runner of the command line that keeps stdout and stderr apart."""
    return CliRunner()
