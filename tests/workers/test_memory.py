"""Freed memory is kept: the system need not clear new pages for every slice."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

ROUNDS = 50
PROGRAM = f"""
import resource
{{}}
def take():
    blocks = [bytearray(300_000) for _ in range(4)]
take()
take()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range({ROUNDS}):
    take()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def pages_cleared(first: str) -> int:
    # Limits that the environment sets stay as they are; Dask, in another test, sets one for its workers.
    environment = {
        key: value for key, value in os.environ.items() if not key.startswith(("MALLOC_", "GLIBC_"))
    }
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(first)],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return int(done.stdout)


def test_what_is_taken_and_freed_over_and_over_is_cleared_once() -> None:
    if pages_cleared("pass") < ROUNDS:
        pytest.skip("this C library, or how it is set up here, keeps freed memory anyway")
    if platform.libc_ver()[0] != "glibc":
        pytest.skip("other C libraries have other rules")
    assert (
        pages_cleared("from dicom_etl.workers.memory import keep_freed_memory; keep_freed_memory()") < ROUNDS
    )
