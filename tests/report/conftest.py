"""A dataset with findings, and pages made of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from dicom_etl import pipeline
from dicom_etl.dataset.schema import Ending
from dicom_etl.dataset.writer import HDF5Writer
from dicom_etl.records import Issue
from dicom_etl.report.page import write_report
from tests.builders import make_source
from tests.report.reading import Element, read_page


@pytest.fixture(scope="session")
def faulty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a dataset of 18 samples in splits, with a contour that was left out and a doubt about sample 9."""
    folder = tmp_path_factory.mktemp("faulty")
    source = make_source(folder / "source", studies=3, shape=(48, 40))
    source.contour(0, "icontour", 0, source.es + 1).write_text("1 2\nx y\n")
    doubtful = source.contour(1, "icontour", 1, source.ed).relative_to(source.root).as_posix()
    doubt = Issue("warning", "area-jump", "3.1 times the area of its neighbour", "link", doubtful, "SYN00002")
    finish = HDF5Writer.finish

    def with_doubt(self: HDF5Writer, ending: Ending) -> None:
        rows = len(ending.splits)
        sides = [("train" if place < 12 else "test", -1) for place in range(rows)]
        flags = {"icontour": ["area-jump" if row == 9 else "" for row in range(rows)]}
        finish(self, replace(ending, splits=sides, issues=[*ending.issues, doubt], flags=flags))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(HDF5Writer, "finish", with_doubt)
        pipeline.ingest(pipeline.locate(source.root), folder / "dataset.h5")
    return folder / "dataset.h5"


FINDINGS = (
    Issue("error", "duplicate-contour", "the same outline in two patients", sample=13, structure="icontour"),
    Issue("note", "tiny-contour", "3 pixels", sample=2),
)
"""What verify could add."""


@pytest.fixture(scope="session")
def page_file(faulty: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a page about `faulty`."""
    path = tmp_path_factory.mktemp("page") / "report.html"
    write_report(faulty, path, verify=False, findings=FINDINGS)
    return path


@pytest.fixture(scope="session")
def page(page_file: Path) -> Element:
    """Return that page, read."""
    return read_page(page_file.read_text(encoding="utf-8"))
