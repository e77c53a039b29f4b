"""Options on the command line: sections of the help, TOML files, limits of verify, and JSON when a command fails."""

from __future__ import annotations

import json
import re
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from dicom_etl.cli import COMMANDS, cli
from dicom_etl.cli._boundary import option_of, with_options
from dicom_etl.cli._options import Option
from tests.builders import TinySource


def run(runner: CliRunner, *words: object) -> Result:
    return runner.invoke(cli, [str(word) for word in words])


def commands() -> dict[str, click.Command]:
    context = click.Context(cli)
    found = {name: cli.get_command(context, name) for name in COMMANDS}
    return {name: command for name, command in found.items() if command is not None}


def test_ingest_help_has_sections(runner: CliRunner) -> None:
    text = run(runner, "ingest", "--help").stdout
    found = re.findall(r"^(\w+):$", text, re.MULTILINE)
    assert found == ["Input", "Labels", "Content", "Output", "Work", "Limits", "Options"]


def test_verify_help_fits_a_screen(runner: CliRunner) -> None:
    assert len(run(runner, "verify", "--help").stdout.splitlines()) <= 60


def test_help_of_each_option_is_short() -> None:
    for name, command in commands().items():
        for parameter in command.params:
            if isinstance(parameter, click.Option):
                assert len(parameter.help or "") < 80, f"{name} {parameter.opts}: {parameter.help}"


def test_an_option_is_called_as_its_keyword_says() -> None:
    for name, command in commands().items():
        for parameter in command.params:
            if isinstance(parameter, Option) and parameter.kind is not None:
                assert option_of(str(parameter.name)) in parameter.opts, f"{name} {parameter.opts}"
    assert (
        with_options("`spacing_mm` or `max_item_seconds`, not `a b`")
        == "--spacing or --max-item-seconds, not `a b`"
    )


def test_errors_name_the_option(runner: CliRunner, kept_source: TinySource, tmp_path: Path) -> None:
    words = ("ingest", kept_source.root, "-o", tmp_path / "o.h5")
    for more, message in (
        (("--spacing", "1000"), "dicom-etl: --spacing must be a number of 0.01 to 100, not 1000.0\n"),
        (
            ("--size", "large"),
            "dicom-etl: --size must be ROWSxCOLUMNS of 1 to 65535, as in 256x256, not 'large'\n",
        ),
        (("--scheduler", "tcp://a:1"), "dicom-etl: --scheduler is for --executor dask\n"),
    ):
        result = run(runner, *words, *more)
        assert (result.exit_code, result.stderr) == (2, message)


CONFIG = """
source = "{source}"
json = true

[ingest]
output = "{output}"
structures = ["icontour", "ocontour"]
size = [24, 24]
max-item-seconds = 3
jobs = 1
folds = 2

[verify]
dataset = "{output}"
fail-on = "warning"

[batches]
structures = ["icontour"]

[limits]
area-ratio = 4
"""


def test_one_file_configures_several_commands(
    runner: CliRunner, kept_source: TinySource, tmp_path: Path
) -> None:
    config, output = tmp_path / "run.toml", tmp_path / "o.h5"
    config.write_text(CONFIG.format(source=kept_source.root, output=output))
    made = run(runner, "ingest", "--config", config)
    assert made.exit_code == 0, made.output
    assert json.loads(made.stdout)["shape"] == [24, 24]
    checked = run(runner, "verify", "--config", config)
    assert checked.exit_code == 0, checked.output
    options = json.loads(checked.stdout)["options"]
    assert (options["fail_on"], options["limits"]["area_ratio"]) == ("warning", 4.0)
    facts = json.loads(run(runner, "info", output, "--json").stdout)["config"]
    assert (facts["structures"], facts["folds"], facts["max_item_seconds"]) == (
        ["icontour", "ocontour"],
        2,
        3.0,
    )


