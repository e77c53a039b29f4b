"""A look into a file whose seal is broken, from a child process, so that nothing it does can harm this one.

HDF5 reads damaged bytes with code that was not written for them: it may crash, loop, or ask for all the memory there
is. So the child has limits on processor time and memory, this process waits only so long, and takes nothing from it
but lines of JSON.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from dicom_etl.records import Issue
from dicom_etl.workers import ONE_THREAD

MEMORY_BYTES = 2 << 30
LEAST_SECONDS = 20
BYTES_A_SECOND = 20_000_000
"""Time allowed: `LEAST_SECONDS`, and a second more for so many bytes."""

_MOST_OUTPUT = 16 << 20
_FIELDS = set(Issue._fields)


def check_inside(path: Path, seconds: int | None = None) -> Iterator[Issue]:
    """schema, digest-mismatch: in a file whose seal is broken, structure and rows are still as they should be."""
    seconds = seconds or LEAST_SECONDS + path.stat().st_size // BYTES_A_SECOND
    command = [sys.executable, "-m", __name__, str(path), str(seconds)]
    try:
        done = subprocess.run(
            command,
            env=os.environ | ONE_THREAD,  # each further thread takes address space, which is limited
            timeout=seconds,
            check=False,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired:
        yield _unreadable(f"took longer than {seconds} s")
        return
    yield from _issues(done.stdout[:_MOST_OUTPUT])
    if done.returncode < 0:
        yield _unreadable(f"ended with {signal.Signals(-done.returncode).name}")
    elif done.returncode:
        yield _unreadable("failed")


def _unreadable(how: str) -> Issue:
    message = f"what is inside cannot be read: the child process that tried {how}"
    return Issue("error", "schema", message, "verify")


def _issues(output: bytes) -> Iterator[Issue]:
    for line in output.splitlines():
        try:
            values = json.loads(line)
        except ValueError:
            continue  # cut off by the limit on output, or by the child's end
        if isinstance(values, dict) and values.keys() == _FIELDS:
            yield Issue(**values)


def main() -> None:
    """Print what is wrong with a file as lines of JSON; this is the child process."""
    import resource  # Windows has none

    path, seconds = Path(sys.argv[1]), int(sys.argv[2])
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for issue in _look(path):
        sys.stdout.write(json.dumps(issue._asdict()) + "\n")
        sys.stdout.flush()


def _look(path: Path) -> Iterator[Issue]:
    """Open the file although its seal is broken, and yield what is wrong, as far as it can be read."""
    from dicom_etl.checks.limits import VerifyOptions
    from dicom_etl.dataset.open_validated import open_dataset
    from dicom_etl.dataset.reading import read_open
    from dicom_etl.errors import DatasetError
    from dicom_etl.verification import structure
    from dicom_etl.verification.outcome import Outcome

    try:
        with open_dataset(path, sealed=False) as file:
            outcome = Outcome(str(path), VerifyOptions())
            sound = structure.check_structure(file, outcome)
            yield from outcome.findings
            if sound:
                rows = read_open(path, file)
                yield from structure.check_row_digests(rows, 0, rows.column("sha256").tolist(), [])
    except DatasetError as error:
        yield from structure.check_opens(error)


if __name__ == "__main__":
    main()
