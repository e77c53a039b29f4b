"""No word of a SOURCE full of them leaves by any door: dataset, messages, logs, tables, JSON, temporary names."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner

from dicom_etl.cli import cli
from tests.builders import TinySource
from tests.canaries import BAD_IMAGES, Canaries, everything_in, make_canary_source
from tests.forking import Done, Forks, forks

KEY = "0123456789abcdef" * 4
_WATCHED = """
import atexit, os, sys
seen = []
def watch(event, args):
    if event == "open":
        path, mode, flags = args
        if (flags or 0) & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            seen.append(f"{event} {path}")
    elif event.startswith(("os.rename", "os.link", "os.mkdir", "os.symlink", "tempfile.", "subprocess.", "os.exec")):
        seen.append(f"{event} {args}")
sys.addaudithook(watch)
from dicom_etl.cli import main
sys.argv[0] = "dicom-etl"
try:
    main()
finally:
    report = os.environ["WATCHED"]
    text = "\\n".join(seen)
    with open(report, "w", encoding="utf-8", errors="surrogateescape") as stream:
        stream.write(text)
"""


@dataclass
class Place:
    """A canary SOURCE, and a clean folder to work in."""

    source: TinySource
    canaries: Canaries
    work: Path
    key: Path
    started: Forks

    def run(self, *words: object, pseudonymize: bool = True) -> Done:
        """Run a command; its output, and the names of all that it wrote, must be clean."""
        option = ["--pseudonymize", str(self.key)] if pseudonymize else []
        return self.started.run(_WATCHED, *words, *option, folder=self.work)

    def found_after(self, done: Done) -> set[str]:
        """Return the places whose words a run has let out."""
        written = b"".join(
            path.name.encode() + (everything_in(path) if path.suffix == ".h5" else path.read_bytes())
            for path in self.work.iterdir()
            if path.is_file()
        )
        return self.canaries.found_in(done.stdout + b"\n" + done.stderr + b"\n" + written)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    canaries = Canaries()
    source = make_canary_source(tmp_path_factory.mktemp("in"), canaries)
    work = tmp_path_factory.mktemp("out")
    key = tmp_path_factory.getbasetemp() / "key"
    key.write_text(KEY)
    key.chmod(0o600)
    with forks(WATCHED=str(work / "watched"), PYTHONWARNINGS="always") as started:
        yield Place(source, canaries, work, key, started)


@pytest.fixture(autouse=True)
def clean(place: Place) -> None:
    for path in place.work.iterdir():
        path.unlink()


def test_the_words_are_many_and_can_be_found(place: Place) -> None:
    assert len(place.canaries.planted) >= 700
    done = place.run("ingest", place.source.root, "-o", "o.h5", "-v", pseudonymize=False)
    found = place.found_after(done)
    # Without pseudonyms names are shown, which is what they are for; tags never are, but for the manufacturer.
    assert {"patient_id", "original_id", "image name", "contour name", "folder SOURCE", "Manufacturer"} <= {
        place.removeprefix("the ") for place in found
    }
    assert found <= {
        "Manufacturer", "patient_id", "original_id", "image name", "contour name", "no contour", "no contour either",
        "a folder above SOURCE", "the folder SOURCE", "an unlinked folder", "a stray file", "a broken link",
        "patient_id without folder", "original_id without folder",
    }  # fmt: skip


@pytest.mark.parametrize(
    "loudness", [[], ["-vvv"], ["--json"], ["-q"]], ids=["plain", "vvv", "json", "quiet"]
)
def test_nothing_gets_out_of_a_whole_run(place: Place, loudness: list[str]) -> None:
    words = [
        "ingest",
        place.source.root,
        "-o",
        "o.h5",
        "--log",
        "log",
        "--issues",
        "issues.csv",
        "--unlabeled",
    ]
    done = place.run(*words, "--list-unlabeled", *loudness)
    assert done.returncode == 3, done.stderr
    assert place.found_after(done) == set()
    codes = (place.work / "issues.csv").read_text()
    for code in ("unreadable-image", "unreadable-contour", "link-missing", "orphan-contour", "unlabeled"):
        assert code in codes
    assert KEY.encode() not in everything_in(place.work / "o.h5") + done.stdout + done.stderr
    assert place.run("info", "o.h5", "--samples", "samples.csv", "-v", pseudonymize=False).returncode == 0
    assert place.found_after(done) == set()


def test_nothing_gets_out_of_what_is_made_of_the_dataset(place: Place, runner: CliRunner) -> None:
    file, key = str(place.work / "o.h5"), ["--pseudonymize", str(place.key)]
    root = str(place.source.root)
    for words in (
        ["ingest", root, "-o", file, *key],
        ["verify", file, "--source", root, "-v", *key],
        ["verify", file, "--source", root, "--json", *key],
        ["preview", file, "-o", str(place.work / "preview.png")],
        ["report", file, "-o", str(place.work / "report.html")],
        ["batches", file, "--epochs", "1"],
    ):
        done = runner.invoke(cli, words)
        assert done.exit_code in (0, 1, 2, 3)
        assert "fault of dicom-etl" not in done.stderr, done.stderr
        assert place.canaries.found_in(done.output.encode()) == set(), words
    for path in place.work.iterdir():
        data = everything_in(path) if path.suffix == ".h5" else path.read_bytes()
        assert place.canaries.found_in(data) == set(), path.name
    assert {path.name for path in place.work.iterdir()} == {"o.h5", "preview.png", "report.html"}


@pytest.mark.parametrize("command", ["ingest", "plan"])
def test_nothing_gets_out_of_a_cluster(place: Place, command: str) -> None:
    pytest.importorskip("distributed")
    output = ["-o", "o.h5"] if command == "ingest" else []
    cluster = ["--executor", "dask", "--jobs", "1"]
    done = place.run(command, place.source.root, *output, *cluster, "-vvv", "--log", "log")
    assert done.returncode == 3, done.stderr
    assert place.found_after(done) == set()


def make_parts(place: Place, *names: str, pseudonymize: bool = True) -> list[Done]:
    """Make the parts of the canary SOURCE, each a run of its own."""
    return [
        place.run(
            "ingest",
            place.source.root,
            "-o",
            name,
            "--shard",
            f"{number}/{len(names)}",
            "-vvv",
            "--log",
            f"{name}.log",
            "--issues",
            f"{name}.csv",
            "--jobs",
            "1",
            pseudonymize=pseudonymize,
        )
        for number, name in enumerate(names, start=1)
    ]


def test_nothing_gets_out_of_parts_and_what_they_are_merged_to(place: Place) -> None:
    for done in make_parts(place, "one.h5", "two.h5"):
        assert done.returncode in (0, 3), done.stderr
        assert place.found_after(done) == set()
    words = ["merge", "two.h5", "one.h5", "-o", "whole.h5", "--log", "log", "--issues", "issues.csv"]
    for loudness in (["-vvv"], ["--json", "--overwrite"]):
        done = place.run(*words, *loudness, pseudonymize=False)
        assert done.returncode == 3, done.stderr
        assert place.found_after(done) == set()
    assert "unreadable-contour" in (place.work / "issues.csv").read_text()
    whole = place.run("ingest", place.source.root, "-o", "at once.h5", "--jobs", "1")
    assert whole.returncode == 3, whole.stderr
    assert (place.work / "at once.h5").read_bytes() == (place.work / "whole.h5").read_bytes()


def test_nothing_gets_out_of_a_merge_that_fails(place: Place) -> None:
    """Parts of real names: what a merge says of them when it refuses them must not show more than their names."""
    make_parts(place, "one.h5", "two.h5")
    make_parts(place, "1.h5", "2.h5", pseudonymize=False)
    damaged = bytearray((place.work / "2.h5").read_bytes())
    damaged[len(damaged) // 2] ^= 1
    (place.work / "3.h5").write_bytes(damaged)
    other = place.run(
        "ingest", place.source.root, "-o", "4.h5", "--shard", "2/2", "--unlabeled", pseudonymize=False
    )
    assert other.returncode in (0, 3)
    for path in place.work.iterdir():
        if path.suffix != ".h5":
            path.unlink()
    for parts, said in (
        (["1.h5"], "parts are missing"),
        (["1.h5", "1.h5"], "both part 1"),
        (["1.h5", "3.h5"], "hash"),
        (["1.h5", "4.h5"], "different options"),
        (["one.h5", "2.h5"], "same key"),
        (["1.h5", "no.h5"], "cannot be read"),
        (["1.h5", place.source.root / "link.csv"], "too few for a dicom-etl dataset"),
        (["1.h5", place.source.root], "cannot be read"),
    ):
        done = place.run("merge", *parts, "-o", "whole.h5", "-vvv", "--log", "log", pseudonymize=False)
        assert done.returncode == 1
        assert said in done.stderr.decode()
        typed = {"a folder above SOURCE", "the folder SOURCE"} if isinstance(parts[-1], Path) else set()
        seen = (
            done.stdout
            + done.stderr
            + b"".join((place.work / name).read_bytes() for name in ("log", "watched"))
        )
        assert place.canaries.found_in(seen) <= typed
        assert not (place.work / "whole.h5").exists()


def test_nothing_gets_out_of_what_one_run_leaves_to_the_next(place: Place) -> None:
    words = ["ingest", place.source.root, "--jobs", "1", "-vvv", "--log", "log"]
    first = place.run(*words, "-o", "one.h5", "--resume")
    again = place.run(*words, "-o", "two.h5", "--reuse", "one.h5", "--resume")
    for done in (first, again):
        assert done.returncode == 3, done.stderr
        assert place.found_after(done) == set()
    assert (place.work / "one.h5").read_bytes() == (place.work / "two.h5").read_bytes()
    place.run(*words, "-o", "names.h5", pseudonymize=False)
    done = place.run(*words, "-o", "three.h5", "--reuse", "names.h5")
    (place.work / "names.h5").unlink()
    assert b"all is made anew" in done.stderr
    assert place.found_after(done) == set()


def test_nothing_gets_out_of_a_plan(place: Place) -> None:
    done = place.run(
        "plan", place.source.root, "-vvv", "--list-unlabeled", "--log", "log", "--issues", "i.csv"
    )
    assert done.returncode == 3, done.stderr
    assert place.found_after(done) == set()


FAILURES: dict[str, tuple[int, list[str]]] = {
    "strict": (1, ["--strict", "-vvv"]),
    "no folder for the output": (1, ["-o", "no/such/folder/o.h5"]),
    "source": (1, ["--dicoms", "{root}/no such folder"]),
    "links": (1, ["--links", "{root}/dicoms"]),
    "another contour folder": (1, ["--contours", "{root}/dicoms"]),
    "nothing of the expected size": (1, ["--expect-size", "7x7"]),
    "no such structure": (1, ["--structures", "xcontour"]),
    "key": (2, ["--pseudonymize", "{root}/link.csv"]),
    "key folder": (2, ["--pseudonymize", "{root}"]),
    "limits": (1, ["--max-image-bytes", "10", "-vvv"]),
}


@pytest.mark.parametrize(("code", "words"), FAILURES.values(), ids=FAILURES.keys())
def test_nothing_gets_out_of_a_failure(place: Place, runner: CliRunner, code: int, words: list[str]) -> None:
    given = [word.format(root=place.source.root) for word in words]
    option = [] if "--pseudonymize" in given else ["--pseudonymize", str(place.key)]
    log = place.work / "log"
    done = runner.invoke(
        cli,
        [
            "ingest",
            str(place.source.root),
            "-o",
            str(place.work / "o.h5"),
            "--log",
            str(log),
            *option,
            *given,
        ],
    )
    assert done.exit_code == code, done.stderr
    assert place.canaries.found_in(done.output.encode() + log.read_bytes()) == set()
    assert "dicom-etl: " in done.stderr
    assert "fault of dicom-etl" not in done.stderr
    assert not (place.work / "o.h5").exists()


@pytest.mark.parametrize(
    "table",
    ["{}\n", "patient_id,original_id\n{},{}\n{},x\n", "patient_id,original_id\n../{},x\n", '"{}', "{}\xff"],
)
def test_nothing_gets_out_of_a_bad_link_table(place: Place, runner: CliRunner, table: str) -> None:
    path = place.work / "table.csv"
    path.write_bytes(table.replace("{}", place.canaries.word("a bad link table")).encode("latin-1"))
    done = runner.invoke(cli, ["plan", str(place.source.root), "-vvv", "--links", str(path)])
    assert done.exit_code == 1
    assert place.canaries.found_in(done.output.encode()) == set()


@pytest.mark.parametrize("kind", [ValueError, KeyError, OSError, RuntimeError, UnicodeError])
def test_a_fault_of_ours_is_told_by_its_place_alone(
    place: Place, runner: CliRunner, monkeypatch: pytest.MonkeyPatch, kind: type[Exception]
) -> None:
    word = place.canaries.word("an exception")

    def fail(*_: object, **__: object) -> None:
        raise kind(word) from RuntimeError(word)

    monkeypatch.setattr("dicom_etl.pipeline.plan.link_folders", fail)
    words = [
        "ingest",
        str(place.source.root),
        "-o",
        str(place.work / "o.h5"),
        "--log",
        str(place.work / "log"),
    ]
    result = runner.invoke(cli, [*words, "-vvv"])
    assert result.exit_code == 1
    assert "dicom_etl/" in result.stderr
    assert ", line " in result.stderr
    seen = result.output.encode() + (place.work / "log").read_bytes()
    assert place.canaries.found_in(seen) == set()
    monkeypatch.setenv("DICOM_ETL_TRACEBACK", "1")
    assert word in runner.invoke(cli, words).stderr


def test_every_value_that_is_read_was_put_to_the_test(place: Place) -> None:
    done = place.run("plan", place.source.root, "--json")
    messages = " ".join(issue["message"] for issue in json.loads(done.stdout)["issues"])
    for word in ("RescaleSlope", "RescaleIntercept", "PixelSpacing", "ImagePositionPatient", "trigger time"):
        assert word in messages
    assert len(BAD_IMAGES) == 12
