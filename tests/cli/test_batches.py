"""The command batches as a person and a program use it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from dicom_etl.batches import Batch, BatchReader
from dicom_etl.cli import cli
from tests.batches.datasets import content, write_dataset


def run(runner: CliRunner, *words: object) -> Result:
    return runner.invoke(cli, ["batches", *map(str, words)])


def answer(result: Result) -> Any:
    return json.loads(result.stdout)


def load(path: Path) -> dict[str, Any]:
    with np.load(path) as arrays:
        return dict(arrays)


def rows_of(folder: Path) -> list[list[int]]:
    return [load(path)["indices"].tolist() for path in sorted(folder.iterdir())]


@pytest.fixture(scope="module")
def forty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("forty") / "forty.h5", content())


def test_epochs_are_counted_and_complete(runner: CliRunner, dataset: Path) -> None:
    result = run(runner, dataset, "--epochs", 3, "--batch-size", 5, "--check")
    assert result.exit_code == 0, result.output
    assert "12 samples, 3 batches an epoch" in result.stdout
    lines = result.stdout.splitlines()
    assert lines[1].split() == [
        "epoch",
        "batches",
        "samples",
        "unique",
        "padding",
        "foreground",
        "samples/s",
        "MB/s",
    ]
    assert [line.split()[:5] for line in lines[2:5]] == [
        [str(epoch), "3", "12", "12", "0"] for epoch in range(3)
    ]
    assert lines[-1] == "3 epochs complete"
    assert max(map(len, lines)) <= 80 + len(str(dataset))


def test_json_says_the_same(runner: CliRunner, forty: Path) -> None:
    result = run(runner, forty, "--epochs", 2, "--structures", "icontour,ocontour", "--json")
    found = answer(result)
    assert found["ok"] is True
    assert found["samples"] == 40
    assert found["state"]["epoch"] == 2
    for number, epoch in enumerate(found["epochs"]):
        assert (epoch["epoch"], epoch["batches"], epoch["samples"], epoch["unique"]) == (number, 5, 40, 40)
        assert epoch["complete"]
        assert epoch["samples_per_second"] > 0
        assert epoch["foreground_share"] == pytest.approx(content().masks.mean())


def test_padding_is_counted_apart_and_announced_on_stderr(runner: CliRunner, forty: Path) -> None:
    result = run(runner, forty, "--batch-size", 7, "--remainder", "fill", "--check", "--json")
    assert result.exit_code == 0
    (epoch,) = answer(result)["epochs"]
    assert (epoch["samples"], epoch["unique"], epoch["padding"]) == (42, 40, 2)
    assert result.stderr.startswith("dicom-etl: 40 samples are no multiple of 7")


@pytest.mark.parametrize("stop", [1, 3, 5, 7])
def test_a_stopped_run_goes_on_where_it_was(
    runner: CliRunner, forty: Path, tmp_path: Path, stop: int
) -> None:
    state = tmp_path / "state.json"
    common = (forty, "--epochs", 2, "--seed", 3)
    assert run(runner, *common, "--dump", tmp_path / "whole").exit_code == 0
    first = run(runner, *common, "--stop-after", stop, "--save-state", state, "--dump", tmp_path / "first")
    assert first.exit_code == 0, first.output
    assert f"{stop // 5} epochs complete" in first.stdout
    assert ("stopped in epoch" in first.stdout) == (stop != 5)
    second = run(runner, *common, "--resume", state, "--dump", tmp_path / "second", "--check")
    assert second.exit_code == 0, second.output
    assert rows_of(tmp_path / "first") + rows_of(tmp_path / "second") == rows_of(tmp_path / "whole")


def test_ranks_dump_disjoint_halves(runner: CliRunner, forty: Path, tmp_path: Path) -> None:
    for rank in (0, 1):
        options = ("--rank", rank, "--world-size", 2, "--dump", tmp_path / str(rank), "--check")
        assert run(runner, forty, "--batch-size", 3, *options).exit_code == 0
    halves = [list(chain.from_iterable(rows_of(tmp_path / str(rank)))) for rank in (0, 1)]
    assert sorted(halves[0] + halves[1]) == list(range(40))


def test_a_dumped_batch_holds_what_was_served(runner: CliRunner, forty: Path, tmp_path: Path) -> None:
    run(runner, forty, "--shuffle", "none", "--normalize", "zscore", "--dump", tmp_path / "dump")
    loaded = load(tmp_path / "dump" / "epoch0000-step000002.npz")
    assert set(loaded) == {"images", "masks", "indices", "padding"}
    assert loaded["indices"].tolist() == list(range(8, 16))
    np.testing.assert_array_equal(loaded["masks"], content().masks[8:16, 0])


@pytest.mark.parametrize(("check", "code"), [((), 0), (("--check",), 3)])
@pytest.mark.parametrize("fault", ["repeated", "missed"])
def test_check_fails_when_a_sample_was_missed_or_repeated(
    runner: CliRunner,
    forty: Path,
    monkeypatch: pytest.MonkeyPatch,
    fault: str,
    check: tuple[str, ...],
    code: int,
) -> None:
    honest = BatchReader.epoch

    def epoch(self: BatchReader, number: int) -> Iterator[Batch]:
        first, second, *rest = honest(self, number)
        yield from (first, first, *rest) if fault == "missed" else (first, second, first, *rest)

    monkeypatch.setattr(BatchReader, "epoch", epoch)
    result = run(runner, forty, *check)
    assert result.exit_code == code
    if fault == "missed":
        assert "epoch 0: 8 samples missed, 8 repeated" in result.stdout
    else:
        assert "0 samples missed, 8 repeated" in result.stdout or "8 repeated" in result.stdout


def test_options_reach_the_reader(runner: CliRunner, tmp_path: Path) -> None:
    made = content()
    made.splits = ["train"] * 24 + ["val"] * 8 + ["test"] * 8
    made.folds = [row // 8 for row in range(40)]
    path = write_dataset(tmp_path / "d.h5", made)

    def samples(*options: object) -> int:
        return int(answer(run(runner, path, "--json", *options))["samples"])

    assert samples("--split", "val") == 8
    assert samples("--fold", 2) == 8
    assert samples("--fold", 2, "--split", "train") == 32
    assert samples("--patient", "P01", "--patient", "P04") == 16
    assert samples("--split", "test", "--fractions", "0.4/0.2/0.4", "--split-seed", 2) == 16
    assert (
        samples("--exclude-flagged", "--imputed", "--prefetch", 2, "--threads", 2, "--shuffle", "block") == 40
    )


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("--structures", "p1contour"), 2, "no p1contour"),
        (("--rank", 2, "--world-size", 2), 2, "rank is 2"),
        (("--split", "val"), 2, "no splits"),
        (("--fractions", "1/1", "--split", "val"), 2, "add up to"),
        (("--resume", "missing.json"), 2, "cannot read the state"),
        (("--save-state", "/nowhere/state.json"), 1, "cannot write the state"),
        (("--dump", "/proc/nowhere"), 1, "cannot write batches"),
        (("--epochs", 0), 2, "0 is not in the range"),
    ],
)
def test_errors_are_one_line_and_an_exit_code(
    runner: CliRunner, forty: Path, words: tuple[object, ...], code: int, message: str
) -> None:
    result = run(runner, forty, *words)
    assert result.exit_code == code
    assert message in result.stderr


def test_a_folder_with_something_in_it_is_left_alone(runner: CliRunner, forty: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").touch()
    result = run(runner, forty, "--dump", tmp_path)
    assert result.exit_code == 1
    assert "is not empty" in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


@pytest.mark.parametrize("text", ["", "[1]", "{}", '{"seed": 0, "epoch": 0, "step": 0, "order": "x"}'])
def test_a_file_that_is_no_state_is_refused(
    runner: CliRunner, forty: Path, tmp_path: Path, text: str
) -> None:
    path = tmp_path / "state.json"
    path.write_text(text)
    result = run(runner, forty, "--resume", path)
    assert result.exit_code == 2
    assert "state" in result.stderr


def test_a_file_that_is_no_dataset_is_one_line(runner: CliRunner, tmp_path: Path) -> None:
    path = tmp_path / "x.h5"
    path.write_bytes(b"text")
    result = run(runner, path)
    assert result.exit_code == 1
    assert result.stderr.count("\n") == 1
