"""A run that is killed and resumed: the bytes of a run that was not, and the finished part not made again."""

from __future__ import annotations

import os
import random
import signal
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from dicom_etl import pipeline
from dicom_etl.cli import cli
from dicom_etl.config import IngestConfig, RunOptions
from dicom_etl.dataset.digest import sha256_of_file
from dicom_etl.dataset.locks import CheckpointFolder
from dicom_etl.errors import OutputError
from dicom_etl.layouts.pseudonyms import Pseudonyms
from dicom_etl.pipeline import Summary, checkpoint
from dicom_etl.stages import write
from dicom_etl.workers import Executor
from dicom_etl.workers.pool import ProcessPool
from tests.builders import TinySource, make_source, write_contour
from tests.forking import Forks, forks

KEY = b"0123456789abcdef" * 2
KILLED = """
import os, signal, sys
from dicom_etl.dataset.writer import HDF5Writer
from dicom_etl.dataset.locks import CheckpointFolder
from dicom_etl.pipeline import checkpoint

# A shell in the background starts programs that ignore Ctrl-C, and so would this one.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)
rows, place, *words = sys.argv[1:]
left = int(rows)
checkpoint.PART_ROWS = 3
stored = HDF5Writer.append

def append(self, sample):
    global left
    left -= 1
    if left <= 0 and place == "row":
        os.kill(os.getpid(), signal.SIGKILL)
    if left == 0 and place in signal.Signals.__members__:
        os.kill(os.getpid(), signal.Signals[place])
    stored(self, sample)

add = CheckpointFolder.add

def add_or_die(self):
    if left <= 0 and place == "part":
        os.kill(os.getpid(), signal.SIGKILL)
    add(self)

HDF5Writer.append = append
CheckpointFolder.add = add_or_die
from dicom_etl.cli import main
sys.argv = ["dicom-etl", *words]
sys.exit(main())
"""
"""A run that ends itself by SIGKILL at a row (of the dataset or a part), or when a part is sealed and not yet named; or
that another signal reaches at a row."""


WHOLE = bool(os.environ.get("DICOM_ETL_WHOLE_COUNTS"))


@pytest.fixture(scope="module")
def started() -> Iterator[Forks]:
    """Return what runs each command in a process of its own."""
    with forks() as found:
        yield found


def kill_run(started: Forks, rows: int, place: str, *words: str, code: int = -signal.SIGKILL) -> None:
    """Run a command that is killed, by a signal that no program can catch; or ends with another code."""
    done = started.run(KILLED, rows, place, *words)
    assert done.returncode == code, done.stderr


def ingest(
    source: TinySource,
    output: Path,
    *,
    resume: bool = True,
    executor: Executor | None = None,
    pseudonyms: Pseudonyms | None = None,
    progress: Any = None,
    **config: Any,
) -> Summary:
    extra = {} if progress is None else {"progress": progress}
    return pipeline.ingest(
        pipeline.locate(source.root),
        output,
        IngestConfig(**config, pseudonymize=pseudonyms is not None),
        RunOptions(overwrite=True, resume=resume),
        executor=executor,
        pseudonyms=pseudonyms,
        **extra,
    )


class StoppedError(Exception):
    """A run was stopped."""


def stop_at(rows: int) -> Any:
    def progress(stage: str, done: int, total: int) -> None:
        if stage == write.NAME and done > rows:
            raise StoppedError

    return progress


@pytest.fixture(scope="module")
def six(tmp_path_factory: pytest.TempPathFactory) -> TinySource:
    """Return a SOURCE of 24 rows with findings within and between studies."""
    source = make_source(tmp_path_factory.mktemp("six") / "source", studies=6, locations=2)
    copied = source.contour(4, "icontour", 1, source.ed)
    copied.write_bytes(source.contour(0, "icontour", 1, source.ed).read_bytes())
    source.contour(3, "icontour", 0, source.es).write_text("1 2\n3 x\n")
    write_contour(source.contour(2, "icontour", 1, source.es), source.ring(2, "ocontour", 1, source.ed))
    return source


