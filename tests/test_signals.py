"""Signals at random moments: each ends every command soon, with the exit code that shells expect and true last words.

The tests sample the moments; the whole count, 1,000, runs with ``make faults``.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.builders import make_source
from tests.forking import COMMAND, Done, Forks, forks

WHOLE = bool(os.environ.get("DICOM_ETL_WHOLE_COUNTS"))
OLD = b"an older file"
HEARING = """
import signal
# A shell in the background starts programs that ignore the one, nohup those that ignore the other.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)
"""
INGEST = "ingest source -o out.h5 --overwrite"
COMMANDS = (
    INGEST + " --jobs 1",
    INGEST + " --jobs 2",
    INGEST + " --jobs 1 --resume",
    INGEST + " --jobs 1 --reuse kept.h5",
    INGEST + " --jobs 1 --unlabeled",
    "merge part-1.h5 part-2.h5 -o out.h5 --overwrite",
    "verify kept.h5 --source source",
    "verify kept.h5",
    "report kept.h5 -o out.html --overwrite",
    "preview kept.h5 -o out.png --overwrite",
    "preview kept.h5 --all -o pics --overwrite",
    "batches kept.h5 --epochs 60",
    "plan source --jobs 1",
    "impute-score source",
)
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
SOON = 1.0
"""Seconds from the signal to the end of the process."""
MOMENTS = 1000 if WHOLE else 2 * len(COMMANDS)


@pytest.fixture(scope="module")
def started() -> Iterator[Forks]:
    with forks() as found:
        yield found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, started: Forks) -> Path:
    """Hold a SOURCE and the datasets made of it: what each command is run on."""
    place = tmp_path_factory.mktemp("signals")
    make_source(place / "source", studies=4, locations=6, phases=6, shape=(64, 64))
    for words in (
        "ingest source -o kept.h5",
        "ingest source -o part-1.h5 --shard 1/2",
        "ingest source -o part-2.h5 --shard 2/2",
    ):
        done = started.run(COMMAND, *words.split(), "--jobs", "1", folder=place)
        assert done.returncode == 0, done.stderr
    return place


@pytest.fixture(scope="module")
def lengths(started: Forks, folder: Path) -> dict[str, float]:
    """Return the seconds that each command takes."""
    found = {}
    for command in COMMANDS:
        reset(folder)
        begun = time.monotonic()
        done = started.run(COMMAND, *command.split(), folder=folder)
        found[command] = time.monotonic() - begun
        assert done.returncode in (0, 3), (command, done.stderr)
    return found


def reset(folder: Path) -> None:
    for name in ("out.h5", "out.html", "out.png"):
        (folder / name).write_bytes(OLD)
    (folder / "pics").mkdir(exist_ok=True)
    for path in (folder / "pics").iterdir():
        path.unlink()


def is_old(folder: Path) -> bool:
    files = [folder / name for name in ("out.h5", "out.html", "out.png")]
    return all(path.read_bytes() == OLD for path in files) and not any((folder / "pics").iterdir())


def interrupted(
    started: Forks, folder: Path, command: str, moment: float, *numbers: signal.Signals
) -> tuple[Done, float]:
    """Run a command, send it signals at a moment, and return what came of it and the seconds until its end."""
    sent = 0.0

    def interrupt(pid: int) -> None:
        nonlocal sent
        time.sleep(moment)
        sent = time.monotonic()
        for number in numbers:
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    done = started.run(HEARING + COMMAND, *command.split(), folder=folder, meanwhile=interrupt)
    return done, time.monotonic() - sent


def terminate(pid: int) -> None:
    time.sleep(0.2)
    os.kill(pid, signal.SIGTERM)


def test_a_signal_ends_every_command(started: Forks, folder: Path, lengths: dict[str, float]) -> None:
    moments = random.Random(20)
    heard = 0
    for turn in range(MOMENTS):
        command, number = COMMANDS[turn % len(COMMANDS)], moments.choice(SIGNALS)
        reset(folder)
        moment = moments.uniform(0.02, 0.9 * lengths[command])
        done, seconds = interrupted(started, folder, command, moment, number)
        told = (command, number.name, moment, done.returncode, seconds, done.stderr)
        assert seconds < SOON, told
        assert b"Exception" not in done.stderr, told
        assert not [path for path in folder.iterdir() if ".tmp-" in path.name], told
        if done.returncode in (0, 3):
            assert seconds < 0.2, told  # it had ended before
        elif done.returncode == 128 + number:
            heard += 1
            assert number.name.encode() in done.stderr, told
            assert (b"nothing was written" in done.stderr) == is_old(folder), told
        else:
            assert done.returncode == -number, told  # before the command began, or after its end
    assert heard > MOMENTS / 2


def test_a_storm_of_signals_ends_with_the_first(
    started: Forks, folder: Path, lengths: dict[str, float]
) -> None:
    storm = [signal.SIGTERM, *[signal.SIGINT, signal.SIGHUP, signal.SIGTERM] * 30]
    for share in (2, 4, 8, 16):  # of its time; a run that was over before says nothing
        reset(folder)
        done, seconds = interrupted(started, folder, COMMANDS[0], lengths[COMMANDS[0]] / share, *storm)
        if done.returncode > 3:
            break
    assert (seconds < SOON, is_old(folder)) == (True, True)
    assert 128 - done.returncode in {-number for number in SIGNALS}
    assert done.stderr.count(b"stopped by") == 1


def test_what_never_looks_is_ended_all_the_same(started: Forks, folder: Path) -> None:
    """In Python code that reaches no place to stop, and in a call that never comes back to Python."""
    reset(folder)
    loop = "while True: pass"
    call = "import signal; signal.raise_signal(signal.SIGTERM)\nsum(range(10**11))"
    program = HEARING + (
        "import sys\nfrom pathlib import Path\nfrom dicom_etl.dataset.atomic import whole_file\n"
        "from dicom_etl.workers.interrupts import hear_signals\nhear_signals()\n"
        "with whole_file(Path('out.h5'), overwrite=True) as temporary:\n"
        "    temporary.write_bytes(b'half')\n    exec(sys.argv[1])\n"
    )
    for body, code in ((loop, 143), (call, 1)):
        begun = time.monotonic()
        done = started.run(program, body, folder=folder, meanwhile=terminate)
        assert done.returncode == code, done.stderr
        assert time.monotonic() - begun < 0.4 + SOON
        assert is_old(folder)


@pytest.mark.parametrize("call", ["os.fsync", "os.close"])
def test_the_last_words_are_true_after_the_rename(started: Forks, folder: Path, call: str) -> None:
    """A signal that comes while the new name is being made safe, or while all is let go: the file is there."""
    reset(folder)
    module, name = call.split(".")
    program = (
        HEARING
        + f"""
import os, signal
real, renamed = {module}.{name}, Ellipsis
replace = os.replace
def replaced(*words, **options):
    global renamed
    replace(*words, **options)
    renamed = True
os.replace = replaced
def late(*words):
    global renamed
    if renamed is True:
        renamed = None
        os.kill(os.getpid(), signal.SIGTERM)
    return real(*words)
{module}.{name} = late
"""
        + COMMAND
    )
    done = started.run(program, *INGEST.split(), "--jobs", "1", "-q", folder=folder)
    assert done.returncode == 143, done.stderr
    assert b"after '" in done.stderr
    assert b"out.h5' had been written" in done.stderr
    assert (folder / "out.h5").read_bytes() == (folder / "kept.h5").read_bytes()
