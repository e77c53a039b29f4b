"""Files to break, and ways to break them.

Every text element of a base file holds `CANARY`, so that a message which repeats a header value is found out.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from struct import pack, pack_into, unpack_from
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.uid import (
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
)
from pydicom.valuerep import EXPLICIT_VR_LENGTH_32

from tests.builders import write_dicom

T = TypeVar("T")

CANARY = "CANARY"
ENCODINGS = ("explicit", "implicit", "big")
COMPRESSED = ("rle", "jpeg", "jpeg-lossless", "jpeg-ls", "jpeg-2000")

_VRS = [
    b"UI",
    b"DS",
    b"IS",
    b"US",
    b"SS",
    b"UL",
    b"CS",
    b"SQ",
    b"UN",
    b"OB",
    b"OW",
    b"LO",
    b"UT",
    b"FD",
    b"ZZ",
]
_VALUES = [
    *[
        b"nan",
        b"inf",
        b"1e999",
        b"1_000",
        b"0",
        b"-1",
        b"",
        b" ",
        b"\\",
        b"1\\2",
        b"\xff\xfe",
        b"65536",
        b"2.0",
    ],
    *[b"1\n", b"\0\0", b"0x10", b"1.5.5", b"ISO_IR 192", b"ISO 2022 IR 87", b"\x1b$B", "٣".encode()],
    *[b"MONOCHROME1", b"RGB", b"\x00\x01", b"\x01\x00", b"\xff\xff", b"\x0b\x00", b"\x10\x00\x10\x00"],
]
_LENGTHS = [0, 1, 2, 3, 7, 255, 4096, 0xFFFE, 0xFFFF, 0x10000, 0x7FFFFFFF, 0xFFFFFFFE, 0xFFFFFFFF]


def ramp(dtype: Any = np.int16, shape: tuple[int, int] = (12, 10)) -> NDArray[Any]:
    """Return an image with many different values from 0 to 126, so that they fit any dtype."""
    return (np.arange(shape[0] * shape[1]).reshape(shape) * 37 % 127).astype(dtype)


LARGER = (40, 36)
"""JPEG 2000 needs some pixels for its five levels of wavelets."""


def nested(deep: int = 2) -> Sequence:
    """Return a sequence of two items with a sequence in the first."""
    item, empty = Dataset(), Dataset()
    item.ReferencedSOPInstanceUID = "1.2.3"
    item.add_new((0x0008, 0x0104), "LO", CANARY)
    if deep > 1:
        item.PurposeOfReferenceCodeSequence = nested(deep - 1)
    return Sequence([item, empty])


def undefined(data: bytes) -> bytes:
    """Return the file with sequences and items of undefined length, at every depth."""
    dataset = pydicom.dcmread(io.BytesIO(data))
    _undefine(dataset)
    out = io.BytesIO()
    dataset.save_as(out, enforce_file_format=False)
    return out.getvalue()


def _undefine(dataset: Dataset) -> None:
    for element in dataset:
        if element.VR == "SQ":
            element.is_undefined_length = True
            for item in element.value:
                item.is_undefined_length_sequence_item = True
                _undefine(item)


@cache
def base(encoding: str, seed: int = 0) -> bytes:
    """Return a sound file in one of `ENCODINGS` (or deflated), more varied for each seed."""
    rng = np.random.default_rng(seed)
    dtype = [np.int16, np.uint16, np.uint8, np.int8][seed % 4]
    elements: dict[tuple[int, int], tuple[str, Any]] = {
        (0x0008, 0x1030): ("LO", CANARY),
        (0x0009, 0x0010): ("LO", CANARY),
        (0x0009, 0x1001): ("UN", CANARY.encode() + b"\0\0"),
        (0x0010, 0x4000): ("LT", CANARY * 40),
        (0x0029, 0x0010): ("LO", CANARY),
        (0x0029, 0x1010): ("OB", bytes(rng.integers(0, 256, 600, dtype=np.uint8))),
    }
    header: dict[str, Any] = {"PatientName": CANARY, "PatientID": CANARY}
    if seed % 3:
        elements[0x0008, 0x1140] = ("SQ", nested(1 if encoding == "implicit" else 2))
    if seed % 2:
        header |= {"SpecificCharacterSet": "ISO_IR 100", "RescaleSlope": 2.5, "RescaleIntercept": -7}
    if seed % 5 == 3:
        header |= {"PhotometricInterpretation": "MONOCHROME1"}
    if seed % 5 == 4 and dtype in (np.int16, np.uint16):
        header |= {"BitsStored": 12, "HighBit": 11}
    with TemporaryDirectory() as folder:
        path = Path(folder) / "base.dcm"
        write_dicom(path, ramp(dtype), transfer_syntax=encoding, elements=elements, **header)
        return undefined(path.read_bytes()) if seed % 3 == 2 else path.read_bytes()


@cache
def compressed(codec: str) -> bytes:
    """Return a sound file with compressed pixels; `codec` is one of `COMPRESSED`."""
    dtype = np.uint8 if codec == "jpeg" else np.uint16
    header: dict[str, Any] = {"PatientName": CANARY, "PatientID": CANARY}
    if codec == "rle":
        return _written(ramp(np.int16, LARGER), "rle", header)
    encode, syntax = _ENCODERS[codec]
    if codec in ("jpeg-ls", "jpeg-2000", "jpeg-lossless"):
        return encode(_written(ramp(dtype, LARGER), "explicit", header), syntax)
    pixels = encapsulate([encode(ramp(dtype, LARGER).tobytes(), syntax)])
    return _written(ramp(dtype, LARGER), syntax, header | {"PixelData": pixels})


def _written(pixels: NDArray[Any], syntax: str, header: dict[str, Any]) -> bytes:
    with TemporaryDirectory() as folder:
        return write_dicom(Path(folder) / "base.dcm", pixels, transfer_syntax=syntax, **header).read_bytes()


def _jpeg(raw: bytes, _: str) -> bytes:
    from PIL import Image

    out = io.BytesIO()
    Image.frombytes("L", LARGER[::-1], raw).save(out, "JPEG", quality=90)
    return out.getvalue()


def _pydicom_encoder(data: bytes, syntax: str) -> bytes:
    dataset = pydicom.dcmread(io.BytesIO(data))
    dataset.compress(syntax, generate_instance_uid=False)
    out = io.BytesIO()
    dataset.save_as(out)
    return out.getvalue()


def _gdcm_encoder(data: bytes, _: str) -> bytes:
    import gdcm

    with TemporaryDirectory() as folder:
        source, target = Path(folder) / "in.dcm", Path(folder) / "out.dcm"
        source.write_bytes(data)
        reader = gdcm.ImageReader()
        reader.SetFileName(str(source))
        assert reader.Read()
        change = gdcm.ImageChangeTransferSyntax()
        change.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.JPEGLosslessProcess14_1))
        change.SetInput(reader.GetImage())
        assert change.Change()
        writer = gdcm.ImageWriter()
        writer.SetFileName(str(target))
        writer.SetFile(reader.GetFile())
        writer.SetImage(change.GetOutput())
        assert writer.Write()
        return target.read_bytes()


_ENCODERS: dict[str, tuple[Callable[[bytes, str], bytes], str]] = {
    "jpeg": (_jpeg, JPEGBaseline8Bit),
    "jpeg-lossless": (_gdcm_encoder, JPEGLosslessSV1),
    "jpeg-ls": (_pydicom_encoder, JPEGLSLossless),
    "jpeg-2000": (_pydicom_encoder, JPEG2000Lossless),
}


@dataclass(frozen=True)
class Head:
    """Where one top-level element of a file is: its tag, its VR (None: implicit), its length field, its value."""

    start: int
    vr: int | None
    length: int
    length_code: str
    value: int
    end: int


def meta_end(data: bytes) -> int:
    """Return where the data set of a sound file begins."""
    return _meta_heads(data)[-1].end


def _meta_heads(data: bytes) -> list[Head]:
    found, position = [], 132
    while data[position : position + 2] == b"\x02\x00":
        long = data[position + 4 : position + 6] in (b"OB", b"UN")
        code, offset = ("<I", 8) if long else ("<H", 6)
        value = position + (12 if long else 8)
        end = value + unpack_from(code, data, position + offset)[0]
        found.append(Head(position, position + 4, position + offset, code, value, end))
        position = end
    return found


def heads(data: bytes) -> list[Head]:
    """Return the heads of all elements of a sound file, file meta information included."""
    found = _meta_heads(data)
    dataset = pydicom.dcmread(io.BytesIO(data))
    implicit, little = dataset.original_encoding
    order = "<" if little else ">"
    tells: list[tuple[int, bool]] = []
    for tag in sorted(dataset.keys()):
        raw = dataset.get_item(tag)
        tell: int = getattr(raw, "value_tell", 0) or getattr(raw, "file_tell", 0)
        tells.append((tell, not implicit and raw.VR in EXPLICIT_VR_LENGTH_32))
    for index, (value, long) in enumerate(tells):
        start = value - (12 if long else 8)
        end = len(data)
        if index + 1 < len(tells):
            following, following_long = tells[index + 1]
            end = following - (12 if following_long else 8)
        code = order + ("I" if long or implicit else "H")
        length = value - (4 if long or implicit else 2)
        found.append(Head(start, None if implicit else start + 4, length, code, value, end))
    return found


def head_of(data: bytes, keyword: str, encoding: str) -> Head:
    """Return the head of a top-level element of a sound file in one of `ENCODINGS`."""
    tag = tag_for_keyword(keyword)
    assert tag is not None
    code = pack(">HH" if encoding == "big" and tag >> 16 != 2 else "<HH", tag >> 16, tag & 0xFFFF)
    (head,) = (head for head in heads(data) if data[head.start : head.start + 4] == code)
    return head


def with_value(data: bytes, head: Head, value: bytes) -> bytes:
    """Return the file with another value in one element, valid or not."""
    changed = bytearray(data)
    pack_into(head.length_code, changed, head.length, len(value))
    return bytes(changed[: head.value] + value + changed[head.end :])


def mutations(data: bytes, count: int, seed: int) -> Iterator[tuple[str, bytes]]:
    """Yield ``count`` broken copies of a file with the kind of each; the same ones for the same seed."""
    rng = np.random.default_rng(seed)
    known = heads(data)
    kinds = list(_KINDS)
    for number in range(count):
        kind = kinds[number % len(kinds)]
        yield f"{kind}-{number}", bytes(_KINDS[kind](bytearray(data), known, rng))


def _pick(items: list[T], rng: np.random.Generator) -> T:
    return items[int(rng.integers(len(items)))]


def _flip(data: bytearray, known: list[Head], rng: np.random.Generator) -> bytearray:
    for _ in range(int(rng.integers(1, 4))):
        place = int(rng.integers(128, _pick([known[-1].value, len(data)], rng)))
        data[place] ^= 1 << int(rng.integers(8))
    return data


def _byte(data: bytearray, known: list[Head], rng: np.random.Generator) -> bytearray:
    data[int(rng.integers(128, len(data)))] = _pick([0, 1, 0x20, 0x5C, 0x7F, 0x80, 0xFE, 0xFF], rng)
    return data


def _cut(data: bytearray, known: list[Head], rng: np.random.Generator) -> bytearray:
    return data[: int(rng.integers(0, len(data)))]


def _cut_at_element(data: bytearray, known: list[Head], rng: np.random.Generator) -> bytearray:
    head = _pick(known, rng)
    return data[: _pick([head.start, head.length, head.value, head.end - 1], rng)]


def _remove(data: bytearray, known: list[Head], rng: np.random.Generator) -> bytearray:
    head = _pick(known, rng)
    return bytearray(data[: head.start] + data[head.end :])


def _remove_span(data: bytearray, known: list[Head], rng: np.random.Generator) -> bytearray:
    place = int(rng.integers(128, len(data)))
    return data[:place] + data[place + int(rng.integers(1, 9)) :]


def _insert(data: bytearray, known: list[Head], rng: np.random.Generator) -> bytearray:
    place = int(rng.integers(128, len(data)))
    return data[:place] + bytearray(rng.bytes(int(rng.integers(1, 9)))) + data[place:]


def _repeat(data: bytearray, known: list[Head], rng: np.random.Generator) -> bytearray:
    head, place = _pick(known, rng), _pick(known, rng).start
    return data[:place] + data[head.start : head.end] + data[place:]


def _swap(data: bytearray, known: list[Head], rng: np.random.Generator) -> bytearray:
    index = int(rng.integers(len(known) - 1))
    one, two = known[index], known[index + 1]
    swapped = data[two.start : two.end] + data[one.start : one.end]
    return data[: one.start] + swapped + data[two.end :]


def _length(data: bytearray, known: list[Head], rng: np.random.Generator) -> bytearray:
    head = _pick(known, rng)
    (old,) = unpack_from(head.length_code, data, head.length)
    most = 0xFFFF if head.length_code.endswith("H") else 0xFFFFFFFF
    new = _pick([old - 2, old - 1, old + 1, old + 2, old + 8, *_LENGTHS], rng)
    pack_into(head.length_code, data, head.length, min(max(new, 0), most))
    return data


def _vr(data: bytearray, known: list[Head], rng: np.random.Generator) -> bytearray:
    head = _pick(known, rng)
    place = head.start + 4 if head.vr is None else head.vr
    data[place : place + 2] = _pick(_VRS, rng)
    return data


def _tag(data: bytearray, known: list[Head], rng: np.random.Generator) -> bytearray:
    head, other = _pick(known, rng), _pick(known, rng)
    new = _pick(
        [data[other.start : other.start + 4], rng.bytes(4), b"\xfe\xff\x0d\xe0", b"\xfe\xff\xdd\xe0"], rng
    )
    data[head.start : head.start + 4] = new
    return data


def _value(data: bytearray, known: list[Head], rng: np.random.Generator) -> bytearray:
    """Replace a value with another of its own length field, so that the structure stays sound."""
    head = _pick([h for h in known if h.end - h.value < 100], rng)
    value = _pick([*_VALUES, rng.bytes(head.end - head.value)], rng)
    value += b" " * (len(value) % 2)
    return bytearray(with_value(bytes(data), head, value))


def _append(data: bytearray, known: list[Head], rng: np.random.Generator) -> bytearray:
    tail: bytes = _pick(
        [b"\0", b"\0" * 8, b"\0" * 5000, rng.bytes(3), bytes(data[known[-1].start :]), bytes(data[132:])], rng
    )
    return data + tail


def _delimiters(data: bytearray, known: list[Head], rng: np.random.Generator) -> bytearray:
    place = _pick(known, rng).start
    items = [b"\xfe\xff\x00\xe0", b"\xfe\xff\x0d\xe0", b"\xfe\xff\xdd\xe0"]
    size = _pick([b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x08\0\0\0"], rng)
    return data[:place] + (_pick(items, rng) + size) * int(rng.integers(1, 5)) + data[place:]


def _preamble(data: bytearray, known: list[Head], rng: np.random.Generator) -> bytearray:
    return _pick(
        [data[132:], data[128:], bytearray(b"\0") + data, bytearray(), data[:131] + b"N" + data[132:]], rng
    )


_KINDS: dict[str, Callable[[bytearray, list[Head], np.random.Generator], bytearray]] = {
    "flip": _flip,
    "byte": _byte,
    "cut": _cut,
    "cut-at-element": _cut_at_element,
    "remove": _remove,
    "remove-span": _remove_span,
    "insert": _insert,
    "repeat": _repeat,
    "swap": _swap,
    "length": _length,
    "length-again": _length,
    "vr": _vr,
    "tag": _tag,
    "value": _value,
    "value-again": _value,
    "append": _append,
    "delimiters": _delimiters,
    "preamble": _preamble,
}