@pytest.fixture(scope="module")
def whole(six: TinySource, tmp_path_factory: pytest.TempPathFactory) -> Summary:
    return ingest(six, tmp_path_factory.mktemp("whole") / "whole.h5", resume=False)


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Close a part after every study."""
    monkeypatch.setattr(checkpoint, "PART_ROWS", 1)


@pytest.fixture
def stopped(six: TinySource, tmp_path: Path) -> Path:
    """Return the output of a run that was stopped after some studies, and left them in parts beside it."""
    output = tmp_path / "out" / "dataset.h5"
    output.parent.mkdir()
    with pytest.raises(StoppedError):
        ingest(six, output, progress=stop_at(14))
    assert not output.exists()
    assert len(parts_of(output)) == 3
    return output


def parts_of(output: Path) -> list[Path]:
    return sorted(output.with_name(f".{output.name}.kept").glob("*"))


POINTS = sorted(random.Random(6).sample(range(2, 45), 5))


@pytest.mark.parametrize(
    ("rows", "jobs"),
    [(rows, jobs) for jobs in "12" for rows in (POINTS if WHOLE or jobs == "1" else POINTS[1::2])],
)
def test_killed_and_resumed_gives_the_same_bytes(
    six: TinySource, whole: Summary, started: Forks, tmp_path: Path, rows: int, jobs: str
) -> None:
    output = tmp_path / "dataset.h5"
    output.write_text("old")
    words = ("ingest", str(six.root), "-o", str(output), "--overwrite", "--resume", "--jobs", jobs)
    kill_run(started, rows, "row", *words)
    assert output.read_text() == "old"
    left = len([path for path in parts_of(output) if path.name.startswith("part-")])
    resumed = ingest(six, output)
    assert resumed.sha256 == sha256_of_file(output) == whole.sha256
    assert resumed.issues == whole.issues
    assert resumed.reused_studies >= left  # a part holds a study or more
    assert (resumed.reused_studies > 0) == (left > 0)
    assert [path.name for path in tmp_path.iterdir()] == ["dataset.h5"]


def test_killed_again_and_again(six: TinySource, whole: Summary, started: Forks, tmp_path: Path) -> None:
    output = tmp_path / "dataset.h5"
    words = ("ingest", str(six.root), "-o", str(output), "--resume", "--jobs", "1")
    taken = []
    for place in ("part", "row", "part"):
        kill_run(started, 11, place, *words)
        assert not output.exists()
        taken.append(len(parts_of(output)))
    assert taken == sorted(taken)
    assert ingest(six, output).sha256 == whole.sha256
    assert [path.name for path in tmp_path.iterdir()] == ["dataset.h5"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_run_that_is_interrupted_keeps_what_is_finished(
    six: TinySource, whole: Summary, started: Forks, tmp_path: Path, number: signal.Signals
) -> None:
    output = tmp_path / "dataset.h5"
    words = ("ingest", str(six.root), "-o", str(output), "--resume", "--jobs", "1")
    kill_run(started, 21, number.name, *words, code=128 + number)
    assert [path.name for path in tmp_path.iterdir()] == [".dataset.h5.kept"]
    assert parts_of(output)
    assert all(path.name.startswith("part-") for path in parts_of(output))
    resumed = ingest(six, output)
    assert resumed.sha256 == whole.sha256
    assert resumed.reused_studies > 0


def test_finished_studies_are_not_made_again(
    six: TinySource, whole: Summary, stopped: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = set()
    encode_sample = write.encode_sample

    def spy(plan: Any, *rest: Any) -> Any:
        made.add(plan.patient_id)
        return encode_sample(plan, *rest)

    monkeypatch.setattr(write, "encode_sample", spy)
    assert ingest(six, stopped).sha256 == whole.sha256
    assert made == {six.patient_id(study) for study in (3, 4, 5)}


@pytest.mark.parametrize("config", [{"impute": "both"}, {"unlabeled": True, "compression": "gzip"}], ids=str)
def test_a_pool_that_is_stopped(six: TinySource, tmp_path: Path, config: dict[str, Any]) -> None:
    output = tmp_path / "dataset.h5"
    expected = ingest(six, tmp_path / "whole.h5", resume=False, **config)
    with pytest.raises(StoppedError), ProcessPool(2, patience_seconds=0) as pool:
        ingest(six, output, executor=pool, progress=stop_at(20), **config)
    with ProcessPool(2, patience_seconds=0) as pool:
        resumed = ingest(six, output, executor=pool, **config)
    assert resumed.reused_studies > 0
    assert resumed.sha256 == expected.sha256


def test_input_that_changed_meanwhile_is_read_again(tmp_path: Path) -> None:
    source = make_source(tmp_path / "source", studies=4, locations=2)
    output = tmp_path / "dataset.h5"
    with pytest.raises(StoppedError):
        ingest(source, output, progress=stop_at(14))
    assert len(parts_of(output)) == 3
    ring = source.ring(1, "icontour", 0, source.ed) + 0.5
    write_contour(source.contour(1, "icontour", 0, source.ed), ring)
    with pytest.raises(StoppedError):
        ingest(source, output, progress=stop_at(14))
    # The patient is in two parts now, of which the newer counts.
    resumed = ingest(source, output)
    assert resumed.reused_studies == 3
    assert resumed.sha256 == ingest(source, tmp_path / "fresh.h5", resume=False).sha256


@pytest.mark.parametrize("damage", ["a byte", "cut", "no part at all"])
def test_a_damaged_part_is_not_used(six: TinySource, whole: Summary, stopped: Path, damage: str) -> None:
    part = parts_of(stopped)[1]
    data = bytearray(part.read_bytes())
    data[len(data) // 2] ^= 1
    part.write_bytes({"a byte": bytes(data), "cut": bytes(data[:100]), "no part at all": b"x" * 5000}[damage])
    resumed = ingest(six, stopped)
    assert resumed.sha256 == whole.sha256
    assert resumed.reused_studies == 2
    assert resumed.notices == ["`resume`: 1 of the kept parts cannot be used and were removed: damaged"]


def test_parts_of_other_options_are_not_used(six: TinySource, stopped: Path, tmp_path: Path) -> None:
    fresh = ingest(six, tmp_path / "fresh.h5", resume=False, raster_rule="centre")
    resumed = ingest(six, stopped, raster_rule="centre")
    assert resumed.sha256 == fresh.sha256
    assert resumed.reused_studies == 0
    assert len(resumed.notices) == 1
    assert "with these options" in resumed.notices[0]


def test_a_run_that_does_not_resume_leaves_nothing_behind(
    six: TinySource, whole: Summary, stopped: Path
) -> None:
    assert ingest(six, stopped, resume=False).sha256 == whole.sha256
    assert [path.name for path in stopped.parent.iterdir()] == ["dataset.h5"]


def test_a_run_that_fails_keeps_what_was_kept(six: TinySource, stopped: Path) -> None:
    with pytest.raises(StoppedError):
        ingest(six, stopped, resume=False, progress=stop_at(3))
    assert len(parts_of(stopped)) == 3


def test_one_run_at_a_time(six: TinySource, stopped: Path) -> None:
    other = CheckpointFolder(stopped)
    other.unfinished.touch()
    with pytest.raises(OutputError, match="another run"):
        ingest(six, stopped)
    assert other.unfinished.exists()  # it is still writing there
    ingest(six, stopped, resume=False)
    assert other.path.exists()  # a living run keeps its parts
    other.close()
    ingest(six, stopped, resume=False)
    assert not other.path.exists()


def test_parts_are_for_their_owner_alone(six: TinySource, stopped: Path) -> None:
    folder = stopped.with_name(".dataset.h5.kept")
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in parts_of(stopped)} == {0o600}
    folder.chmod(0o755)
    with pytest.raises(OutputError, match="open to others"):
        ingest(six, stopped)


def test_what_a_person_put_into_the_folder_stays(six: TinySource, stopped: Path) -> None:
    notes = stopped.with_name(".dataset.h5.kept") / "notes.txt"
    notes.write_text("mine")
    ingest(six, stopped)
    assert parts_of(stopped) == [notes]
    ingest(six, stopped, resume=False)
    assert notes.read_text() == "mine"


def test_a_folder_that_is_a_link_is_not_followed(six: TinySource, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir(mode=0o700)
    (elsewhere / "precious").write_text("1")
    (tmp_path / ".dataset.h5.kept").symlink_to(elsewhere)
    with pytest.raises(OutputError, match="cannot keep parts"):
        ingest(six, tmp_path / "dataset.h5")
    ingest(six, tmp_path / "dataset.h5", resume=False)
    assert (elsewhere / "precious").exists()


def test_parts_hold_pseudonyms_where_the_dataset_does(six: TinySource, tmp_path: Path) -> None:
    output = tmp_path / "dataset.h5"
    pseudonyms = Pseudonyms(KEY)
    with pytest.raises(StoppedError):
        ingest(six, output, pseudonyms=pseudonyms, progress=stop_at(14))
    data = b"".join(path.read_bytes() for path in parts_of(output))
    assert len(data) > 10_000
    for study in range(six.studies):
        assert six.patient_id(study).encode() not in data
        assert six.original_id(study).encode() not in data
    assert KEY not in data
    resumed = ingest(six, output, pseudonyms=Pseudonyms(KEY))
    assert resumed.reused_studies == 3
    assert (
        resumed.sha256 == ingest(six, tmp_path / "fresh.h5", resume=False, pseudonyms=Pseudonyms(KEY)).sha256
    )


def test_the_command_says_what_it_took(
    six: TinySource, whole: Summary, stopped: Path, runner: CliRunner
) -> None:
    words = ["ingest", str(six.root), "-o", str(stopped), "--resume", "--jobs", "1"]
    result = runner.invoke(cli, words)
    assert result.exit_code == 3, result.output
    assert "3 of 6 studies" in result.stdout
    assert whole.sha256 in result.stdout
