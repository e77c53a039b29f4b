"""A file appears whole or not at all."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from dicom_etl.dataset.atomic import check_space, whole_file
from dicom_etl.errors import OutputError


def names(folder: Path) -> list[str]:
    return sorted(os.listdir(folder))  # noqa: PTH208  - hidden files count


def failing(code: int) -> Callable[..., Any]:
    """Return a call that the system refuses."""

    def fail(*_: Any, **__: Any) -> Any:
        raise OSError(code, os.strerror(code))

    return fail


def write(target: Path, *, overwrite: bool = False) -> None:
    with whole_file(target, overwrite=overwrite) as temporary:
        temporary.write_bytes(b"new")


def test_the_file_appears_when_the_block_ends(tmp_path: Path) -> None:
    target = tmp_path / "out.h5"
    with whole_file(target, overwrite=False) as temporary:
        temporary.write_bytes(b"new")
        assert not target.exists()
        assert temporary.parent == tmp_path
        assert temporary.name.startswith(".")
    assert target.read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["out.h5"]  # noqa: PTH208  - hidden files count


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "out.h5"
    target.write_bytes(b"old")
    with pytest.raises(RuntimeError), whole_file(target, overwrite=True) as temporary:  # noqa: PT012
        temporary.write_bytes(b"half")
        raise RuntimeError
    assert target.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["out.h5"]  # noqa: PTH208


def test_an_existing_file_needs_overwrite(tmp_path: Path) -> None:
    target = tmp_path / "out.h5"
    target.write_bytes(b"old")
    with pytest.raises(OutputError, match="`overwrite`"), whole_file(target, overwrite=False):
        pytest.fail("the block must not run")
    with whole_file(target, overwrite=True) as temporary:
        temporary.write_bytes(b"new")
    assert target.read_bytes() == b"new"


def test_a_file_made_meanwhile_is_not_replaced(tmp_path: Path) -> None:
    target = tmp_path / "out.h5"
    with pytest.raises(OutputError, match="another run"), whole_file(target, overwrite=False) as temporary:  # noqa: PT012
        temporary.write_bytes(b"mine")
        target.write_bytes(b"theirs")
    assert target.read_bytes() == b"theirs"
    assert os.listdir(tmp_path) == ["out.h5"]  # noqa: PTH208


def test_a_link_stays_and_its_target_is_replaced(tmp_path: Path) -> None:
    real, link = tmp_path / "real.h5", tmp_path / "link.h5"
    real.write_bytes(b"old")
    link.symlink_to(real)
    with whole_file(link, overwrite=True) as temporary:
        temporary.write_bytes(b"new")
    assert link.is_symlink()
    assert real.read_bytes() == b"new"


@pytest.mark.parametrize("kind", ["folder", "missing", "fifo"])
def test_targets_that_cannot_be_written_are_named(tmp_path: Path, kind: str) -> None:
    target = tmp_path / "out.h5"
    if kind == "folder":
        target.mkdir()
    elif kind == "fifo":
        os.mkfifo(target)
    else:
        target = tmp_path / "no" / "out.h5"
    with pytest.raises(OutputError, match=r"out\.h5|no"), whole_file(target, overwrite=True):
        pytest.fail("the block must not run")


def test_the_umask_decides_the_mode(tmp_path: Path) -> None:
    old = os.umask(0o027)
    try:
        with whole_file(tmp_path / "out.h5", overwrite=False) as temporary:
            temporary.write_bytes(b"new")
    finally:
        os.umask(old)
    assert (tmp_path / "out.h5").stat().st_mode & 0o777 == 0o640


def test_temporary_files_of_dead_runs_go_and_those_of_live_runs_stay(tmp_path: Path) -> None:
    dead, live = tmp_path / ".out.h5.tmp-aaaa", tmp_path / ".out.h5.tmp-bbbb"
    other = tmp_path / ".other.h5.tmp-cccc"
    for path in (dead, live, other):
        path.write_bytes(b"")
    with live.open("rb") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        with whole_file(tmp_path / "out.h5", overwrite=False) as temporary:
            temporary.write_bytes(b"new")
    assert not dead.exists()
    assert live.exists()
    assert other.exists()


def test_a_name_that_could_be_a_pattern_is_none(tmp_path: Path) -> None:
    dead, other = tmp_path / ".a[1]*.h5.tmp-aaaa", tmp_path / ".a1x.h5.tmp-bbbb"
    for path in (dead, other):
        path.write_bytes(b"")
    write(tmp_path / "a[1]*.h5")
    assert names(tmp_path) == [other.name, "a[1]*.h5"]


def test_a_link_that_looks_stale_is_never_followed(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_bytes(b"x")
    (tmp_path / ".out.h5.tmp-aaaa").symlink_to(precious)
    write(tmp_path / "out.h5")
    assert precious.read_bytes() == b"x"
    assert (tmp_path / ".out.h5.tmp-aaaa").is_symlink()


def test_a_file_system_without_second_names_will_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "link", failing(errno.EPERM))
    write(tmp_path / "out.h5")
    assert (tmp_path / "out.h5").read_bytes() == b"new"
    assert names(tmp_path) == ["out.h5"]
    with (  # noqa: PT012
        pytest.raises(OutputError, match="another run"),
        whole_file(tmp_path / "other.h5", overwrite=False) as temporary,
    ):
        temporary.write_bytes(b"mine")
        (tmp_path / "other.h5").write_bytes(b"theirs")
    assert (tmp_path / "other.h5").read_bytes() == b"theirs"
    assert names(tmp_path) == ["other.h5", "out.h5"]


def test_a_name_that_the_disk_does_not_take_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "link", failing(errno.EIO))
    with pytest.raises(OutputError, match=rf"out\.h5.*{os.strerror(errno.EIO)}"):
        write(tmp_path / "out.h5")
    assert names(tmp_path) == []


def test_a_file_system_without_locks_will_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fcntl, "flock", failing(errno.ENOLCK))
    (tmp_path / ".out.h5.tmp-aaaa").write_bytes(b"")
    write(tmp_path / "out.h5")
    # It may be that of a live run: without locks nobody knows.
    assert names(tmp_path) == [".out.h5.tmp-aaaa", "out.h5"]


def test_a_temporary_file_that_another_run_took_for_stale_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flock = fcntl.flock
    taken: list[Path] = []

    def slow_lock(handle: int, operation: int) -> None:
        if not taken:
            (path,) = tmp_path.iterdir()
            taken.append(path)
            path.unlink()
        flock(handle, operation)

    monkeypatch.setattr(fcntl, "flock", slow_lock)
    with whole_file(tmp_path / "out.h5", overwrite=False) as temporary:
        temporary.write_bytes(b"new")
        assert temporary not in taken
    assert names(tmp_path) == ["out.h5"]


@pytest.mark.parametrize(
    ("code", "said"), [(errno.EIO, "a loss of power may still undo it"), (errno.EINVAL, "")]
)
def test_a_folder_that_cannot_be_synced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, said: str
) -> None:
    fsync = os.fsync

    def only_files(handle: int) -> None:
        if stat.S_ISDIR(os.fstat(handle).st_mode):
            raise OSError(code, os.strerror(code))
        fsync(handle)

    monkeypatch.setattr(os, "fsync", only_files)
    if said:
        with pytest.raises(OutputError, match=said):
            write(tmp_path / "out.h5")
    else:
        write(tmp_path / "out.h5")
    assert (tmp_path / "out.h5").read_bytes() == b"new"
    assert names(tmp_path) == ["out.h5"]


def test_a_folder_without_permission_is_said_before_any_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(OutputError, match="Permission denied"):
        write(tmp_path / "out.h5")


def test_a_disk_that_takes_no_file_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "open", failing(errno.EROFS))
    with pytest.raises(OutputError, match=os.strerror(errno.EROFS)):
        write(tmp_path / "out.h5")


def test_too_little_space_is_said_with_both_sizes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=10**7))
    check_space(tmp_path / "out.h5", 10**7)
    with pytest.raises(OutputError, match=r"10 MB free, but the dataset needs 20 MB; `compression`"):
        check_space(tmp_path / "out.h5", 2 * 10**7)
