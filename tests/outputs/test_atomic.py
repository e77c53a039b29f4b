"""A file appears whole or not at all."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import pytest

from dicom_etl.errors import OutputError
from dicom_etl.outputs.atomic import whole_file


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
    with pytest.raises(OutputError, match="--overwrite"), whole_file(target, overwrite=False):
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