def test_home_is_found_in_paths(
    runner: CliRunner, kept_source: TinySource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "study").symlink_to(kept_source.root)
    config = tmp_path / "run.toml"
    config.write_text('source = "~/study"\noutput = "~/o.h5"\nlog = "~/log"\ndicoms = "~/study/dicoms"\n')
    assert run(runner, "ingest", "--config", config).exit_code == 0
    assert (tmp_path / "o.h5").is_file()
    assert (tmp_path / "log").is_file()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("output = 5", "output must be text, not 5"),
        ("source = true", "source must be text, not True"),
        ("log = []", "log must be text, not []"),
        ("structures = 5", "structures must be names of structures"),
        ("size = 128", "size must be ROWSxCOLUMNS"),
        ("size = '128'", "size must be ROWSxCOLUMNS"),
        ("unlabeled = 1", "unlabeled must be true or false, not 1"),
        ("quiet = 'yes'", "quiet must be true or false, not 'yes'"),
        ("folds = 2.5", "folds must be a whole number"),
        ("folds = true", "folds must be a whole number"),
        ("spacing = 'fine'", "spacing must be a number"),
        ("compression = 'zip'", "compression must be one of none, gzip"),
        ("dicoms = 5", "dicoms must be a path, not 5"),
        ("max_image_bytes = -1", "max_image_bytes must be a whole number of 1"),
        ("no-such-key = 1", "unknown key 'no-such-key'; known are"),
        ("config = 'other.toml'", "unknown key 'config'"),
        ("[nothing]\na = 1", "unknown key 'nothing'"),
        ("[ingest]\nno-such-key = 1", "unknown key 'no-such-key'"),
        ("ingest = 1", "unknown key 'ingest'"),
        ("= 3", "is not TOML"),
        ("\x00", "is not TOML"),
    ],
)
def test_a_value_of_the_wrong_type_is_named_with_its_file(
    runner: CliRunner, kept_source: TinySource, tmp_path: Path, line: str, message: str
) -> None:
    config = tmp_path / "run.toml"
    config.write_text(line + "\n")
    words = (
        ["--config", config]
        if line.startswith(("output", "source"))
        else [kept_source.root, "--config", config]
    )
    result = run(runner, "ingest", *words, *([] if line.startswith("output") else ["-o", tmp_path / "o.h5"]))
    assert result.exit_code == 2
    assert result.stderr.startswith(f"dicom-etl: {config}")
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_numbers_of_other_commands_are_checked_too(runner: CliRunner, dataset: Path, tmp_path: Path) -> None:
    config = tmp_path / "run.toml"
    for line, message in (
        ("epochs = 1.5", "epochs must be a whole number, not 1.5"),
        ("patient = 5", "patient must be text, not 5"),
        ("seed = false", "seed must be a whole number, not False"),
    ):
        config.write_text(line)
        result = run(runner, "batches", dataset, "--config", config)
        assert (result.exit_code, message in result.stderr) == (2, True), result.stderr
    config.write_text("patient = 'SYN00001'\nepochs = 2\n")
    assert json.loads(run(runner, "batches", dataset, "--config", config, "--json").stdout)["samples"] == 6


def test_limits_come_from_a_file(runner: CliRunner, dataset: Path, tmp_path: Path) -> None:
    shown = run(runner, "verify", "--show-limits")
    assert shown.exit_code == 0
    assert "area-ratio            = 3     # " in shown.stdout
    limits = tmp_path / "limits.toml"
    limits.write_text(shown.stdout.replace("area-ratio            = 3", "area_ratio = 4"))
    assert (
        "area-ratio            = 4     # "
        in run(runner, "verify", "--show-limits", "--limits", limits).stdout
    )
    checked = run(runner, "verify", dataset, "--limits", limits)
    assert "limits            area-ratio 4\n" in checked.stdout
    for text, message in (
        ("area-ratios = 4", "dicom-etl: --limits: there is no limit 'area_ratios'"),
        ("area-ratio = '4'", "dicom-etl: --area-ratio must be a number"),
        ("= 4", "is not TOML"),
    ):
        limits.write_text(text)
        failed = run(runner, "verify", dataset, "--limits", limits)
        assert (failed.exit_code, message in failed.stderr) == (2, True), failed.stderr
    missing = run(runner, "verify", dataset, "--limits", tmp_path / "nowhere.toml")
    assert "cannot be read: No such file or directory" in missing.stderr


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["ingest", "nowhere", "-o", "o.h5"], 1),
        (["ingest", "nowhere"], 2),
        (["plan", "nowhere", "--size", "large"], 2),
        (["plan", "nowhere", "--impute", "magic"], 2),
        (["plan", "nowhere", "--no-such-option"], 2),
        (["verify", "nowhere.h5"], 1),
        (["verify"], 2),
        (["info", "nowhere.h5"], 1),
        (["merge", "nowhere.h5", "-o", "o.h5"], 1),
        (["batches", "nowhere.h5"], 1),
        (["preview", "nowhere.h5", "-o", "o.png"], 1),
        (["report", "nowhere.h5", "-o", "o.html"], 1),
        (["impute-score", "nowhere"], 1),
        (["nothing"], 2),
    ],
)
def test_json_is_one_object_also_when_a_command_fails(
    runner: CliRunner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], code: int
) -> None:
    monkeypatch.chdir(tmp_path)
    result = run(runner, *words, "--json")
    assert result.exit_code == code
    answer = json.loads(result.stdout)
    assert (answer["ok"], answer["exit_code"]) == (False, code)
    assert answer["error"] in result.stderr


def test_json_that_a_file_asks_for_is_printed_for_an_error_too(runner: CliRunner, tmp_path: Path) -> None:
    config = tmp_path / "run.toml"
    config.write_text("json = true\n")
    result = run(runner, "info", tmp_path / "nowhere.h5", "--config", config)
    assert json.loads(result.stdout)["exit_code"] == 1
