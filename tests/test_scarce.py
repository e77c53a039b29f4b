"""Every command under scarce means: few open files, little memory, no home, no folder for temporary files."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dicom_etl import pipeline
from tests.builders import TinySource, circle, position_mm, write_contour, write_dicom, write_link

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


@pytest.mark.skipif(not WHOLE, reason="`make faults` makes a dataset of 390 MB")
def test_a_file_as_large_as_the_memory(tmp_path: Path) -> None:
    """390 MB in 512 MiB of address space: nothing maps or holds the whole file."""
    for number in range(1, 67):
        pixels = np.random.default_rng(number).integers(0, 1000, (1400, 1400)).astype(np.int16)
        header: dict[str, Any] = {
            "InstanceNumber": number,
            "PatientID": "P",
            "ImagePositionPatient": position_mm(number),
        }
        write_dicom(tmp_path / "dicoms/P" / f"{number}.dcm", pixels, **header)
        name = f"IM-0001-{number:04d}-icontour-manual.txt"
        write_contour(tmp_path / "contourfiles/S" / name, circle(700 + number, 700, 200 + number, 100))
    write_link(tmp_path / "link.csv", [("P", "S")])
    file = tmp_path / "d.h5"
    assert pipeline.ingest(pipeline.locate(tmp_path), file).output_bytes > 380e6
    for command in (
        f"verify {file}",
        f"report {file} -o {tmp_path}/d.html",
        f"preview {file} -o {tmp_path}/d.png",
    ):
        words = [sys.executable, "-c", PROGRAM, f"RLIMIT_AS={512 << 20}", "--", *command.split()]
        environment = os.environ | {"PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1"}
        done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode in (0, 3), done.stderr
