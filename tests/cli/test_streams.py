"""Standard streams that are full, closed or read by nobody: one line or none, a clear exit code, no traceback."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import h5py
import pytest

from dicom_etl.dataset.digest import check_seal
from tests.builders import TinySource

ROOT = Path(__file__).parents[2]
LIMITED = """
import resource, sys
sys.dont_write_bytecode = True  # nor could a module's cached code be written whole, and later runs would read it
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]),) * 2)
sys.argv[1:2] = []
from dicom_etl.cli import main
main()
"""


@pytest.fixture(autouse=True, params=["", "1"], ids=["buffered", "unbuffered"])
def buffering(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let commands buffer what they print, as they do by themselves, or not, as many containers ask for."""
    monkeypatch.setenv("PYTHONUNBUFFERED", request.param)


def run(
    script: str, *words: object, program: tuple[str, ...] = ("-m", "dicom_etl")
) -> subprocess.CompletedProcess[str]:
    """Run a command in a shell; ``"$@"`` of the script is the command."""
    return subprocess.run(
        ["sh", "-c", script, "sh", sys.executable, *program, *map(str, words)],
        # Where files cannot grow, what `coverage` measures could not be kept, and it would say so.
        env={name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
        | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize(
    "words", [("info",), ("info", "--json"), ("verify",), ("--help",), ("info", "--help")]
)
def test_a_result_that_cannot_be_written_is_an_error_of_one_line(
    dataset: Path, words: tuple[str, ...]
) -> None:
    done = run('exec "$@" >/dev/full', *words, *([] if "--help" in words else [dataset]))
    assert done.returncode == 1
    *_, said = done.stderr.splitlines()
    assert said.startswith("dicom-etl: the system reports: No space left on device")
    assert "Traceback" not in done.stderr


def test_a_reader_that_goes_is_no_error(dataset: Path) -> None:
    done = run('("$@"; echo $? >&2) | true', "info", dataset, "--json")
    assert done.stderr.split() in (["0"], [str(128 + signal.SIGPIPE)])


def test_closed_streams_do_no_harm(kept_source: TinySource, dataset: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.h5"
    assert (
        run('exec "$@" <&- >&- 2>&-', "ingest", kept_source.root, "-o", output, "--jobs", "1").returncode == 0
    )
    check_seal(output)
    assert output.read_bytes() == dataset.read_bytes()
    assert run('exec "$@" >&-', "info", output).stderr == ""
    assert run('exec "$@" 2>&-', "verify", output).returncode == 0
    with h5py.File(output) as file:
        assert file["images"].shape[0] == 12


@pytest.mark.parametrize(
    "words",
    [
        ("info", "{dataset}", "--samples", "{out}/file.csv"),
        ("preview", "{dataset}", "-o", "{out}/file.png"),
        ("preview", "{dataset}", "-o", "{out}/folder", "--all"),
        ("report", "{dataset}", "-o", "{out}/file.html"),
        ("plan", "{source}", "--issues", "{out}/file.csv", "--list-unlabeled", "--jobs", "1"),
    ],
    ids=["samples", "picture", "pictures", "page", "issues"],
)
def test_what_does_not_fit_on_the_disk_is_not_left_in_part(
    dataset: Path, kept_source: TinySource, tmp_path: Path, words: tuple[str, ...]
) -> None:
    given = [word.format(dataset=dataset, source=kept_source.root, out=tmp_path) for word in words]
    done = run('exec "$@"', 300, *given, program=("-c", LIMITED))
    assert done.returncode == 1, done.stderr
    *_, said = done.stderr.splitlines()
    assert said.endswith("File too large")
    assert ".tmp-" not in said
    assert list(tmp_path.iterdir()) == []


def test_a_table_goes_into_a_pipe(dataset: Path) -> None:
    done = run('"$@" | cat', "info", dataset, "--samples", "/dev/stdout", "-q")
    assert done.stdout.startswith("patient_id,original_id")
    assert len(done.stdout.splitlines()) == 13
