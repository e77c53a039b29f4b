"""What a person decided, from the file to the dataset."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from click.testing import CliRunner

import dicom_etl
from dicom_etl.checks.decisions import COLUMNS
from dicom_etl.cli import cli
from dicom_etl.dataset.digest import contour_sha256
from dicom_etl.errors import ConfigError
from dicom_etl.pipeline import Summary
from dicom_etl.report.contents import Contents
from tests.builders import TinySource, circle, write_contour


@pytest.fixture
def doubtful(source: TinySource) -> TinySource:
    """Return a source whose first patient has a contour that is much too small, and one that cannot be read."""
    x, y = source.centre(0, 1)
    write_contour(source.contour(0, "icontour", 1, source.ed), circle(x + 6, y, 2.0))
    source.contour(1, "icontour", 0, source.es).write_text("bad\n")
    return source


def decisions(folder: Path, *lines: Sequence[object]) -> Path:
    path = folder / "decisions.csv"
    rows = [",".join(COLUMNS), *(",".join(map(str, (*line, *[""] * (9 - len(line))))) for line in lines)]
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return path


def ingest(source: TinySource, folder: Path, name: str, **options: Any) -> Summary:
    return dicom_etl.ingest(source.root, folder / name, overwrite=True, **options)


def doubts(summary: Summary) -> set[tuple[str, str]]:
    return {(issue.code, issue.structure) for issue in summary.issues if issue.severity != "note"}


def image(source: TinySource) -> str:
    return source.image(0, 1, source.ed).relative_to(source.root).as_posix()


def label(path: Path, source: TinySource) -> str:
    """Return the digest of the inner contour of the doubtful image, as the report writes it."""
    with Contents(path) as contents:
        row = contents.column("source_image").tolist().index(image(source))
        return contour_sha256(contents.rings(contents.structures.index("icontour"), row))


def test_a_dropped_label_is_not_in_the_dataset_and_a_note_says_so(
    doubtful: TinySource, tmp_path: Path
) -> None:
    before = ingest(doubtful, tmp_path, "a.h5")
    assert any(code == "area-jump" for code, _ in doubts(before))
    digest = label(tmp_path / "a.h5", doubtful)
    file = decisions(
        tmp_path,
        ("SYN00001", image(doubtful), 0, "icontour", "area-jump", "drop", digest, "too small", "Somebody"),
        ("SYN00002", doubtful.contour(1, "icontour", 0, doubtful.es).relative_to(doubtful.root).as_posix(),
         "", "*", "unreadable-contour", "keep"),
    )  # fmt: skip
    after = ingest(doubtful, tmp_path, "b.h5", decisions=file)
    assert doubts(after) <= {("outer-without-inner", "ocontour")}
    dropped = [issue for issue in after.issues if issue.code == "label-dropped"]
    assert [(issue.severity, issue.patient_id, issue.structure) for issue in dropped] == [
        ("note", "SYN00001", "icontour")
    ]
    with h5py.File(tmp_path / "b.h5") as written:
        images = [text.decode() for text in written["samples/source_image"][()]]
        row = images.index(image(doubtful))
        assert written["samples/has_icontour"][row] == 0
        assert written["samples/has_ocontour"][row] == 1
        assert not written["masks/icontour"][row].any()
    data = (tmp_path / "b.h5").read_bytes()
    assert b"Somebody" not in data
    assert b"too small" not in data


def test_a_label_that_was_drawn_again_is_not_dropped(doubtful: TinySource, tmp_path: Path) -> None:
    ingest(doubtful, tmp_path, "a.h5")
    file = decisions(
        tmp_path,
        ("SYN00001", image(doubtful), 0, "icontour", "*", "drop", label(tmp_path / "a.h5", doubtful)),
    )
    x, y = doubtful.centre(0, 1)
    write_contour(doubtful.contour(0, "icontour", 1, doubtful.ed), circle(x + 6, y, 2.2))
    after = ingest(doubtful, tmp_path, "b.h5", decisions=file)
    (stale,) = [issue for issue in after.issues if issue.code == "decision-stale"]
    assert "drawn again" in stale.message
    assert any(code == "area-jump" for code, _ in doubts(after))


def test_a_kept_finding_flags_nothing_and_ingest_ends_with_0(
    doubtful: TinySource, tmp_path: Path, runner: CliRunner
) -> None:
    doubtful.contour(1, "icontour", 0, doubtful.es).unlink()
    before = ingest(doubtful, tmp_path, "a.h5")
    assert not before.ok
    lines = [("SYN00001", "*", "", structure or "*", code, "keep") for code, structure in doubts(before)]
    words = ["ingest", str(doubtful.root), "-o", str(tmp_path / "b.h5")]
    result = runner.invoke(cli, [*words, "--decisions", str(decisions(tmp_path, *lines))])
    assert result.exit_code == 0, result.output
    checked = runner.invoke(cli, ["verify", str(tmp_path / "b.h5"), "--fail-on", "warning"])
    assert checked.exit_code == 0, "verify reads the decisions from the dataset"
    assert runner.invoke(cli, ["verify", str(tmp_path / "a.h5"), "--fail-on", "warning"]).exit_code == 3
    with h5py.File(tmp_path / "b.h5") as file:
        assert set(file["decisions/decision"][()].tolist()) == {b"keep"}
        assert not any(file[f"samples/flagged_{name}"][()].any() for name in ("icontour", "ocontour"))
    with np.load(_masks(tmp_path / "a.h5")) as one, np.load(_masks(tmp_path / "b.h5")) as other:
        assert np.array_equal(one["masks"], other["masks"])


def _masks(path: Path) -> Path:
    target = path.with_suffix(".npz")
    with h5py.File(path) as file:
        np.savez(target, masks=file["masks/icontour"][()])
    return target


@pytest.mark.parametrize("way", ["drop_flagged", "by finding"])
def test_what_is_flagged_can_go_at_once(doubtful: TinySource, tmp_path: Path, way: str) -> None:
    codes = {code for code, _ in doubts(ingest(doubtful, tmp_path, "a.h5")) if code != "unreadable-contour"}
    file = decisions(tmp_path, *(("SYN00001", "*", "", "*", code, "drop") for code in sorted(codes)))
    options: dict[str, Any] = {"drop_flagged": True} if way == "drop_flagged" else {"decisions": file}
    after = ingest(doubtful, tmp_path, "b.h5", **options)
    assert {code for code, _ in doubts(after)} <= {"unreadable-contour", "outer-without-inner"}
    assert [issue.structure for issue in after.issues if issue.code == "label-dropped"]


def test_patients_and_structures_are_excluded(source: TinySource, tmp_path: Path) -> None:
    summary = ingest(source, tmp_path, "a.h5", exclude=("SYN00002", "SYN00001:ocontour"), unlabeled=True)
    compared = dicom_etl.verify(tmp_path / "a.h5", source=source.root, fail_on="warning")
    assert compared.ok, compared.findings
    with h5py.File(tmp_path / "a.h5") as file:
        assert {text.decode() for text in file["samples/patient_id"][()]} == {"SYN00001"}
        assert not file["samples/has_ocontour"][()].any()
        assert file["samples/has_icontour"][()].sum() == 6
    assert summary.ok
    stale = ingest(source, tmp_path, "b.h5", exclude=("SYN00009",))
    assert [issue.code for issue in stale.issues] == ["decision-stale"]


def test_a_file_that_is_not_there_or_none_is_refused(source: TinySource, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        ingest(source, tmp_path, "a.h5", decisions=tmp_path / "none.csv")
    (tmp_path / "d.csv").write_text("a,b\n")
    with pytest.raises(ConfigError, match="must name the columns"):
        ingest(source, tmp_path, "a.h5", decisions=tmp_path / "d.csv")
    assert not (tmp_path / "a.h5").exists()
