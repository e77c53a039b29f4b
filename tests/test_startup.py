"""What a program imports before its work: nothing that this work has no use for."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from dicom_etl.cli import COMMANDS

ITEMS = "dicom_etl.stages.sample"
PLAN = "dicom_etl.pipeline"
UNUSED = (
    "h5py",
    "pydicom",
    "click",
    "PIL",
    "dicom_etl.batches",
    "dicom_etl.impute",
    "dicom_etl.verification.dataset",
)


@pytest.mark.parametrize("module", [ITEMS, PLAN])
def test_workers_import_only_what_items_need(module: str) -> None:
    program = f"import {module}, sys; print(*sys.modules, sep='\\n')"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert module in loaded
    assert not loaded & set(UNUSED)


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_a_command_waits_for_no_numpy(command: str) -> None:
    program = f"import dicom_etl.cli.{command.replace('-', '_')}, sys; sys.exit('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_the_command_line_keeps_numpy_to_one_core() -> None:
    program = "import os; from dicom_etl.cli import main\ntry: main()\nfinally: print(os.environ['OMP_NUM_THREADS'])"
    for settings, threads in (({}, "1"), ({"OMP_NUM_THREADS": "3"}, "3")):
        environment = {key: value for key, value in os.environ.items() if key != "OMP_NUM_THREADS"} | settings
        words = [sys.executable, "-c", program, "--version"]
        done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
        assert done.stdout.split()[-1] == threads


WITHOUT_POSIX = """
import importlib, os, pkgutil, signal, sys
import click, h5py, jinja2, multiprocessing.connection, numpy, PIL.Image, pydicom, rich.progress, subprocess, tempfile
for name in ("fcntl", "grp", "posix", "pwd", "resource", "termios"):
    sys.modules[name] = None
for name in (
    "O_CLOEXEC O_DIRECTORY O_NOFOLLOW O_NONBLOCK fchmod fork geteuid killpg memfd_create mkfifo pread pwrite "
    "register_at_fork sched_getaffinity sysconf wait4"
).split():
    if hasattr(os, name):
        delattr(os, name)
for name in "ITIMER_REAL SIGALRM SIGHUP SIGKILL SIGPIPE alarm pthread_sigmask setitimer".split():
    if hasattr(signal, name):
        delattr(signal, name)
import dicom_etl
for module in pkgutil.walk_packages(dicom_etl.__path__, "dicom_etl."):
    if ".adapters." not in module.name and not module.name.endswith("__main__"):
        importlib.import_module(module.name)
print(sorted(dicom_etl.__all__))
for name in dicom_etl.__all__:
    getattr(dicom_etl, name)
"""
"""What Windows lacks is hidden from everything of ours."""


def test_imports_need_nothing_that_only_posix_has() -> None:
    done = subprocess.run([sys.executable, "-c", WITHOUT_POSIX], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
