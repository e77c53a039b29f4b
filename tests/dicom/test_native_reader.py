"""The fast lane says what pydicom says, or declines."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from dicom_etl.dicom import decoder, native_reader
from dicom_etl.dicom.files import DEFAULT
from dicom_etl.dicom.values import MAX_BYTES
from dicom_etl.errors import ImageError
from dicom_etl.records import ImageHeader
from tests.builders import write_dicom
from tests.dicom.reading import read_headers, read_image

from . import oracle
from .corpus import ENCODINGS, base, head_of, heads, meta_end, mutations, nested, ramp, undefined, with_value


@pytest.fixture(autouse=True)
def _forgetful(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give every test a lane that has met no layout yet."""
    monkeypatch.setattr(native_reader, "_known", {})


def lane(data: bytes) -> ImageHeader | None:
    """Return the header that the fast lane makes, None where it declines."""
    found = native_reader.scan(data, len(data))
    if found is None:
        return None
    return found.header(DEFAULT)


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("encoding", ["explicit", "implicit"])
def test_takes_plain_files(encoding: str, seed: int) -> None:
    data = base(encoding, seed)
    header = lane(data)
    assert header is not None
    assert oracle.differences(header, data) == {}


@pytest.mark.parametrize(
    "options",
    [
        {"transfer_syntax": "big"},
        {"transfer_syntax": "deflated"},
        {"NumberOfFrames": 2, "PixelData": bytes(480)},
        {"SpecificCharacterSet": "ISO 2022 IR 6\\ISO 2022 IR 100"},
        {"Manufacturer": "Größe", "SpecificCharacterSet": "ISO_IR 192"},
        {"Manufacturer": "a\\b"},
        {"Manufacturer": "M" * 65},
        {"elements": {(0xFFFC, 0xFFFC): ("OB", bytes(10))}},
        {"elements": {(0x5200, 0x9229): ("SQ", nested())}},
        {"elements": {(0x0028, 0x3000): ("SQ", nested())}},
        {"elements": {(0x7FE0, 0x0008): ("OF", bytes(4))}},
        {"cut": -1},
        {"cut": 500},
    ],
)
def test_declines_what_is_not_plain(options: dict[str, Any], tmp_path: Path) -> None:
    assert lane(write_dicom(tmp_path / "1.dcm", ramp(), **options).read_bytes()) is None


