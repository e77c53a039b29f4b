"""Hostile datasets are refused in good time and memory, and no other file is opened on their behalf."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest

from dicom_etl.cli import COMMANDS
from dicom_etl.dataset.facts import read_facts
from dicom_etl.errors import DatasetError
from tests.dataset.hostile import CHANGES, SECRET, cut_and_sealed, end_moved, harm
from tests.forking import Done, Forks, forks

SECONDS, MEGABYTES = 5.0, 512
DAMAGES = {"cut and sealed": cut_and_sealed, "end moved": end_moved}
_IN_OPEN, _IN_NONBLOCK = 0x20, 0o4000
WORDS = {
    "info": ["info", "{file}", "--samples", "{out}/samples.csv"],
    "preview": ["preview", "{file}", "-o", "{out}/preview.png"],
    "report": ["report", "{file}", "-o", "{out}/report.html"],
    "batches": ["batches", "{file}", "--epochs", "1"],
    "verify": ["verify", "{file}"],
}
ONLY_THEY_LOOK = {
    "wrong offsets": {"info", "preview", "report", "verify"},
    "negative offsets": {"info", "preview", "report", "verify"},
    "images of floats": {"verify"},
    "nested config": {"info", "report", "verify"},
    "attribute of variable length": {"info", "report", "verify"},
    "huge attribute": {"info", "report", "verify"},
}
"""Changes that do a command no harm when it does not read what was changed."""
_MEASURED = """
import sys
opened = []
def watch(event, args):
    if event == "open" and isinstance(args[0], str):
        opened.append(args[0])
from dicom_etl.cli import main
sys.addaudithook(watch)
try:
    main()
finally:
    # Not ru_maxrss: that begins with what the process had that started this one.
    with open("/proc/self/status") as status:
        peak = int(status.read().partition("VmHWM:")[2].split()[0]) // 1024
    others = [name for name in opened if name.endswith((".bin", "other.h5"))]
    print(f"MEASURED {peak} {len(others)}", file=sys.stderr)
"""


class OpenWatch:
    """Asks the kernel whether a file was opened: the HDF5 library opens files behind Python's back."""

    def __init__(self, *paths: Path) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        self._descriptor = libc.inotify_init1(_IN_NONBLOCK)
        for path in paths:
            if path.exists():
                assert libc.inotify_add_watch(self._descriptor, os.fsencode(path), _IN_OPEN) >= 0

    def opened(self) -> bool:
        try:
            return bool(os.read(self._descriptor, 4096))
        except BlockingIOError:
            return False
        finally:
            os.close(self._descriptor)


@pytest.fixture(scope="module")
def started() -> Iterator[Forks]:
    """Return what runs each command in a process of its own."""
    with forks() as found:
        yield found


def check(started: Forks, command: str, file: Path, out: Path) -> Done:
    """Run a command on a file; hold it to time, memory and silence, and to the files that it may open."""
    watch = OpenWatch(file.parent / "secret.bin", file.parent / "other.h5")
    done = started.run(_MEASURED, *(word.format(file=file, out=out) for word in WORDS[command]))
    assert not watch.opened()
    printed, said = done.stdout.decode(), done.stderr.decode()
    *_, measured = said.strip().splitlines()
    _, peak, others = measured.split()
    assert int(peak) < MEGABYTES
    assert others == "0"
    # Time of the processor: a busy machine must not fail the test, and nothing here waits.
    assert done.seconds < SECONDS
    assert "Traceback" not in said
    assert "fault of dicom-etl" not in said
    assert SECRET[:20].decode() not in printed + said
    return done


@pytest.fixture(params=[name for name in WORDS if name in COMMANDS])
def command(request: pytest.FixtureRequest) -> str:
    return str(request.param)


QUICK = sorted(CHANGES.keys() - {"zip bomb", "many zip bombs", "huge attribute"})


@pytest.mark.parametrize("change", QUICK)
def test_no_value_of_a_hostile_dataset_is_read(dataset: Path, tmp_path: Path, change: str) -> None:
    file = harm(dataset, tmp_path, CHANGES[change])
    watch = OpenWatch(tmp_path / "secret.bin", tmp_path / "other.h5")
    if change == "images of floats":
        assert read_facts(file).dtype == "<f8"  # odd, but harmless
    else:
        with pytest.raises(DatasetError):
            read_facts(file)
    assert not watch.opened()


@pytest.fixture(scope="module")
def hostile(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return what makes a hostile dataset, once for all commands: they only read it."""

    @cache
    def make(change: str) -> Path:
        folder = tmp_path_factory.mktemp("hostile")
        return (
            DAMAGES[change](dataset, folder) if change in DAMAGES else harm(dataset, folder, CHANGES[change])
        )

    return make


@pytest.mark.slow
@pytest.mark.parametrize("change", CHANGES)
def test_a_hostile_dataset_is_refused(
    hostile: Callable[[str], Path], started: Forks, tmp_path: Path, command: str, change: str
) -> None:
    done = check(started, command, hostile(change), tmp_path)
    if command in ONLY_THEY_LOOK.get(change, set(WORDS)):
        assert done.returncode in ((1, 3) if command == "verify" else (1,)), done
    assert done.returncode in (0, 1, 3)


@pytest.mark.slow
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_dataset_is_refused(
    hostile: Callable[[str], Path], started: Forks, tmp_path: Path, command: str, damage: str
) -> None:
    done = check(started, command, hostile(damage), tmp_path)
    assert done.returncode in ((1, 3) if command == "verify" else (1,)), done


def test_there_are_as_many_as_promised() -> None:
    assert len(CHANGES) + len(DAMAGES) >= 20
