"""What the README says a reader can do, done: its commands run in order, its make targets exist, its Python runs."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from phantom.source import write_source
from phantom.study import Study

from tests.forking import COMMAND, forks

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
RUN_BY_CI = {"make demo", "make test", "make check"}
"""Targets that cannot run inside the tests; `.ci/run` runs them."""
NOT_RUN = ("pip install",)
"""What a reader's own environment is for."""


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, flags=re.MULTILINE | re.DOTALL)


def shell_commands() -> list[list[str]]:
    joined = "".join(blocks("bash")).replace("\\\n", " ")
    lines = [line.partition(" #")[0].strip() for line in joined.splitlines()]
    return [shlex.split(line, comments=True) for line in lines if line and not line.startswith("#")]


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder like the clone, in which the commands ran one after the other.

    Its sample data is that of the clone with fewer phases and without the faults; `make demo` runs on all of it.
    """
    folder = tmp_path_factory.mktemp("readme")
    studies = [
        Study(index, 0, locations, 5, size=96, spacing_mm=2.1) for index, locations in enumerate((11, 9, 8))
    ]
    write_source(folder / "sample_data", studies)
    with forks(NO_COLOR="1") as started:
        for words in shell_commands():
            if words[0] != "dicom-etl":
                continue
            done = started.run(COMMAND, *words[1:], folder=folder)
            # 3: one contour of this phantom is in doubt.
            assert done.returncode in (0, 3), f"{shlex.join(words)}: {done.stderr.decode()}"
    return folder


def test_every_command_runs(workplace: Path) -> None:
    assert (workplace / "dataset.h5").is_file()


def test_every_other_command_is_run_elsewhere() -> None:
    ci = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    for words in shell_commands():
        said = shlex.join(words)
        if words[0] == "make":
            assert said in RUN_BY_CI
            assert said in ci, f".ci/run does not run {said}"
        elif words[0] != "dicom-etl":
            assert said.startswith(NOT_RUN), f"nothing runs {said}"


def test_every_make_target_it_names_exists() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in set(re.findall(r"`make ([a-z-]+)", README)):
        assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE), f"the Makefile has no target {target}"


@pytest.mark.parametrize("code", blocks("python"), ids=lambda code: code.split("\n")[0][:40])
def test_every_python_block_runs(workplace: Path, code: str) -> None:
    for extra in ("tensorflow", "torch"):
        if re.search(rf"^import {extra}", code, flags=re.MULTILINE):
            pytest.importorskip(extra)
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(
        command, cwd=workplace, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    losses = [float(loss) for loss in re.findall(r"loss ([0-9.]+)", done.stdout)]
    assert not losses or losses[-1] < losses[0] / 2, "the training script does not learn"
    assert losses or "loss" not in code


def test_relative_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", README):
        assert (ROOT / target).exists(), target
