"""The key file: what makes a key, what is refused, and when a person is warned."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from dicom_etl.errors import ConfigError
from dicom_etl.layouts.pseudonyms import MAX_KEY_BYTES, read_key
from dicom_etl.pipeline import locate
from tests.builders import TinySource

KEY = b"0123456789abcdef" * 4


def key_file(folder: Path, data: bytes, mode: int = 0o600) -> Path:
    path = folder / "key"
    path.write_bytes(data)
    path.chmod(mode)
    return path


@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n", b"\n\n"])
def test_line_breaks_at_the_end_make_no_other_key(tmp_path: Path, end: bytes) -> None:
    plain, _ = read_key(key_file(tmp_path, KEY))
    ended, warning = read_key(key_file(tmp_path, KEY + end))
    assert plain.patient("A") == ended.patient("A")
    assert warning == ""


def test_any_32_bytes_can_be_a_key(tmp_path: Path) -> None:
    data = bytes(range(200, 232))
    assert read_key(key_file(tmp_path, data))[0].patient("A")


@pytest.mark.parametrize(("mode", "warned"), [(0o600, False), (0o400, False), (0o640, True), (0o604, True)])
def test_a_key_that_others_may_use_is_warned_of(tmp_path: Path, mode: int, warned: bool) -> None:
    _, warning = read_key(key_file(tmp_path, KEY, mode))
    assert ("chmod 600" in warning) == warned
    assert KEY.decode()[:16] not in warning


@pytest.mark.parametrize(
    ("data", "said"),
    [(b"", "0 bytes"), (KEY[:31] + b"\n", "31 bytes"), (b"\n" * 64, "0 bytes"), (b"x" * 64, "repeats"),
     (KEY * (MAX_KEY_BYTES // len(KEY) + 1), "larger")],
)  # fmt: skip
def test_what_is_no_key_is_refused(tmp_path: Path, data: bytes, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        read_key(key_file(tmp_path, data))


def test_a_missing_file_and_a_folder_are_refused_without_their_path(tmp_path: Path) -> None:
    for path, said in ((tmp_path / "nothing", "No such file"), (tmp_path, "Is a directory")):
        with pytest.raises(ConfigError, match=said) as caught:
            read_key(path)
        assert str(tmp_path) not in str(caught.value)


def test_a_key_among_the_data_is_refused(source: TinySource) -> None:
    roots = locate(source.root)
    inside = key_file(source.root / "dicoms" / "SYN00001", KEY)
    for path in (inside, source.root / "link.csv"):
        with pytest.raises(ConfigError, match="lies in SOURCE"):
            read_key(path, apart_from=roots)
    read_key(key_file(source.root, KEY), apart_from=roots)


def test_a_pipe_can_bring_the_key(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe, 0o600)
    writer = threading.Thread(target=pipe.write_bytes, args=(KEY + b"\n",))
    writer.start()
    pseudonyms, warning = read_key(pipe)
    writer.join()
    assert pseudonyms.patient("A") == read_key(key_file(tmp_path, KEY))[0].patient("A")
    assert warning == ""
