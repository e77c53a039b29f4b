"""What the README and the manual say a reader can do, done: commands run, make targets exist, Python runs."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import click
import pytest
from phantom.source import write_source
from phantom.study import Study

from dicom_etl import batches
from dicom_etl.batches import transforms
from dicom_etl.checks.flags import CODES
from dicom_etl.cli import COMMANDS, cli
from dicom_etl.layouts import LAYOUTS
from tests.forking import COMMAND, Forks, forks
from tests.frameworks import clash

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
NOT_RUN = ("pip install", "python3 -m venv ", "git ", "make ", "cd ")
"""What a reader's own environment or clone is for; `.ci/run` runs it."""
RUN_BY_CI = {"make demo", "make test", "make check", "make docs"}
OPTIONAL = {
    "accelerate", "jax", "keras", "lightning", "monai", "nibabel", "tensorflow", "torch", "torchdata", "highdicom",
    "albumentations", "distributed", "xarray", "pandas",
}  # fmt: skip
OF_OTHERS = {
    "--version", "--help", "--array", "--cpus-per-task", "--dependency", "--wrap",
    "--nproc-per-node", "--sets", "--directions",
}  # fmt: skip
"""Options of the program as a whole, of other programs, and of the benchmarks."""
_BLOCK = re.compile(r"^ *```(\w*)(?: title=\"(.+)\")?\n(.*?)^ *```$", flags=re.MULTILINE | re.DOTALL)


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def blocks(page: Path) -> list[tuple[str, str, str]]:
    """Return (language, title, code) of each block, in order."""
    return _BLOCK.findall(page.read_text(encoding="utf-8"))


def shell_commands(code: str) -> list[str]:
    lines = [line.partition(" #")[0].strip() for line in code.replace("\\\n", " ").splitlines()]
    return [line for line in lines if line and not line.startswith("#")]


def all_shell_commands() -> list[str]:
    return [
        command
        for page in PAGES
        for language, _, code in blocks(page)
        if language == "bash"
        for command in shell_commands(code)
    ]


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder like the clone, with the dataset that the first page makes.

    Its sample data is that of the clone with fewer phases and without the faults; `make demo` runs on all of it.
    """
    folder = tmp_path_factory.mktemp("docs")
    studies = [
        Study(index, 0, locations, 5, size=96, spacing_mm=2.1) for index, locations in enumerate((11, 9, 8))
    ]
    write_source(folder / "sample_data", studies)
    with forks(NO_COLOR="1") as started:
        done = started.run(COMMAND, "ingest", "sample_data", "-o", "dataset.h5", folder=folder)
    # 3: one contour of this phantom is in doubt.
    assert done.returncode in (0, 3), done.stderr.decode()
    return folder


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page)], ids=name_of)
def test_every_block_runs(
    page: Path, workplace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tables are files of their title; text is what is printed or found, and MATLAB is not to be had."""
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "1")
    shutil.copytree(workplace / "sample_data", tmp_path / "sample_data")
    if page.name != "README.md":
        shutil.copy(workplace / "dataset.h5", tmp_path)
    with forks(NO_COLOR="1") as started:
        for language, title, code in blocks(page):
            if language == "python":
                run_python(code, tmp_path)
            elif language == "bash":
                for command in shell_commands(code):
                    run_in_shell(started, os.path.expandvars(command), tmp_path)
            elif language == "csv":
                (tmp_path / title).write_text(code)
            elif language == "sh":
                run_completions(started, code)
            else:
                assert language in ("text", "matlab"), f"nothing runs a block of {language!r}"


def run_in_shell(started: Forks, command: str, folder: Path) -> None:
    words = shlex.split(command, comments=True)
    if words[0] == "dicom-etl":
        done = started.run(COMMAND, *words[1:], folder=folder)
        assert done.returncode in (0, 3), f"{command}: {done.stderr.decode()}"
    elif not command.startswith(NOT_RUN):
        subprocess.run(["bash", "-euo", "pipefail", "-c", command], cwd=folder, check=True, timeout=60)