def test_the_header_of_a_compressed_file_is_read_without_its_codec(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [write_dicom(tmp_path / f"{n}.dcm", ramp() * n, transfer_syntax="rle") for n in (1, 2, 3)]
    first, *_ = [lane(path.read_bytes()) for path in paths]
    assert first is not None
    assert oracle.differences(first, paths[0].read_bytes()) == {}
    read_headers(paths[0])  # the decoder process has the codec
    monkeypatch.setattr(decoder, "read_headers", lambda *_: pytest.fail("the whole file was parsed"))
    assert read_headers(paths[1])[0].rows == 12


def test_a_compressed_file_that_is_cut_off_is_refused_by_its_header(tmp_path: Path) -> None:
    path = write_dicom(tmp_path / "1.dcm", ramp(), transfer_syntax="rle")
    read_headers(path)
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(ImageError, match="the compressed pixel data"):
        read_headers(path)


def test_sequences_of_undefined_length(tmp_path: Path) -> None:
    def takes(encoding: str, deep: int) -> bool:
        sequence = {(0x0008, 0x1140): ("SQ", nested(deep))}
        path = write_dicom(tmp_path / "1.dcm", ramp(), transfer_syntax=encoding, elements=sequence)
        data = undefined(path.read_bytes())
        assert data.count(b"\xfe\xff\xdd\xe0") == deep
        header = lane(data)
        assert header is None or oracle.differences(header, data) == {}
        return header is not None

    assert takes("explicit", 1)
    assert takes("explicit", 5)
    assert takes("implicit", 1)
    assert not takes("implicit", 2), "without a dictionary it cannot be told where the outer one ends"
    assert not takes("explicit", 12)


@st.composite
def images(draw: st.DrawFn) -> tuple[NDArray[Any], dict[str, Any]]:
    """Draw stored values of any kind that is read, and the header that goes with them."""
    dtype = np.dtype(draw(st.sampled_from(["i1", "u1", "i2", "u2", "i4", "u4"])))
    rows, columns = draw(st.integers(1, 9)), draw(st.integers(1, 9))
    size = rows * columns * dtype.itemsize
    raw = draw(st.binary(min_size=size, max_size=size))
    unused = draw(st.integers(0, 3))
    header: dict[str, Any] = {
        "InstanceNumber": draw(st.integers(-(10**9), 10**9)),
        "PixelSpacing": [f"{draw(st.floats(1e-3, 1e3)):.6g}"] * 2,
        "BitsStored": dtype.itemsize * 8 - unused,
        "HighBit": dtype.itemsize * 8 - unused - 1,
        "PhotometricInterpretation": draw(st.sampled_from(["MONOCHROME1", "MONOCHROME2"])),
    }
    slope = draw(st.floats(-10, 10))
    if abs(slope) > 1e-6:
        header |= {
            "RescaleSlope": f"{slope:.6g}",
            "RescaleIntercept": f"{draw(st.floats(-1e4, 1e4)):.6g}",
        }
    return np.frombuffer(raw, dtype).reshape(rows, columns), header


@pytest.mark.parametrize("encoding", ["explicit", "implicit"])
@given(drawn=images())
def test_any_plain_image_equals_pydicom(
    tmp_path_factory: pytest.TempPathFactory, encoding: str, drawn: tuple[NDArray[Any], dict[str, Any]]
) -> None:
    path = tmp_path_factory.mktemp("image") / "1.dcm"
    write_dicom(path, drawn[0], transfer_syntax=encoding, **drawn[1])
    written = path.read_bytes()
    assert lane(written) is not None
    image = read_image(path)
    assert oracle.differences(image.header, written) == {}
    np.testing.assert_array_equal(image.pixels, oracle.pixel_values(written, image.header))
    assert read_headers(path) == (image.header,)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_mutations_equal_pydicom_or_are_declined(encoding: str) -> None:
    taken = 0
    for seed in range(3):
        for kind, data in mutations(base(encoding, seed), 100, seed):
            try:
                header = lane(data)
            except ImageError:
                continue
            if header is not None:
                taken += 1
                assert oracle.differences(header, data) == {}, kind
    assert taken > (-1 if encoding == "big" else 40)


@pytest.mark.parametrize("encoding", ["explicit", "implicit"])
def test_a_known_layout_gives_what_a_walk_gives(encoding: str) -> None:
    """Mutations of the same length, scanned by a lane that knows the sound file, and by one that knows nothing."""
    sound = base(encoding)
    for kind, data in mutations(sound, 300, seed=5):
        native_reader._known.clear()
        assert native_reader.scan(sound, len(sound)) is not None
        known = _outcome(data)
        native_reader._known.clear()
        assert known == _outcome(data), kind


def _outcome(data: bytes) -> Any:
    try:
        return native_reader.scan(data, len(data))
    except ImageError as error:
        return str(error)


def test_layouts_are_bounded_and_the_last_are_kept() -> None:
    (layout,) = native_reader.walk(base("explicit"), len(base("explicit")))
    for size in range(1000):
        native_reader.remember(layout, size)
    assert list(native_reader._known) == list(range(1000 - 128, 1000))
    assert native_reader._known[999] == (layout,)
    assert layout.fit(base("explicit")[:1000]) is None


def test_second_file_of_a_series_takes_the_known_layout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in (10, 11, 12):
        write_dicom(
            tmp_path / f"{number}.dcm", ramp() + number, InstanceNumber=number, SOPInstanceUID=f"1.2.{number}"
        )
    monkeypatch.setattr(native_reader, "walk", native_reader.walk)
    assert read_image(tmp_path / "10.dcm").header.instance_number == 10
    monkeypatch.setattr(native_reader, "walk", None)
    for number in (11, 12):
        image = read_image(tmp_path / f"{number}.dcm")
        assert (image.header.instance_number, image.header.instance_uid) == (number, f"1.2.{number}")
        np.testing.assert_array_equal(image.pixels, ramp() + number)


@pytest.mark.parametrize("size", [10_000, 100_000, 3_000_000])
def test_headers_of_any_length(size: int, tmp_path: Path) -> None:
    path = write_dicom(
        tmp_path / "1.dcm", ramp(), elements={(0x0029, 0x1010): ("OB", bytes(size))}, InstanceNumber=9
    )
    assert read_headers(path)[0].instance_number == 9


def test_both_lanes_say_the_same(tmp_path: Path) -> None:
    for seed in range(12):
        for encoding in ("explicit", "implicit"):
            data = base(encoding, seed)
            assert decoder.read_headers(data, DEFAULT) == (lane(data),)


def test_both_lanes_refuse_values_alike() -> None:
    sound = base("explicit", 1)
    for head in heads(sound)[6:-1]:
        if head.end - head.value > 60:
            continue
        for value in (b"", b"nan ", b"1\\2\\", b"\xff\xff", b"MONOCHROME1 "):
            data = with_value(sound, head, value)
            try:
                fast: Any = lane(data)
            except ImageError as error:
                fast = str(error)
            if fast is not None:
                try:
                    slow: Any = decoder.read_headers(data, DEFAULT)[0]
                except ImageError as error:
                    slow = str(error)
                assert repr(fast) == repr(slow)  # NaN is not equal to itself


def test_no_place_is_kept_of_an_overlong_value() -> None:
    """A remembered value takes nine bytes a byte, so a value that nothing can be made of is left to the other lane."""
    sound = base("implicit", 1)
    for keyword in ("PixelSpacing", "RescaleSlope", "SeriesInstanceUID", "Rows"):
        longest = with_value(sound, head_of(sound, keyword, "implicit"), b"1" * MAX_BYTES)
        assert native_reader.walk(longest, len(longest))
        overlong = with_value(sound, head_of(sound, keyword, "implicit"), b"1" * (MAX_BYTES + 2))
        assert native_reader.walk(overlong, len(overlong)) == ()
        with pytest.raises(ImageError, match=f"{keyword} is {MAX_BYTES + 2} bytes long"):
            decoder.read_headers(overlong, DEFAULT)


def test_pydicom_is_not_imported(tmp_path: Path) -> None:
    path = write_dicom(tmp_path / "1.dcm", ramp())
    program = (
        "import sys; from pathlib import Path; from tests.dicom.reading import read_headers, read_image\n"
        f"path = Path({str(path)!r}); read_headers(path); read_image(path)\n"
        "assert not any(name.startswith('pydicom') for name in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


@pytest.mark.parametrize("encoding", ["explicit", "implicit"])
def test_endless_structures_are_declined_at_once(encoding: str) -> None:
    """They are the general lane's, which has a clock; this one must not need any."""
    data = base(encoding)
    vr = b"SQ\0\0" if encoding == "explicit" else b""
    sequence = b"\x08\0\x40\x11" + vr + b"\xff\xff\xff\xff"
    empty = [bytes([low, high]) for high in range(256) for low in range(256)]
    elements = b"".join(b"\x09\0" + low + (b"LO\0\0" if vr else bytes(4)) for low in empty)
    for endless in (
        sequence + b"\xfe\xff\0\xe0\0\0\0\0" * 1_000_000,
        sequence + b"\xfe\xff\0\xe0\xff\xff\xff\xff" + elements * 10,
        elements,
    ):
        start = time.process_time()
        file = data[: meta_end(data)] + endless
        assert native_reader.scan(file, len(file)) is None
        assert time.process_time() - start < 1
