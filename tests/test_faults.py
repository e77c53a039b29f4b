"""Faults injected into a running ingest: afterwards there is the old file or the new one, and nothing else.

The tests sample each fault; the whole counts run with ``make faults``.
"""

from __future__ import annotations

import errno
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import h5py
import pytest

from dicom_etl.dataset.digest import SEAL_BYTES, check_seal
from tests.builders import TinySource, make_source
from tests.forking import Forks, forks

ROOT = Path(__file__).parents[1]
WHOLE = bool(os.environ.get("DICOM_ETL_WHOLE_COUNTS"))
OLD = b"an older file"
PLAIN = """
from dicom_etl.cli import main
main()
"""
INJECT = """
import errno, io, os, sys
name, call, code, lasts = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4] == "True"
sys.argv[1:5] = []
count = 0
def fail_in_turn():
    global count
    count += 1
    if count == call or count > call and lasts:
        raise OSError(code, os.strerror(code))
class Failing(io.FileIO):
    def write(self, data):
        fail_in_turn()
        return super().write(data)
if name == "write":
    # What is written through a stream, that is the seal; HDF5 writes by os.pwrite.
    def opened(file, mode="r", *rest, real=io.open, **options):
        return Failing(file, mode) if mode == "r+b" else real(file, mode, *rest, **options)
    io.open = opened
else:
    def failing(*arguments, real=getattr(os, name), **options):
        fail_in_turn()
        return real(*arguments, **options)
    setattr(os, name, failing)
from dicom_etl.cli import main
try:
    main()
finally:
    print(f"{count} calls", file=sys.stderr)
"""
"""Lets a call fail: from the n-th on, as a full disk does, or just the n-th, as a loose cable may."""
LIMITED = """
import resource, sys
sys.dont_write_bytecode = True  # nor could a module's cached code be written whole, and later runs would read it
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]),) * 2)
sys.argv[1:2] = []
sys.argv += ["--jobs", "1"]  # the limit would hold for the memory that workers share too
from dicom_etl.cli import main
main()
"""


@pytest.fixture(scope="module")
def big(tmp_path_factory: pytest.TempPathFactory) -> TinySource:
    """A SOURCE that takes long enough to be interrupted."""
    return make_source(tmp_path_factory.mktemp("big") / "source", studies=3, locations=6, shape=(64, 64))


@pytest.fixture
def target(tmp_path: Path) -> Path:
    path = tmp_path / "out.h5"
    path.write_bytes(OLD)
    return path


