"""Every command under scarce means: few open files, little memory, no home, no folder for temporary files."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.builders import TinySource

ROOT = Path(__file__).parents[1]
WHOLE = bool(os.environ.get("DICOM_ETL_WHOLE_COUNTS"))
PROGRAM = """
import resource, sys
for word in iter(lambda: sys.argv.pop(1), "--"):
    name, most = word.split("=")
    resource.setrlimit(getattr(resource, name), (int(most),) * 2)
from dicom_etl.cli import main
main()
"""
COMMANDS = (
    "ingest {source} -o {out}/d.h5 --jobs 2",
    "verify {out}/d.h5 --source {source}",
    "preview {out}/d.h5 --all -o {out}/pictures",
    "report {out}/d.h5 -o {out}/d.html",
    "ingest {source} -o {out}/p1.h5 --jobs 1 --shard 1/2",
    "ingest {source} -o {out}/p2.h5 --jobs 1 --shard 2/2",
    "merge {out}/p1.h5 {out}/p2.h5 -o {out}/m.h5",
)


def run_all(
    source: TinySource, out: Path, *limits: str, before: tuple[str, ...] = (), **environment: str
) -> None:
    """Run the commands within limits, all of them where files or memory are short."""
    for command in COMMANDS if limits or WHOLE else COMMANDS[:3]:
        words = command.format(source=source.root, out=out).split()
        done = subprocess.run(
            [*before, sys.executable, "-c", PROGRAM, *limits, "--", *words],
            env=os.environ | {"PYTHONPATH": str(ROOT)} | environment,
            cwd=out,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert (done.returncode, "Warning" in done.stderr) == (0, False), (command, done.stderr)
    if limits:
        assert (out / "d.h5").read_bytes() == (out / "m.h5").read_bytes()


def test_64_open_files(kept_source: TinySource, tmp_path: Path) -> None:
    run_all(kept_source, tmp_path, "RLIMIT_NOFILE=64")


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux holds a process to its address space")
def test_a_gigabyte_of_address_space(kept_source: TinySource, tmp_path: Path) -> None:
    run_all(kept_source, tmp_path, f"RLIMIT_AS={1 << 30}", OPENBLAS_NUM_THREADS="1")


def test_no_home_and_no_folder_for_temporary_files(kept_source: TinySource, tmp_path: Path) -> None:
    gone = str(tmp_path / "none")
    run_all(kept_source, tmp_path, HOME=gone, TMPDIR=gone, XDG_CACHE_HOME=gone, XDG_CONFIG_HOME=gone)


def test_a_megabyte_of_shared_memory(kept_source: TinySource, tmp_path: Path) -> None:
    script = 'mount -t tmpfs -o size=1m none /dev/shm && exec "$0" "$@"'
    before = ("unshare", "--map-root-user", "--mount", "sh", "-c", script)
    if (
        not shutil.which("unshare")
        or subprocess.run([*before, "true"], capture_output=True, check=False).returncode
    ):
        pytest.skip("no folder can be mounted here")
    run_all(kept_source, tmp_path, before=before)
