"""Only regular files are opened, and only where they belong."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from dicom_etl.dicom.files import read_start
from dicom_etl.errors import ImageError
from tests.builders import write_dicom
from tests.dicom.reading import read_headers, read_image

from .corpus import ramp


@pytest.fixture
def never_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail if anything is opened from now on."""
    assert tmp_path.is_dir()

    def refuse(*_: object) -> int:
        raise AssertionError("it was opened")

    monkeypatch.setattr(os, "open", refuse)


def _refused(path: Path, words: str) -> None:
    with pytest.raises(ImageError, match=words) as caught:
        read_start(path, 1)
    assert path.name not in str(caught.value), "the path is named where the issue is made"


@pytest.mark.usefixtures("never_opened")
def test_fifo_is_never_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo.dcm")
    _refused(tmp_path / "fifo.dcm", "this is a FIFO, not a file; it was not opened")


@pytest.mark.usefixtures("never_opened")
def test_socket_is_never_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # the name of a socket is bounded
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("s.dcm")
        _refused(Path("s.dcm"), "this is a socket")


@pytest.mark.usefixtures("never_opened")
def test_device_is_never_opened(tmp_path: Path) -> None:
    (tmp_path / "zero.dcm").symlink_to("/dev/zero")
    _refused(tmp_path / "zero.dcm", "this is a device")


@pytest.mark.usefixtures("never_opened")
def test_folder(tmp_path: Path) -> None:
    (tmp_path / "1.dcm").mkdir()
    _refused(tmp_path / "1.dcm", "this is a folder")


def test_listed_file_that_turned_into_a_fifo(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "1.dcm")
    for read in (read_headers, read_image):
        with pytest.raises(ImageError, match="this is a FIFO"):
            read(tmp_path / "1.dcm")


def test_missing_file(tmp_path: Path) -> None:
    _refused(tmp_path / "1.dcm", "cannot be opened: No such file or directory")


def test_name_that_no_system_takes() -> None:
    _refused(Path("a\0b"), "cannot be opened: the name is not usable")


def test_empty_file(tmp_path: Path) -> None:
    (tmp_path / "1.dcm").touch()
    for read in (read_headers, read_image):
        with pytest.raises(ImageError, match="DICM is not at byte 128"):
            read(tmp_path / "1.dcm")


def test_unreadable_file_counts_as_dicom_so_that_it_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_dicom(tmp_path / "1.dcm", ramp())

    def refuse(*_: object) -> int:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(ImageError, match=r"^cannot be opened: Permission denied$"):
        read_headers(path)


def test_read_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_dicom(tmp_path / "1.dcm", ramp())

    def fail(*_: object) -> bytes:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "read", fail)
    with pytest.raises(ImageError, match=r"^cannot be read: Input/output error$"):
        read_image(path)


@pytest.mark.parametrize("kept", [0, 200, 600])
def test_file_that_is_cut_off_while_it_is_read(
    kept: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_dicom(tmp_path / "1.dcm", ramp(), elements={(0x0029, 0x1010): ("OB", bytes(50_000))})
    fstat = os.fstat

    def cut(descriptor: int) -> os.stat_result:
        status = fstat(descriptor)
        os.truncate(path, kept)
        return status

    whole = path.read_bytes()
    for read in (read_headers, read_image):
        path.write_bytes(whole)
        with monkeypatch.context() as patched:
            patched.setattr(os, "fstat", cut)
            with pytest.raises(ImageError, match="the file became shorter while it was read"):
                read(path)


def test_short_reads_are_put_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_dicom(tmp_path / "1.dcm", ramp())
    whole, read = read_image(path), os.read
    monkeypatch.setattr(os, "read", lambda descriptor, count: read(descriptor, min(count, 100)))
    assert read_image(path).sha256 == whole.sha256


def test_no_descriptor_is_left_open(tmp_path: Path) -> None:
    path = write_dicom(tmp_path / "1.dcm", ramp())
    bad = write_dicom(tmp_path / "2.dcm", ramp(), Rows=13)
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    for _ in range(5):
        read_image(path)
        read_headers(path)
        with pytest.raises(ImageError):
            read_headers(bad)
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208