def start(source: TinySource, target: Path, *script: str) -> subprocess.Popen[str]:
    words = ["ingest", str(source.root), "-o", str(target), "--overwrite", "-q"]
    # A shell in the background starts programs that ignore Ctrl-C, and so would these tests' children.
    hearing = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
    program, *options = script or (PLAIN,)
    return subprocess.Popen(
        [sys.executable, "-c", hearing + program, *options, *words],
        env=environment(measured=LIMITED not in script),
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def environment(*, measured: bool) -> dict[str, str]:
    """Return that of a run; one whose files cannot grow could not keep what `coverage` measures either."""
    variables = os.environ | {"PYTHONPATH": str(ROOT)}
    return {name: value for name, value in variables.items() if measured or not name.startswith("COVERAGE_")}


@pytest.fixture(scope="module")
def started() -> Iterator[Forks]:
    """Return what runs a command in a process of its own, for faults that do not depend on how it began."""
    with forks() as found:
        yield found


def inject(started: Forks, source: TinySource, target: Path, *fault: object) -> tuple[int, str]:
    """Run an ingest in which a call fails."""
    words = ["ingest", source.root, "-o", target, "--overwrite", "-q"]
    done = started.run(INJECT, *fault, *words)
    return done.returncode, done.stderr.decode()


def end(process: subprocess.Popen[str]) -> tuple[int, str]:
    _, said = process.communicate(timeout=60)
    return process.returncode, said


def is_old_or_new(target: Path) -> bool:
    """Return whether the new file is there, after proving that it is whole, or the old one, untouched."""
    if target.read_bytes() == OLD:
        return False
    check_seal(target)
    with h5py.File(target) as file:
        assert file["images"].shape[0] == 36
    return True


def left_over(target: Path) -> list[str]:
    return sorted(name for name in os.listdir(target.parent) if name != target.name)  # noqa: PTH208


@pytest.fixture(scope="module")
def whole_run(big: TinySource, tmp_path_factory: pytest.TempPathFactory) -> tuple[float, int]:
    """Return the seconds that a run takes, and the bytes of the dataset that it makes."""
    path = tmp_path_factory.mktemp("whole") / "out.h5"
    begun = time.monotonic()
    code, said = end(start(big, path))
    assert code == 0, said
    return time.monotonic() - begun, path.stat().st_size


def test_kill_9_leaves_the_old_file_or_the_new_one(
    big: TinySource, whole_run: tuple[float, int], target: Path
) -> None:
    longest = whole_run[0] * 1.1
    moments = random.Random(0)
    outcomes = []
    for _ in range(200 if WHOLE else 5):
        process = start(big, target)
        time.sleep(moments.uniform(0.1, longest))
        process.kill()
        end(process)
        outcomes.append(is_old_or_new(target))
        target.write_bytes(OLD)
    code, said = end(start(big, target))
    assert code == 0, said
    assert is_old_or_new(target)
    assert left_over(target) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signals_stop_cleanly(
    big: TinySource, whole_run: tuple[float, int], target: Path, number: signal.Signals
) -> None:
    longest = whole_run[0]
    moments = random.Random(number)
    stopped = 0
    for _ in range(20 if WHOLE else 2):
        process = start(big, target)
        # Before Python has installed its handlers, a signal ends any program in its own way.
        time.sleep(moments.uniform(0.5, 0.95) * longest)
        process.send_signal(number)
        code, said = end(process)
        assert code in (0, 128 + number, -number), said
        if code == 128 + number:
            stopped += 1
            assert said.count("\n") == 1
            assert number.name in said
        if code >= 0:
            assert left_over(target) == []
        is_old_or_new(target)
        target.write_bytes(OLD)
    assert stopped or not WHOLE


SHARES = [0.001, 0.4] if not WHOLE else [n / 56 for n in range(56)]
"""Parts of the dataset that there is room for."""
MISSING = [SEAL_BYTES + 1, SEAL_BYTES, 1, 0]
"""Bytes that there is no room for: at the end of HDF5's own bytes, in the seal, none."""


@pytest.mark.parametrize(("share", "missing"), [*((s, 0) for s in SHARES), *((1.0, m) for m in MISSING)])
def test_a_disk_that_fills_up_leaves_the_old_file(
    big: TinySource, whole_run: tuple[float, int], target: Path, share: float, missing: int
) -> None:
    size = whole_run[1]
    room = int(size * share) - missing
    code, said = end(start(big, target, LIMITED, str(room)))
    assert is_old_or_new(target) == (room == size)
    assert code == (room < size), said
    if code:
        assert said.count("\n") == 1
        assert os.strerror(errno.EFBIG) in said
    assert left_over(target) == []


def test_there_are_as_many_sizes_as_promised() -> None:
    assert len(SHARES) + len(MISSING) == (60 if WHOLE else 6)


FAILING_CALLS = [
    ("pwrite", 1, errno.ENOSPC, True),
    ("pwrite", 120, errno.EIO, True),
    ("pwrite", 60, errno.EIO, False),
    ("ftruncate", 1, errno.ENOSPC, True),
    ("write", 1, errno.ENOSPC, True),
    ("fsync", 1, errno.EIO, False),
    ("fsync", 2, errno.ENOSPC, False),
    ("replace", 1, errno.EIO, True),
]
if WHOLE:
    FAILING_CALLS += [
        ("pwrite", call, code, lasts)
        for call in range(2, 150, 5)
        for code in (errno.ENOSPC, errno.EIO)
        for lasts in (True, False)
    ]
    FAILING_CALLS += [
        (name, call, code, lasts)
        for name, calls in (("write", 1), ("fsync", 2), ("replace", 1), ("ftruncate", 2))
        for call in range(1, calls + 1)
        for code in (errno.ENOSPC, errno.EIO)
        for lasts in (True, False)
    ]


@pytest.mark.parametrize(("name", "call", "code", "lasts"), FAILING_CALLS)
def test_a_failing_call_leaves_the_old_file(
    started: Forks, big: TinySource, target: Path, name: str, call: int, code: int, lasts: bool
) -> None:
    status, said = inject(started, big, target, name, call, code, lasts)
    assert status == 1, said
    *lines, calls = said.splitlines()
    assert int(calls.split()[0]) >= call
    assert len(lines) == 1
    assert os.strerror(code) in lines[0]
    assert not is_old_or_new(target)
    assert left_over(target) == []


def test_a_folder_that_cannot_be_synced_is_said_of_the_new_file(
    started: Forks, big: TinySource, target: Path
) -> None:
    status, said = inject(started, big, target, "fsync", 3, errno.EIO, True)
    assert status == 1
    assert "is whole, but" in said
    assert os.strerror(errno.EIO) in said
    assert is_old_or_new(target)
    assert left_over(target) == []


def test_a_file_system_that_cannot_sync_folders_will_do(
    started: Forks, big: TinySource, target: Path
) -> None:
    status, said = inject(started, big, target, "fsync", 3, errno.EINVAL, True)
    assert status == 0, said
    assert is_old_or_new(target)


def test_two_runs_to_one_target_make_one_whole_file(big: TinySource, target: Path) -> None:
    runs = [start(big, target) for _ in range(2)]
    assert [end(run)[0] for run in runs] == [0, 0]
    assert is_old_or_new(target)
    assert left_over(target) == []


def test_a_folder_that_cannot_be_written_is_named(big: TinySource, tmp_path: Path) -> None:
    code, said = end(start(big, Path("/proc/out.h5")))
    assert code == 1
    assert said.count("\n") == 1
    assert "/proc" in said
