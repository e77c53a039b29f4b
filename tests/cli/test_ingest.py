"""plan, ingest and info as a person and a program use them."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from dicom_etl.cli import COMMANDS, cli
from tests.builders import TinySource


def run(runner: CliRunner, *words: object) -> Result:
    return runner.invoke(cli, [str(word) for word in words])


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_ingest_then_info(runner: CliRunner, kept_source: TinySource, tmp_path: Path) -> None:
    output = tmp_path / "out.h5"
    result = run(runner, "ingest", kept_source.root, "-o", output)
    assert result.exit_code == 0, result.output
    for text in ("12 (icontour 12, ocontour 6)", "ED 6, ES 6", "SHA-256", "nothing was left out"):
        assert text in result.stdout
    assert "write: 12 of 12" in result.stderr
    info = run(runner, "info", output, "--samples", tmp_path / "samples.csv")
    assert info.exit_code == 0
    assert "icontour 12, ocontour 6" in info.stdout
    rows = table(tmp_path / "samples.csv")
    assert len(rows) == 12
    assert rows[0]["patient_id"] == "SYN00001"
    assert rows[0]["pixel_spacing_mm_0"]


def test_json_is_all_that_stdout_holds(runner: CliRunner, source: TinySource, tmp_path: Path) -> None:
    source.contour(0, "icontour", 0, source.ed).write_text("bad\n")
    for words in (
        ("plan", source.root),
        ("ingest", source.root, "-o", tmp_path / "o.h5"),
        ("info", tmp_path / "o.h5"),
    ):
        answer = json.loads(run(runner, *words, "--json").stdout)
        for issue in answer["issues"]:
            assert {"severity", "code", "sample", "frame", "patient_id", "structure"} < set(issue)
            assert set(issue) == set(answer["issues"][0])
    assert answer["samples"] == 12
    assert [issue["code"] for issue in answer["issues"]] == ["unreadable-contour", "outer-without-inner"]


def test_something_left_out_is_exit_code_3_and_kept_in_files(
    runner: CliRunner, source: TinySource, tmp_path: Path
) -> None:
    source.image(0, 0, source.ed).unlink()
    log, issues = tmp_path / "run.log", tmp_path / "issues.csv"
    result = run(runner, "ingest", source.root, "-o", tmp_path / "o.h5", "--log", log, "--issues", issues)
    assert result.exit_code == 3
    assert "orphan-contour" in result.stdout
    assert "orphan-contour" in log.read_text()
    assert {row["code"] for row in table(issues)} == {
        "orphan-contour",
        "incomplete-series",
    }


def test_verbose_prints_every_issue_and_quiet_none(
    runner: CliRunner, source: TinySource, tmp_path: Path
) -> None:
    for location in range(3):
        source.contour(0, "icontour", location, source.ed).write_text("bad\n")
    loud = run(runner, "ingest", source.root, "-o", tmp_path / "a.h5", "-v")
    assert loud.stdout.count("unreadable-contour:") == 3
    silent = run(runner, "ingest", source.root, "-o", tmp_path / "b.h5", "-q")
    assert silent.exit_code == 3
    assert silent.output == ""


def test_config_file_gives_defaults_and_the_command_line_wins(
    runner: CliRunner, kept_source: TinySource, tmp_path: Path
) -> None:
    config = tmp_path / "run.toml"
    config.write_text('structures = ["ocontour"]\ncompression = "gzip"\nunlabeled = true\n')
    words = ("ingest", kept_source.root, "--config", config, "--json", "-o")
    first = json.loads(run(runner, *words, tmp_path / "a.h5").stdout)
    assert first["structures"] == {"ocontour": 6}
    second = json.loads(run(runner, *words, tmp_path / "b.h5", "--structures", "icontour").stdout)
    assert second["structures"] == {"icontour": 12}
    recorded = json.loads(run(runner, "info", tmp_path / "a.h5", "--json").stdout)["config"]
    assert (recorded["compression"], recorded["unlabeled"]) == ("gzip", True)


@pytest.mark.parametrize(
    "text", ["no-such-key = 1\n", "compression = 'zip'\n", "= 3\n", "[ingst]\nunlabeled = true\n"]
)
def test_a_config_that_cannot_be_used_is_a_usage_error(
    runner: CliRunner, kept_source: TinySource, tmp_path: Path, text: str
) -> None:
    config = tmp_path / "run.toml"
    config.write_text(text)
    result = run(runner, "ingest", kept_source.root, "-o", tmp_path / "o.h5", "--config", config)
    assert result.exit_code == 2
    assert not (tmp_path / "o.h5").exists()


@pytest.mark.parametrize(
    "fault", ["source", "links", "dicoms", "exists", "folder", "no-source", "size", "no-file"]
)
def test_a_bad_run_is_one_clear_line_and_writes_nothing(
    runner: CliRunner, source: TinySource, tmp_path: Path, fault: str
) -> None:
    output = tmp_path / "o.h5"
    words: list[object] = ["ingest", source.root, "-o", output]
    expected = 1
    if fault == "source":
        words[1] = tmp_path / "nowhere"
    elif fault == "links":
        (source.root / "link.csv").unlink()
    elif fault == "dicoms":
        words += ["--dicoms", tmp_path / "nowhere"]
    elif fault == "exists":
        output.write_bytes(b"old")
    elif fault == "folder":
        words[3] = tmp_path / "no" / "such" / "o.h5"
    elif fault == "no-source":
        words.pop(1)
    elif fault == "size":
        words += ["--expect-size", "large"]
        expected = 2
    else:
        words = ["info", tmp_path / "nowhere.h5"]
    result = run(runner, *words)
    assert result.exit_code == expected
    assert result.stdout == ""
    assert len(result.stderr.strip().splitlines()) == 1 or expected == 2
    assert "Traceback" not in result.stderr
    assert not output.exists() or output.read_bytes() == b"old"


def test_parts_can_lie_anywhere_and_their_names_stay(
    runner: CliRunner, source: TinySource, tmp_path: Path
) -> None:
    apart = tmp_path / "apart"
    apart.mkdir()
    for name in ("dicoms", "contourfiles", "link.csv"):
        (source.root / name).rename(apart / f"other-{name}")
    words = ["--dicoms", apart / "other-dicoms", "--contours", apart / "other-contourfiles"]
    words += ["--links", apart / "other-link.csv"]
    result = run(runner, "ingest", *words, "-o", tmp_path / "o.h5", "--json")
    assert result.exit_code == 0, result.stderr
    assert str(apart).encode() not in (tmp_path / "o.h5").read_bytes()


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(runner: CliRunner, command: str) -> None:
    result = run(runner, command, "--help")
    assert result.exit_code == 0
    assert f"Example: dicom-etl {command}" in " ".join(result.stdout.split())


def test_the_module_runs_as_a_program(kept_source: TinySource, tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "dicom_etl",
        "ingest",
        str(kept_source.root),
        "-o",
        str(tmp_path / "o.h5"),
        "-q",
    ]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    assert subprocess.run(command, env=environment, check=False).returncode == 0


def test_lzf_is_refused_with_the_reason(runner: CliRunner, kept_source: TinySource, tmp_path: Path) -> None:
    words = ("ingest", kept_source.root, "-o", tmp_path / "a.h5", "--compression", "lzf")
    found = runner.invoke(cli, [str(word) for word in words])
    assert found.exit_code == 2
    assert "h5py alone reads it" in found.stderr
