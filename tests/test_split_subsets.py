"""Splits and folds that ingest writes."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import h5py
import pytest

from dicom_etl import pipeline
from dicom_etl.config import IngestConfig
from dicom_etl.errors import ConfigError
from tests.builders import TinySource, make_source


def subsets(source: TinySource, output: Path, config: IngestConfig) -> dict[str, set[tuple[str, int]]]:
    pipeline.ingest(pipeline.locate(source.root), output, config)
    found = defaultdict(set)
    with h5py.File(output) as file:
        columns = [file["samples"][name][()].tolist() for name in ("patient_id", "split", "fold")]
    for patient, split, fold in zip(*columns, strict=True):
        found[patient.decode()].add((split.decode(), fold))
    return found


def test_every_patient_is_on_one_side(tmp_path: Path) -> None:
    source = make_source(tmp_path / "source", studies=6, locations=1)
    found = subsets(source, tmp_path / "a.h5", IngestConfig(split=(0.5, 0.5), folds=2, split_seed=3))
    assert all(len(each) == 1 for each in found.values())
    pairs = [pair for each in found.values() for pair in each]
    assert sorted(split for split, _ in pairs) == ["train"] * 3 + ["val"] * 3
    assert {fold for _, fold in pairs} == {0, 1}


def test_test_samples_are_in_no_fold(tmp_path: Path) -> None:
    source = make_source(tmp_path / "source", studies=6, locations=1)
    found = subsets(source, tmp_path / "a.h5", IngestConfig(split=(0.4, 0.3, 0.3), folds=2))
    assert all((fold == -1) == (split == "test") for each in found.values() for split, fold in each)


def test_patients_that_share_a_contour_stay_together(tmp_path: Path) -> None:
    source = make_source(tmp_path / "source", studies=6, locations=1)
    copied = source.contour(5, "icontour", 0, source.ed)
    copied.write_bytes(source.contour(0, "icontour", 0, source.ed).read_bytes())
    for seed in range(6):
        config = IngestConfig(split=(0.5, 0.5), split_seed=seed)
        found = subsets(source, tmp_path / f"{seed}.h5", config)
        assert found[source.patient_id(0)] == found[source.patient_id(5)]


def test_without_the_options_there_are_no_subsets(kept_source: TinySource, tmp_path: Path) -> None:
    assert set().union(*subsets(kept_source, tmp_path / "a.h5", IngestConfig()).values()) == {("", -1)}


def test_too_few_patients_write_nothing(kept_source: TinySource, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="3 splits need at least 3 patients"):
        subsets(kept_source, tmp_path / "a.h5", IngestConfig(split=(0.4, 0.3, 0.3)))
    assert not list(tmp_path.glob("*.h5"))


@pytest.mark.parametrize("options", [{"split": (0.5, 0.6)}, {"folds": 1}, {"split_seed": -1}])
def test_options_that_cannot_be_used(options: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        IngestConfig(**options)  # type: ignore[arg-type]
