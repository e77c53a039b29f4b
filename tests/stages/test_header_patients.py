"""One PatientID in several folders: who is kept in one subset of a split."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dicom_etl import api, pipeline
from dicom_etl.batches.reader import BatchReader
from dicom_etl.config import IngestConfig, RunOptions
from dicom_etl.errors import ConfigError
from dicom_etl.pipeline.merge import merge
from dicom_etl.verification.dataset import verify_dataset
from tests.builders import TinySource, make_source
from tests.test_split_subsets import subsets

HALVES: Any = {"split": (0.5, 0.5), "folds": 2}


def source_of(tmp_path: Path, *patient_ids: str) -> TinySource:
    """Make a folder for each PatientID."""
    return make_source(
        tmp_path / "source", studies=len(patient_ids), locations=1, header_patients=patient_ids
    )


def said(source: TinySource, **options: Any) -> set[tuple[str, str, str]]:
    summary = api.plan(source.root, config=IngestConfig(**options))
    return {
        (issue.severity, issue.code, issue.patient_id)
        for issue in summary.issues
        if issue.code.startswith("patient-")
    }


def test_one_in_two_folders_is_one_patient(tmp_path: Path) -> None:
    source = source_of(tmp_path, "A", "B", "C", "D", "E", "A")
    ids = source.patient_id(0), source.patient_id(5)
    assert said(source) == {("note", "patient-in-two-folders", each) for each in ids}
    assert not said(source, group_by="folder")
    parted = 0
    for seed in range(3):
        config = IngestConfig(**HALVES, split_seed=seed)
        output = tmp_path / f"{seed}.h5"
        found = subsets(source, output, config)
        assert found[ids[0]] == found[ids[1]]
        assert all(issue.severity != "error" for issue in verify_dataset(output).findings)
        found_before = found
        by_folder = IngestConfig(**HALVES, split_seed=seed, group_by="folder")
        found = subsets(source, tmp_path / f"{seed}-folder.h5", by_folder)
        parted += found[ids[0]] != found[ids[1]]
        train = BatchReader(output, split="train", fractions=(0.5, 0.5), split_seed=seed)
        served = set(train.table["patient_id"].tolist())
        assert served == {patient for patient, each in found_before.items() if ("train" in dict(each))}
    assert parted


@pytest.mark.parametrize("shards", [2, 5])
def test_parts_keep_them_together_as_the_whole_does(tmp_path: Path, shards: int) -> None:
    source = source_of(tmp_path, "A", "B", "", "B", "C", "A")
    roots, config = pipeline.locate(source.root), IngestConfig(**HALVES, split_seed=1)
    whole = pipeline.ingest(roots, tmp_path / "whole.h5", config)
    parts = [tmp_path / f"{number}.h5" for number in range(1, shards + 1)]
    for number, part in enumerate(parts, start=1):
        pipeline.ingest(roots, part, config, RunOptions(shard=(number, shards)))
    assert merge(parts, tmp_path / "merged.h5").sha256 == whole.sha256


def test_one_in_all_folders_is_a_placeholder(tmp_path: Path) -> None:
    source = source_of(tmp_path, "ANON", "ANON", "ANON")
    assert said(source) == {("note", "patient-id-shared", "")}
    assert said(source, **HALVES) == {("warning", "patient-id-shared", "")}
    assert not said(source, **HALVES, group_by="folder")
    found = subsets(source, tmp_path / "a.h5", IngestConfig(**HALVES))
    assert len(set().union(*found.values())) > 1
    with pytest.raises(ConfigError, match="a PatientID and stay together"):
        subsets(source, tmp_path / "b.h5", IngestConfig(**HALVES, group_by="header"))


def test_an_empty_one_is_unknown(tmp_path: Path) -> None:
    assert not said(source_of(tmp_path, "", "", "", "D"))


def test_no_patient_id_is_stored(tmp_path: Path) -> None:
    source = source_of(tmp_path, "CANARY^ONE", "CANARY^ONE", "CANARY^TWO")
    pipeline.ingest(pipeline.locate(source.root), tmp_path / "a.h5", IngestConfig(**HALVES))
    assert b"CANARY" not in (tmp_path / "a.h5").read_bytes()
