"""A parser or a codec that crashes, hangs or swallows memory costs one file."""

from __future__ import annotations

import gc
import multiprocessing
import os
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dicom_etl import dicom
from dicom_etl.dataset.digest import sha256_of_file
from dicom_etl.dicom import Limits, decoder, ipc, pixels
from dicom_etl.errors import ImageError
from tests.builders import write_dicom
from tests.dicom.reading import read_headers, read_image

from .corpus import CANARY, base, compressed, ramp

_SABOTAGE = """
import ctypes, os, sys, time
from dicom_etl.dicom import decoder_child, pydicom_reader
sound, served = pydicom_reader.parse, []
def parse(data, limits):
    served.append(1)
    if len(served) > {harmless}:
        {deed}
    return sound(data, limits)
pydicom_reader.parse = parse
decoder_child.main()
"""


@pytest.fixture(autouse=True)
def pool(monkeypatch: pytest.MonkeyPatch) -> Iterator[decoder._Pool]:
    """Give every test children of its own."""
    own = decoder._Pool()
    monkeypatch.setattr(decoder, "_pool", own)
    yield own
    own.close()


@pytest.fixture
def odd(tmp_path: Path) -> Path:
    """Return a sound file that only the general lane reads."""
    return write_dicom(tmp_path / "odd.dcm", ramp(), transfer_syntax="big")


def sabotage(monkeypatch: pytest.MonkeyPatch, deed: str, harmless: int = 0) -> None:
    monkeypatch.setattr(decoder, "_PROGRAM", _SABOTAGE.format(deed=deed, harmless=harmless))


def test_one_child_serves_many_files(odd: Path, pool: decoder._Pool) -> None:
    for _ in range(3):
        np.testing.assert_array_equal(read_image(odd).pixels, ramp())
    (child,) = pool._idle
    assert child.served == 3


@pytest.mark.parametrize(
    ("deed", "words"),
    [
        ("os.kill(os.getpid(), 11)", "the decoding process was ended by SIGSEGV; the file is damaged or"),
        pytest.param("os.abort()", "ended by SIGABRT", marks=pytest.mark.slow),
        pytest.param("os._exit(3)", "ended with code 3", marks=pytest.mark.slow),
    ],
)
def test_crash_costs_one_file(
    deed: str, words: str, odd: Path, monkeypatch: pytest.MonkeyPatch, pool: decoder._Pool
) -> None:
    with monkeypatch.context() as broken:
        sabotage(broken, deed)
        with pytest.raises(ImageError, match=words):
            read_headers(odd)
    assert not pool._idle
    assert read_headers(odd)[0].rows == 12


