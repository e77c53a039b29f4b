"""The file below HDF5: the first failure is kept, nothing after it is written, and it is raised when asked for."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from dicom_etl.dataset.sink import Sink
from dicom_etl.errors import OutputError


def test_what_is_written_is_there_at_its_place(tmp_path: Path) -> None:
    sink = Sink(tmp_path / "file")
    assert sink.write(b"abcdef") == 6
    assert sink.seek(-2, os.SEEK_END) == 4
    sink.write(b"XY")
    sink.seek(2)
    assert sink.read(3) == b"cdX"
    assert sink.truncate() == 5
    assert sink.truncate(8) == 8
    with sink.checked():
        pass
    sink.close()
    assert (tmp_path / "file").read_bytes() == b"abcdX\0\0\0"


def test_a_write_that_the_system_cuts_short_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pwrite = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda handle, data, place: pwrite(handle, data[:3], place))
    sink = Sink(tmp_path / "file")
    sink.write(b"abcdefgh")
    with sink.checked():
        pass
    sink.close()
    assert (tmp_path / "file").read_bytes() == b"abcdefgh"


@pytest.mark.parametrize("call", ["pwrite", "ftruncate"])
def test_the_first_failure_is_kept_and_nothing_more_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    sink, codes = Sink(tmp_path / "file"), iter([errno.ENOSPC, errno.EIO, errno.EIO])
    sink.write(b"good")

    def fail(*_: Any) -> Any:
        code = next(codes)
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as broken:
        broken.setattr(os, call, fail)
        assert sink.write(b"bad") == 3 if call == "pwrite" else sink.truncate(2) == 2
        assert sink.truncate(9) == 9
    assert sink.write(b"later") == 5
    with pytest.raises(OutputError, match=os.strerror(errno.ENOSPC)), sink.checked():
        pass
    sink.close()
    assert (tmp_path / "file").read_bytes().rstrip(b"\0") == b"good"


def test_what_is_no_failure_of_the_disk_is_raised_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> Any:
        raise MemoryError

    sink = Sink(tmp_path / "file")
    monkeypatch.setattr(os, "pwrite", fail)
    sink.write(b"x")
    with pytest.raises(MemoryError), sink.checked():
        pass
    sink.close()


def test_a_disk_that_fails_while_more_is_written_is_heard_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr("dicom_etl.dataset.sink._FLUSHED_BYTES", 4)
    monkeypatch.setattr(os, "fsync", fail)
    sink = Sink(tmp_path / "file")
    sink.write(b"abc")
    with sink.checked():
        pass
    sink.write(b"d")
    sink.close()
    with pytest.raises(OutputError, match="cannot write the dataset: Input/output error"), sink.checked():
        pass
