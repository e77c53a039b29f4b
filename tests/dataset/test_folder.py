"""A folder appears whole or not at all, and never takes away what is not its own."""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path

import pytest

from dicom_etl.dataset.atomic import whole_folder
from dicom_etl.errors import OutputError
from tests.dataset.test_atomic import failing


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def fill(target: Path, *, overwrite: bool = False, text: str = "new") -> None:
    with whole_folder(target, overwrite=overwrite) as temporary:
        (temporary / "a.txt").write_text(text)
        (temporary / "b.txt").write_text(text)


def test_a_new_folder_appears_with_all_files(tmp_path: Path) -> None:
    fill(tmp_path / "out")
    assert names(tmp_path) == {"out"}
    assert names(tmp_path / "out") == {"a.txt", "b.txt"}
    umask = os.umask(0)
    os.umask(umask)
    assert (tmp_path / "out").stat().st_mode & 0o777 == 0o777 & ~umask
    assert (tmp_path / "out" / "a.txt").stat().st_mode & 0o777 == 0o666 & ~umask


def test_a_failed_run_leaves_nothing(tmp_path: Path) -> None:
    def fail() -> None:
        with whole_folder(tmp_path / "out", overwrite=False) as temporary:
            (temporary / "a.txt").write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert names(tmp_path) == set()


def test_an_empty_folder_is_filled(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    fill(tmp_path / "out")
    assert names(tmp_path / "out") == {"a.txt", "b.txt"}


def test_a_folder_in_use_needs_overwrite_and_keeps_other_files(tmp_path: Path) -> None:
    target = tmp_path / "out"
    target.mkdir()
    (target / "a.txt").write_text("old")
    (target / "mine.txt").write_text("mine")
    with pytest.raises(OutputError, match="not empty; `overwrite`"):
        fill(target)
    assert (target / "a.txt").read_text() == "old"
    fill(target, overwrite=True)
    assert (target / "a.txt").read_text() == "new"
    assert (target / "mine.txt").read_text() == "mine"
    assert names(tmp_path) == {"out"}


@pytest.mark.parametrize(("target", "said"), [("file", "is a file"), ("none/out", "no folder")])
def test_a_target_that_cannot_be_is_named(tmp_path: Path, target: str, said: str) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=said):
        fill(tmp_path / target)


def test_what_a_dead_run_left_is_removed_and_a_live_one_is_not(tmp_path: Path) -> None:
    dead = tmp_path / ".out.tmp-dead"
    dead.mkdir()
    (dead / "half.txt").write_text("")
    (tmp_path / ".out.tmp-file").write_text("of a dead run, too")
    with whole_folder(tmp_path / "out", overwrite=True) as live:
        assert not dead.exists()
        fill(tmp_path / "out")
        assert live.is_dir()
        (live / "c.txt").write_text("")
    assert names(tmp_path / "out") == {"a.txt", "b.txt", "c.txt"}


@pytest.mark.parametrize("exists", [False, True])
def test_a_folder_without_permission_is_said_before_any_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exists: bool
) -> None:
    place = tmp_path / "out" if exists else tmp_path
    place.mkdir(exist_ok=True)
    monkeypatch.setattr(os, "access", lambda path, _: path != place)
    with pytest.raises(OutputError, match=f"{place.name}.*Permission denied"):
        fill(tmp_path / "out")


def test_a_disk_that_takes_no_folder_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "mkdir", failing(errno.EROFS))
    with pytest.raises(OutputError, match=os.strerror(errno.EROFS)):
        fill(tmp_path / "out")


def test_a_file_that_does_not_reach_the_disk_leaves_the_old_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path / "out", text="old")
    monkeypatch.setattr(os, "fsync", failing(errno.EIO))
    with pytest.raises(OutputError, match=rf"out.*{os.strerror(errno.EIO)}"):
        fill(tmp_path / "out", overwrite=True)
    assert {path.read_text() for path in (tmp_path / "out").iterdir()} == {"old"}
    assert names(tmp_path) == {"out"}


def test_a_file_system_without_locks_will_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fcntl, "flock", failing(errno.ENOLCK))
    (tmp_path / ".out.tmp-other").mkdir()
    fill(tmp_path / "out")
    assert names(tmp_path) == {"out", ".out.tmp-other"}


def test_a_folder_that_another_run_made_meanwhile_is_not_written_into(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="another run"), whole_folder(tmp_path / "out", overwrite=False):
        fill(tmp_path / "out", text="theirs")
    assert {path.read_text() for path in (tmp_path / "out").iterdir()} == {"theirs"}
    assert names(tmp_path) == {"out"}


def test_files_of_two_runs_are_never_mixed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tmp_path / "out", text="old")
    replace = Path.replace

    def slow(self: Path, target: Path) -> Path:
        monkeypatch.setattr(Path, "replace", replace)
        with pytest.raises(OutputError, match="another run is writing into it"):
            fill(tmp_path / "out", text="second", overwrite=True)
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", slow)
    fill(tmp_path / "out", text="first", overwrite=True)
    assert {path.read_text() for path in (tmp_path / "out").iterdir()} == {"first"}
    assert names(tmp_path) == {"out"}


def test_a_folder_that_another_run_took_for_stale_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flock = fcntl.flock
    taken: list[Path] = []

    def slow_lock(handle: int, operation: int) -> None:
        if not taken:
            (path,) = tmp_path.iterdir()
            taken.append(path)
            path.rmdir()
        flock(handle, operation)

    monkeypatch.setattr(fcntl, "flock", slow_lock)
    fill(tmp_path / "out")
    assert names(tmp_path) == {"out"}