@pytest.mark.parametrize("deed", ["os.kill(os.getpid(), 11)", "bytearray(1 << 40)"])
def test_file_after_a_silent_damage_gets_a_second_try(
    deed: str, odd: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A child that dies over its second file may have been damaged by its first."""
    sabotage(monkeypatch, deed, harmless=1)
    for _ in range(2):
        assert read_headers(odd)[0].rows == 12


def test_hang_is_ended(odd: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as broken:
        sabotage(broken, "time.sleep(60)")
        start = time.monotonic()
        with pytest.raises(
            ImageError, match=r"takes more than 0\.2 seconds to read; `max_item_seconds` allows"
        ):
            read_image(odd, limits=Limits(max_item_seconds=0.2))
        assert time.monotonic() - start < 20
    assert read_headers(odd)[0].rows == 12


def test_a_second_try_has_the_time_that_the_first_left(odd: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each had all of it, so that a file took nearly twice its time: 7 s of 4."""
    with monkeypatch.context() as broken:
        sabotage(broken, "time.sleep(1.5) or os.kill(os.getpid(), 11)", harmless=1)
        read_headers(odd)
        sabotage(broken, "time.sleep(60)")
        start = time.monotonic()
        with pytest.raises(ImageError, match=r"takes more than 2 seconds to read"):
            read_headers(odd, Limits(max_item_seconds=2))
        assert time.monotonic() - start < 1.5 + 2


def test_a_child_left_alone_ends_itself(odd: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own clock ends it when the process that waited for it is gone."""
    sabotage(monkeypatch, "time.sleep(60)")
    late = decoder._PROGRAM.replace("decoder_child.main", "decoder_child._GRACE = 0\ndecoder_child.main")
    monkeypatch.setattr(decoder, "_PROGRAM", late)
    child = decoder._Child()
    request = {"limits": {"max_item_seconds": 0.01}, "function": "dicom.decoder_child:headers", "options": {}}
    ipc.send(child._requests, request, odd.read_bytes())
    assert child.process.wait(timeout=30) == -14
    child.forget()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux holds a process to its address space")
def test_memory_is_bounded(odd: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as broken:
        sabotage(broken, "bytearray(500 << 20)")
        with pytest.raises(
            ImageError, match="more than 419430400 bytes of memory to read; `max_item_memory`"
        ):
            read_image(odd, limits=Limits(max_item_seconds=30))
        assert read_image(odd, limits=Limits(max_item_memory=1 << 30, max_item_seconds=30)).header.rows == 12
    assert read_headers(odd)[0].rows == 12


@pytest.mark.parametrize(
    "thrown",
    [
        "PanicException",
        pytest.param("RecursionError", marks=pytest.mark.slow),
        pytest.param("StopIteration", marks=pytest.mark.slow),
    ],
)
def test_whatever_is_thrown_becomes_one_line(thrown: str, odd: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = f"class PanicException(BaseException): pass\nraise {thrown}({CANARY!r})"
    sabotage(monkeypatch, f"exec({program!r})")
    with pytest.raises(ImageError) as caught:
        read_image(odd)
    assert CANARY not in str(caught.value)
    assert thrown in str(caught.value)


def test_what_a_codec_prints_is_not_taken_for_an_answer(
    odd: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    sabotage(
        monkeypatch, f"os.write(1, b'{CANARY}' * 99); os.write(2, b'{CANARY}'); print({CANARY!r}, flush=True)"
    )
    np.testing.assert_array_equal(read_image(odd).pixels, ramp())
    assert capfd.readouterr() == ("", "")


def test_interrupt_ends_the_child_and_passes_through(
    odd: Path, monkeypatch: pytest.MonkeyPatch, pool: decoder._Pool
) -> None:
    child = pool.take({})
    pool.put(child)

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as interrupted:
        interrupted.setattr(ipc, "receive", interrupt)
        with pytest.raises(KeyboardInterrupt):
            read_headers(odd)
    assert child.process.returncode == -9
    assert not pool._idle
    assert read_headers(odd)[0].rows == 12


def test_child_outlives_the_interrupt_of_its_group(odd: Path, pool: decoder._Pool) -> None:
    read_headers(odd)
    os.kill(pool._idle[0].process.pid, 2)
    read_headers(odd)
    assert pool._idle[0].served == 2


@pytest.mark.parametrize("executable", ["/nonexistent/python", "/bin/false"])
def test_no_child_can_be_started(executable: str, odd: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", executable)
    with pytest.raises(ImageError, match="the decoding process could not be started"):
        read_headers(odd)


@pytest.mark.parametrize(
    "answer",
    [
        "{'headers': [{'rows': 1, 'strange': 2}]}",
        *(
            pytest.param(odd, marks=pytest.mark.slow)
            for odd in ("{}", "{'headers': 7}", "{'headers': [[]]}", "[]")
        ),
    ],
)
def test_answers_that_make_no_sense(answer: str, odd: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = (
        "from dicom_etl.dicom import decoder_child as child; "
        "child._serve = lambda *_: ({answer}, b''); child.main()"
    )
    monkeypatch.setattr(decoder, "_PROGRAM", program.format(answer=answer))
    with pytest.raises(ImageError, match=r"an answer that cannot be used|the decoding process was ended"):
        read_headers(odd)


def test_pixels_of_another_size_than_the_header_says(odd: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = (
        "from dicom_etl.dicom import decoder_child as child; sound = child._serve\n"
        "child._serve = lambda *given: (sound(*given)[0], b'short'); child.main()"
    )
    monkeypatch.setattr(decoder, "_PROGRAM", program)
    with pytest.raises(ImageError, match="an answer that cannot be used"):
        read_image(odd)


def test_threads_do_not_share_a_child(odd: Path, tmp_path: Path, pool: decoder._Pool) -> None:
    paths = [write_dicom(tmp_path / f"{i}.dcm", ramp() + i, transfer_syntax="big") for i in range(24)]
    with ThreadPoolExecutor(3) as threads:
        images = list(threads.map(read_image, paths))
    for number, image in enumerate(images):
        np.testing.assert_array_equal(image.pixels, ramp() + number)
    assert 1 <= len(pool._idle) <= 3


@pytest.mark.filterwarnings("ignore:.*use of fork.*:DeprecationWarning")  # of threads that other tests left
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_fork_leaves_the_children_to_the_parent(odd: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()  # the hook knows the module's own pool
    read_headers(odd)
    (before,) = decoder._pool._idle[-1:]
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            unused = not decoder._pool._idle
            code = 0 if unused and read_headers(odd)[0].rows == 12 else 2
            decoder._pool.close()
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    read_headers(odd)
    assert decoder._pool._idle[-1] is before
    decoder._pool.close()


@pytest.mark.slow
def test_daemonic_worker_has_its_child(odd: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(1) as workers:
        image = workers.apply(read_image, (odd,))
    np.testing.assert_array_equal(image.pixels, ramp())


def test_nothing_is_left_open_or_running(odd: Path, pool: decoder._Pool) -> None:
    read_headers(odd)
    (child,) = pool._idle
    pool.close()
    gc.collect()
    assert child.process.returncode is not None
    assert child._requests.closed
    assert child._answers.closed


@pytest.mark.parametrize(
    ("codec", "module"),
    [
        ("jpeg-ls", "jpeg_ls"),
        pytest.param("jpeg", "PIL", marks=pytest.mark.slow),
        pytest.param("jpeg-lossless", "gdcm", marks=pytest.mark.slow),
        pytest.param("jpeg-2000", "pylibjpeg", marks=pytest.mark.slow),
    ],
)
def test_missing_codec_names_the_extra(
    codec: str, module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip(module)
    path = tmp_path / "1.dcm"
    path.write_bytes(compressed(codec))
    assert read_image(path).pixels.shape == (40, 36)
    decoder._pool.close()
    program = f"import sys; sys.modules[{module!r}] = None; {decoder._PROGRAM}"
    monkeypatch.setattr(decoder, "_PROGRAM", program)
    words = r'needs an optional package.*pip install "dicom-etl\[codecs\]"'
    assert read_headers(path)[0].rows == 40  # what is broken is found out when it is used
    with pytest.raises(ImageError, match=words):
        read_image(path)
    monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.setattr(pixels, "_are_installed", pixels._are_installed.__wrapped__)
    with pytest.raises(ImageError, match=words):
        read_headers(path)


def test_headers_survive_the_pipe_exactly() -> None:
    for seed in range(6):
        (header,) = decoder.read_headers(base("big", seed), Limits())
        assert repr(ipc.header_from_json(header._asdict())) == repr(header)


def test_frames_of_a_file_are_sent_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of many frames would else go through the pipe once a frame: quadratic in their number."""
    pixels = np.stack([ramp(), ramp() + 7, ramp() + 9])
    path = write_dicom(tmp_path / "frames.dcm", pixels, transfer_syntax="big")
    sent, send = [], ipc.send

    def noted(pipe: Any, message: Any, payload: bytes = b"") -> None:
        sent.append(len(payload))
        send(pipe, message, payload)

    monkeypatch.setattr(ipc, "send", noted)
    for frame in (0, 2, 1):
        np.testing.assert_array_equal(read_image(path, frame).pixels, pixels[frame])
    assert sent == [path.stat().st_size, 0, 0]


@pytest.fixture
def slices(tmp_path: Path) -> list[Path]:
    """Return compressed files of one image each."""
    return [write_dicom(tmp_path / f"{i}.dcm", ramp() + i, transfer_syntax="rle") for i in range(3)]


def read_announced(path: Path, following: Path) -> None:
    """Read an image as a run does, which says what it reads next, and check it."""
    limits = Limits()
    (header,), stamp = dicom.read_listed_headers(path, limits)
    dicom.announce(following, header, limits)
    image = dicom.read_planned(path, header, stamp, limits)
    np.testing.assert_array_equal(image.pixels, ramp() + int(path.stem))


def test_announced_images_are_begun_with(slices: list[Path], pool: decoder._Pool) -> None:
    for path, following in pairwise((*slices, slices[0])):
        read_announced(path, following)
        (child,) = pool._begun.values()
        assert child.request is not None
        assert child.request["options"]["digest"] == sha256_of_file(following)
    assert child.served == 3
    pool.close()
    assert child.process.returncode is not None


def test_other_images_than_the_announced_one_are_read(slices: list[Path], pool: decoder._Pool) -> None:
    for path in slices:
        read_announced(path, slices[0])
        (first,) = pool._begun.values()
        np.testing.assert_array_equal(read_image(slices[2]).pixels, ramp() + 2)
        assert tuple(pool._begun.values()) == (first,)
    slices[0].write_bytes(b"no image any more")
    with pytest.raises(ImageError):
        read_image(slices[0])


def test_an_image_begun_with_by_a_child_that_dies_gets_a_second_try(
    slices: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    sabotage(monkeypatch, "os.kill(os.getpid(), 11)", harmless=2)
    read_announced(slices[0], slices[1])
    time.sleep(0.2)
    read_announced(slices[1], slices[2])


def test_what_cannot_be_announced_is_no_error(slices: list[Path], pool: decoder._Pool) -> None:
    read_announced(slices[0], slices[1].with_name("gone.dcm"))
    assert not pool._begun
