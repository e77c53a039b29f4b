"""--impute and impute-score as a person and a program use them."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from dicom_etl.cli import cli
from dicom_etl.impute.estimate import WAYS
from tests.builders import TinySource, make_source


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> TinySource:
    return make_source(tmp_path_factory.mktemp("stack"), studies=1, locations=4, phases=4)


def run(runner: CliRunner, *words: object) -> tuple[int, str]:
    result = runner.invoke(cli, [str(word) for word in words])
    return result.exit_code, result.stdout + result.stderr


def test_ingest_says_what_it_imputed(runner: CliRunner, stack: TinySource, tmp_path: Path) -> None:
    code, text = run(runner, "ingest", stack.root, "-o", tmp_path / "o.h5", "--impute", "temporal")
    assert code == 0, text
    assert "imputed           8 (icontour 8)" in text
    assert "labelled          16 of 16 images (100%), 8 of them drawn" in text
    code, text = run(runner, "info", tmp_path / "o.h5")
    assert "imputed 8, manual 8" in text


def test_plan_says_what_stays_open(runner: CliRunner, stack: TinySource) -> None:
    code, text = run(runner, "plan", stack.root, "--impute", "temporal", "--impute-max-gap", "25/10")
    assert code == 0, text
    assert "not imputed       8: 8 the gap is wider than --impute-max-gap" in text


def test_without_impute_nothing_is_said(runner: CliRunner, stack: TinySource) -> None:
    assert "imputed" not in run(runner, "plan", stack.root)[1]


def test_scores_for_people_and_programs(runner: CliRunner, stack: TinySource, tmp_path: Path) -> None:
    table = tmp_path / "scores.csv"
    code, text = run(runner, "impute-score", stack.root, "--scores", table)
    assert code == 0, text
    for way in WAYS:
        assert f"icontour    spatial   {way}" in text
    assert "Dice by location" in text
    with table.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    # Two inner locations, icontour at two phases and ocontour at one, by four ways.
    assert len(rows) == 2 * 3 * 4
    assert {row["patient_id"] for row in rows} == {"SYN00001"}
    answer = json.loads(runner.invoke(cli, ["impute-score", str(stack.root), "--json"]).stdout)
    image = next(one for one in answer["scores"] if one["way"] == "image" and one["structure"] == "icontour")
    assert image["slices"] == 4
    assert image["dice"] > 0.9
    assert {one["location"] for one in answer["by_location"]} == {1, 2}


def test_nothing_to_score_is_said(runner: CliRunner, stack: TinySource) -> None:
    code, text = run(runner, "impute-score", stack.root, "--impute-max-gap", "1/1")
    assert code == 0
    assert "no drawn slice lies between two others" in text


def test_what_could_not_be_read_is_listed(runner: CliRunner, tmp_path: Path) -> None:
    source = make_source(tmp_path / "source", studies=1)
    source.contour(0, "icontour", 1, source.ed).write_text("bad\n")
    broken = source.image(0, 2, source.es)
    broken.write_bytes(broken.read_bytes()[:-50])
    code, text = run(runner, "impute-score", source.root)
    assert code == 3
    assert "unreadable-contour" in text
    assert "unreadable-image" in text


def test_a_gap_that_is_none_is_a_usage_error(runner: CliRunner, stack: TinySource) -> None:
    code, text = run(runner, "plan", stack.root, "--impute-max-gap", "25")
    assert code == 2
    assert "MM/MS" in text
