"""Images as they were planned, and contours that cannot be read at all: each is one clear error, without its path."""

from __future__ import annotations

from pathlib import Path

import pytest

from dicom_etl.config import IngestConfig
from dicom_etl.dicom import native_reader
from dicom_etl.errors import ContourError
from dicom_etl.layouts import SourceRoots
from dicom_etl.pipeline import Plan, locate
from dicom_etl.records import SamplePlan
from dicom_etl.stages.parse import parse_image
from tests.builders import TinySource
from tests.contours.reading import read_label


def test_a_file_that_went_away_is_said_without_its_path(tmp_path: Path) -> None:
    with pytest.raises(ContourError, match="cannot be read: No such file") as caught:
        read_label(tmp_path, "IM-0001-0007-icontour-manual.txt", (9, 9), IngestConfig())
    assert "IM-" not in str(caught.value)
    assert str(tmp_path) not in str(caught.value)


def planned(source: TinySource) -> tuple[SourceRoots, list[SamplePlan]]:
    roots = locate(source.root)
    studies = Plan(roots, IngestConfig()).studies()
    return roots, [sample for study in studies for sample in study.samples]


def test_a_planned_header_is_not_parsed_again(
    kept_source: TinySource, monkeypatch: pytest.MonkeyPatch
) -> None:
    roots, samples = planned(kept_source)
    monkeypatch.setattr(native_reader, "scan", None)
    for sample in samples:
        assert parse_image(sample, roots, IngestConfig()).header is sample.header


def test_a_header_that_changed_since_it_was_planned_is_the_files(source: TinySource) -> None:
    roots, samples = planned(source)
    sample = samples[0]
    path = Path(roots.place(sample.image))
    path.write_bytes(path.read_bytes().replace(b"Synthetic", b"Synthesis"))
    header = parse_image(sample, roots, IngestConfig()).header
    assert header == sample.header._replace(manufacturer=sample.header.manufacturer.replace("etic", "esis"))
    assert header.manufacturer != sample.header.manufacturer
