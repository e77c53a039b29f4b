"""verify as a person and a program use it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import pytest
from click.testing import CliRunner, Result

from dicom_etl.cli import cli
from dicom_etl.dataset.digest import sha256_of_file
from tests.builders import TinySource
from tests.verification.tampering import KINDS, tamper


def run(runner: CliRunner, *words: object) -> Result:
    return runner.invoke(cli, ["verify", *(str(word) for word in words)])


def report(runner: CliRunner, *words: object) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(run(runner, *words, "--json").stdout)
    return answer


@pytest.fixture
def doubtful(dataset: Path, tmp_path: Path) -> Path:
    """Return a dataset with an error and a warning."""

    def change(file: h5py.File) -> None:
        KINDS["statistic"].change(file)
        file["images"][11] = file["images"][9]

    return tamper(dataset, tmp_path / "doubtful.h5", change)


def test_a_right_dataset(runner: CliRunner, dataset: Path, kept_source: TinySource) -> None:
    result = run(runner, dataset, "--source", kept_source.root)
    assert result.exit_code == 0, result.output
    for text in ("holds", sha256_of_file(dataset), "12", str(kept_source.root)):
        assert text in result.stdout
    assert "verify: 12 of 12" in result.stderr
    assert "inputs: 12 of 12" in result.stderr


def headline(result: Result) -> str:
    return str(result.stdout.splitlines()[0])


def test_the_headline_says_what_came_of_it(
    runner: CliRunner, dataset: Path, doubtful: Path, tmp_path: Path
) -> None:
    cut = tmp_path / "cut.h5"
    cut.write_bytes(dataset.read_bytes()[:-1])
    limits = tmp_path / "limits.toml"
    limits.write_text("tiny-area-px = 100000\n")
    doubts = ["--limits", limits]
    warnings = len(report(runner, dataset, *doubts)["findings"])
    count = len(report(runner, doubtful)["findings"])
    for words, expected in (
        ([dataset], f"verified {dataset}, no findings"),
        ([dataset, *doubts], f"verified {dataset}, {warnings} findings"),
        ([dataset, *doubts, "--fail-on", "warning"], f"FAILED: {dataset}, {warnings} findings"),
        ([doubtful], f"FAILED: {doubtful}, {count} findings"),
        ([doubtful, "--fast"], f"verified seal and structure of {doubtful}, no findings"),
        ([cut], f"FAILED: {cut}: its bytes are not those that were sealed"),
        ([dataset, "--expect", "0" * 64], f"FAILED: {dataset}: its bytes are not those that --expect names"),
    ):
        result = run(runner, *words)
        assert headline(result) == expected
        assert expected.startswith("FAILED") == (result.exit_code != 0)
    assert "broken; nothing was read" in run(runner, cut).stdout
    assert "holds, but is not the one expected" in run(runner, dataset, "--expect", "0" * 64).stdout


def test_findings_are_shown_by_severity_with_how_to_look(runner: CliRunner, doubtful: Path) -> None:
    result = run(runner, doubtful)
    assert result.exit_code == 3
    lines = result.stdout.splitlines()
    kinds = [line.split()[:2] for line in lines if line.startswith(("    error", "    warning"))]
    assert kinds[0][0] == "error"
    assert [severity for severity, _ in kinds] == sorted((severity for severity, _ in kinds))
    assert {"derived-differs", "duplicate-image"} <= {code for _, code in kinds}
    assert "  in the file, doubtful" in lines
    assert f"dicom-etl preview {doubtful} --sample 3 --sample 9 --sample 11 -o look.png" in result.stdout


def test_json_has_the_promised_shape(runner: CliRunner, doubtful: Path, tmp_path: Path) -> None:
    limits = tmp_path / "limits.toml"
    limits.write_text("area-ratio = 2.5\n")
    answer = report(runner, doubtful, "--limits", limits)
    assert {"ok", "file", "checks", "findings"} <= set(answer)
    assert answer["ok"] is False
    assert answer["options"]["limits"]["area_ratio"] == 2.5
    for finding in answer["findings"]:
        assert set(finding) == {
            "severity",
            "code",
            "sample",
            "frame",
            "patient_id",
            "structure",
            "path",
            "message",
        }
    for check in answer["checks"]:
        assert set(check) == {"name", "code", "rule", "findings"}
        assert check["rule"]
    assert sum(check["findings"] for check in answer["checks"]) == len(answer["findings"])


def test_fail_on_decides_what_counts(runner: CliRunner, dataset: Path, tmp_path: Path) -> None:
    limits = tmp_path / "limits.toml"
    limits.write_text("tiny-area-px = 100000\n")
    doubts = ("--limits", limits)
    assert {finding["severity"] for finding in report(runner, dataset, *doubts)["findings"]} == {"warning"}
    assert run(runner, dataset, *doubts).exit_code == 0
    assert run(runner, dataset, *doubts, "--fail-on", "warning").exit_code == 3


def test_a_broken_seal_is_exit_code_1(runner: CliRunner, dataset: Path, tmp_path: Path) -> None:
    path = tmp_path / "cut.h5"
    path.write_bytes(dataset.read_bytes()[:-1])
    result = run(runner, path)
    assert result.exit_code == 1
    assert "seal-broken" in result.stdout
    answer = report(runner, path)
    assert (answer["ok"], answer["sha256"], answer["samples"]) == (False, "", 0)
    assert [check["name"] for check in answer["checks"]] == ["seal"]


@pytest.mark.parametrize(
    ("words", "exit_code"),
    [
        (["--expect", "12"], 2),
        (["--area-ratio", "3"], 2),
        (["--source", "nowhere"], 1),
        (["--fail-on", "note"], 2),
    ],
)
def test_what_cannot_be_used_is_one_clear_line(
    runner: CliRunner, dataset: Path, words: list[str], exit_code: int
) -> None:
    result = run(runner, dataset, *words)
    assert result.exit_code == exit_code
    assert result.stdout == ""
    assert "Traceback" not in result.stderr


def test_a_file_that_is_not_there(runner: CliRunner, tmp_path: Path) -> None:
    result = run(runner, tmp_path / "none.h5")
    assert result.exit_code == 1
    assert "cannot be read" in result.stderr


def test_many_findings_of_a_kind_are_one_unless_asked_for(
    runner: CliRunner, dataset: Path, tmp_path: Path
) -> None:
    def many(file: h5py.File) -> None:
        for name in ("image_mean", "image_std", "image_max"):
            file["samples"][name][:] += 1

    path = tamper(dataset, tmp_path / "many.h5", many)
    short, long = run(runner, path).stdout, run(runner, path, "-v").stdout
    assert "12 samples and 1 whole study" in short
    assert long.count("derived-differs") == 37  # one of /statistics
    assert run(runner, path, "-q").output == ""
