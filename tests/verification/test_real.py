"""The real studies: silent as they are, and each planted fault found, from the files to the exit code."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from dicom_etl import pipeline
from dicom_etl.checks.limits import VerifyOptions
from dicom_etl.records import Issue
from dicom_etl.verification.dataset import verify_dataset

STRICT = VerifyOptions(fail_on="warning")


@pytest.fixture(scope="module")
def copied(real_source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a SOURCE of the real images with contours that a test may change."""
    root = tmp_path_factory.mktemp("real") / "source"
    root.mkdir()
    (root / "dicoms").symlink_to(real_source.resolve() / "dicoms", target_is_directory=True)
    shutil.copy(real_source / "link.csv", root)
    shutil.copytree(real_source / "contourfiles", root / "contourfiles")
    return root


def found(source: Path, path: Path) -> list[Issue]:
    """Ingest and verify; both must name the same doubts."""
    summary = pipeline.ingest(pipeline.locate(source), path)
    outcome = verify_dataset(path, STRICT, source=pipeline.locate(source))
    issues = [issue for issue in outcome.findings if issue.severity != "note"]
    heard = [issue for issue in summary.issues if issue.severity != "note"]
    assert {(i.code, i.path, i.sample) for i in issues} == {(i.code, i.path, i.sample) for i in heard}
    return issues


def contours(source: Path, original: str, kind: str) -> list[Path]:
    return sorted((source / "contourfiles" / original / f"{kind}-contours").iterdir())


@pytest.mark.slow
class TestPlanted:
    """Faults in the contour files of the real studies."""

    @pytest.fixture(autouse=True)
    def restore(self, copied: Path, real_source: Path) -> None:
        shutil.rmtree(copied / "contourfiles")
        shutil.copytree(real_source / "contourfiles", copied / "contourfiles")

    def test_as_they_are_nothing_is_found(self, copied: Path, tmp_path: Path) -> None:
        assert found(copied, tmp_path / "out.h5") == []

    def test_outer_contours_of_another_patient(self, copied: Path, tmp_path: Path) -> None:
        one, other = (
            contours(copied, name, "o")
            for name in sorted(p.name for p in (copied / "contourfiles").iterdir())[:2]
        )
        pairs = list(zip(one, other, strict=False))
        for target, origin in pairs:
            shutil.copy(origin, target)
        issues = found(copied, tmp_path / "out.h5")
        duplicates = [issue for issue in issues if issue.code == "duplicate-contour"]
        names = {frozenset(p.relative_to(copied).as_posix() for p in pair) for pair in pairs}
        assert [issue.severity for issue in duplicates] == ["error"] * len(
            {path for pair in names for path in pair} & {i.path for i in duplicates}
        )
        assert {frozenset((issue.path, issue.other_path)) for issue in duplicates} == names
        assert {issue.code for issue in issues} <= {"duplicate-contour", "inner-outside-outer"}

    @pytest.mark.parametrize("change", ["shift", "scale", "swap"])
    def test_one_contour(self, copied: Path, tmp_path: Path, change: str) -> None:
        paths = contours(copied, "SC-HF-I-1", "i")
        target, neighbour = paths[6], paths[8]
        changes: dict[str, Callable[[np.ndarray], np.ndarray]] = {
            "shift": lambda ring: ring + np.array([6.0, 0.0]),
            "scale": lambda ring: ring.mean(axis=0) + 3 * (ring - ring.mean(axis=0)),
        }
        if change == "swap":
            one, other = target.read_bytes(), neighbour.read_bytes()
            target.write_bytes(other)
            neighbour.write_bytes(one)
        else:
            np.savetxt(target, changes[change](np.loadtxt(target)), fmt="%.2f")
        issues = found(copied, tmp_path / "out.h5")
        changed = {path.relative_to(copied).as_posix() for path in (target, neighbour)}
        assert any(changed & {issue.path, issue.other_path} for issue in issues), issues

    def test_all_contours_of_a_study_mirrored(self, copied: Path, tmp_path: Path) -> None:
        for kind in "io":
            for path in contours(copied, "SC-HF-I-1", kind):
                np.savetxt(
                    path, np.array([257.0, 0.0]) + np.loadtxt(path) * np.array([-1.0, 1.0]), fmt="%.2f"
                )
        issues = found(copied, tmp_path / "out.h5")
        assert {issue.patient_id for issue in issues} == {"SCD0000101"}
        assert "misaligned" in {issue.code for issue in issues}
