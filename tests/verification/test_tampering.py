"""A dataset changed by someone who seals it again: found, with the SOURCE at hand or without."""

from __future__ import annotations

from pathlib import Path

import h5py
import pytest

from dicom_etl import pipeline
from dicom_etl.checks.limits import VerifyOptions
from dicom_etl.verification.dataset import verify_dataset
from tests.builders import TinySource
from tests.verification.tampering import KINDS, redo_tables, tamper


def test_there_are_forty_kinds() -> None:
    assert len(KINDS) >= 40


@pytest.mark.parametrize("name", KINDS)
def test_tampering_is_found(name: str, dataset: Path, kept_source: TinySource, tmp_path: Path) -> None:
    kind = KINDS[name]

    def change(file: h5py.File) -> None:
        kind.change(file)
        if kind.needs_source:
            redo_tables(file)

    path = tamper(dataset, tmp_path / "changed.h5", change)
    alone = verify_dataset(path, VerifyOptions(fail_on="warning"))
    found = {issue.code for issue in alone.findings}
    if kind.needs_source:
        assert not found, "found without the source: the table says otherwise"
        compared = verify_dataset(
            path, VerifyOptions(fail_on="warning"), source=pipeline.locate(kept_source.root)
        )
        found = {issue.code for issue in compared.findings}
        assert compared.exit_code == 3
    else:
        assert alone.exit_code == 3
    assert kind.code in found, alone.findings


def test_sealing_again_alone_changes_nothing(dataset: Path, tmp_path: Path) -> None:
    path = tamper(dataset, tmp_path / "same.h5", lambda file: None)
    assert verify_dataset(path, VerifyOptions(fail_on="warning")).findings == []