def run_completions(started: Forks, code: str) -> None:
    """Lines for a shell's start-up file: the program prints what each evaluates."""
    for line in code.splitlines():
        shell = re.search(r"_DICOM_ETL_COMPLETE=(\w+) dicom-etl", line)
        assert shell, f"nothing runs {line!r}"
        program = f"import os\nos.environ['_DICOM_ETL_COMPLETE'] = {shell[1]!r}\n{COMMAND}"
        done = started.run(program)
        assert b"dicom-etl" in done.stdout, f"{line}: {done.stderr.decode()}"


def run_python(code: str, folder: Path) -> None:
    imported = set(re.findall(r"^\s*(?:import|from) (\w+)", code, flags=re.MULTILINE))
    if any(find_spec(name) is None for name in imported & OPTIONAL):
        return
    if imported & {"lightning", "monai"} and clash():
        return
    code = code.replace(", 80\n", ", 2\n")  # epochs: what they teach is measured, not tested
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    strict = [] if imported & OPTIONAL else ["-W", "error"]
    command = [sys.executable, *strict, "-c", code]
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, f"{code}\n{done.stderr}"


def test_ci_runs_the_targets_that_pages_name() -> None:
    ci = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    for target in RUN_BY_CI:
        assert target in ci, f".ci/run does not run {target}"


def test_every_make_target_that_pages_name_exists() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    named = {match for page in PAGES for match in re.findall(r"`make ([a-z-]+)", page.read_text("utf-8"))}
    named |= {command.split()[1] for command in all_shell_commands() if command.startswith("make ")}
    for target in named:
        assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE), f"the Makefile has no target {target}"


def test_relative_links_lead_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\((?!https?:|#|mailto:)([^)#]+)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{name_of(page)}: {target}"


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 150


def test_every_command_and_option_is_in_the_reference() -> None:
    """Of what docs/cli.md becomes, which mkdocs-click makes of the program; descriptions are those of `--help`."""
    made = pytest.importorskip("mkdocs_click._docs", reason="pip install mkdocs-click")
    page = "\n".join(made.make_command_docs("dicom-etl", cli, depth=1))
    for name in COMMANDS:
        section = page.partition(f"\n### {name}\n")[2].partition("\n### ")[0]
        command = cli.get_command(click.Context(cli), name)
        assert command is not None
        for option in command.params:
            if isinstance(option, click.Option):
                assert option.help, f"{name} {option.opts} has no help"
                for spelled in option.opts:
                    assert re.search(rf"^ +(-\w, )?{spelled}\b", section, re.MULTILINE), f"{name} {spelled}"


def test_every_public_name_of_batches_is_in_the_reference() -> None:
    """Of the package's own names tests/test_api.py holds it; transforms are on the page as a module."""
    targets = re.findall(
        r"^::: (\S+)$", (ROOT / "docs" / "python-reader.md").read_text("utf-8"), re.MULTILINE
    )
    wanted = {f"dicom_etl.batches.{name}" for name in [*batches.__all__, "transforms"]}
    assert sorted(targets) == sorted(wanted)
    assert all(transforms.__doc__ and getattr(transforms, name).__doc__ for name in transforms.__all__)


def test_every_option_and_code_that_pages_name_exists() -> None:
    commands = [cli.get_command(click.Context(cli), name) for name in COMMANDS]
    options = {spelled for command in commands if command for each in command.params for spelled in each.opts}
    names = {"dicom-etl", *COMMANDS, *CODES, *(layout.name for layout in LAYOUTS)}
    for page in PAGES:
        text = page.read_text("utf-8")
        if page.name != "from-0.1.md":
            assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", text)) <= options | OF_OTHERS, name_of(page)
        assert set(re.findall(r"`([a-z]+(?:-[a-z]+)+)`", text)) <= names, name_of(page)


def test_words_of_the_field() -> None:
    """What reads oddly stays out of the manual and of what the program says; a split has subsets, not sides."""
    odd = re.compile(r"drawn by lot|said to|sides? of (a|the|every|any) split|one side of every")
    for page in [*PAGES, *sorted((ROOT / "dicom_etl").rglob("*.py"))]:
        assert not (found := odd.search(page.read_text("utf-8"))), f"{name_of(page)}: {found[0]}"


def test_every_page_is_in_the_navigation() -> None:
    navigation = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    for page in sorted((ROOT / "docs").rglob("*.md")):
        assert page.relative_to(ROOT / "docs").as_posix() in navigation, name_of(page)
