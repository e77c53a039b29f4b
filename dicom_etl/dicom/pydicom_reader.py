"""The general lane: any file that pydicom can parse, in any transfer syntax; slower, and as strict.

pydicom finds the elements and decodes compressed pixels. Values are read by `values`, as in the fast lane, so
pydicom neither converts a value nor warns with one in its text.
"""

from __future__ import annotations

import warnings
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from functools import cached_property
from io import BytesIO
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from dicom_etl.dicom import checks, native_reader, values
from dicom_etl.dicom import elements as el
from dicom_etl.dicom.files import Limits
from dicom_etl.dicom.frames import frame_headers
from dicom_etl.dicom.objects import encodings_of, raw
from dicom_etl.dicom.pixels import check_decodable, check_fragments, decode, only_image_errors, view_frame
from dicom_etl.dicom.syntaxes import SYNTAXES, Syntax, bare_start, data_set
from dicom_etl.errors import ImageError
from dicom_etl.records import ImageHeader

if TYPE_CHECKING:
    from pydicom import Dataset

_PIXEL_TAGS = (el.PIXELS, el.FLOAT_PIXELS, el.DOUBLE_PIXELS)


@dataclass(frozen=True)
class Document:
    """A file that passed every check: the headers of its frames, and where the pixel data is.

    ``body`` holds the data set, inflated if need be; the value of the pixel data is ``length`` bytes from
    ``offset``, or fragments up to a delimiter where ``length`` is undefined.
    """

    headers: tuple[ImageHeader, ...]
    body: bytes | bytearray
    offset: int
    length: int
    pixel_vr: str

    @property
    def is_native(self) -> bool:
        """Whether the pixels lie in ``body`` as they are, little-endian."""
        syntax = SYNTAXES[self.headers[0].transfer_syntax]
        return not (syntax.compressed or syntax.big_endian)

    @cached_property
    def pixel_data(self) -> bytes:
        """The value of the pixel data; a copy, which decoding each of many frames would make again."""
        end = len(self.body) if self.length == el.UNDEFINED else self.offset + self.length
        return bytes(self.body[self.offset : end])

    def stored_values(self, frame: int) -> NDArray[Any]:
        """Return the stored values of one frame, (rows, columns), little-endian."""
        if self.is_native:
            return view_frame(self.body, self.offset, self.headers[frame], frame)
        return decode(self.pixel_data, self.pixel_vr, self.headers[frame])


def parse(data: bytes | bytearray, limits: Limits) -> Document:
    """Read and check a whole file."""
    found = native_reader.scan(bytes(data), len(data))
    if found is not None and found.is_compressed:
        header = found.header(limits)
        check_decodable(header)
        if check_fragments(data, found.offset, 1, header.transfer_syntax) == len(data):
            return Document((header,), data, found.offset, el.UNDEFINED, "OB")
    uid, body, start = data_set(data, limits)
    with only_image_errors("pydicom cannot read it"), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        watch = _Watch(start)
        dataset = _read(body, SYNTAXES[uid], watch, limits)
        header = checks.image_header(_elements(dataset, uid, watch, caught), limits)
        if el.MODALITY_LUT in dataset and len(dataset[el.MODALITY_LUT].value):
            raise ImageError("ModalityLUTSequence is not read; only RescaleSlope and RescaleIntercept are")
        headers = frame_headers(header, dataset)
        for frame in headers:
            checks.check_extent(frame, limits)  # a rescale of its own may have made it larger
        check_decodable(header)
    notes = _check_pixels(headers[0], body, watch, dataset)
    if bare_start(data) >= 0:
        notes = (*notes, "no-preamble")
    noted = tuple(each._replace(notes=each.notes + notes) for each in headers)
    return Document(noted, body, watch.offset, watch.length, watch.vr or "OW")


@dataclass(slots=True)
class _Watch:
    """Sees each top-level element before pydicom reads its value; stops at the pixel data.

    ``start`` is where the data set begins. ``tag`` (0 until they are met), ``vr``, ``length`` and ``offset`` are
    those of the pixel data.
    """

    start: int
    last: int = -1
    end: int = -1
    ordered: bool = True
    seen: set[int] = field(default_factory=set)
    tag: int = 0
    vr: str | None = None
    length: int = 0
    offset: int = 0

    def visit(self, tag: int, vr: str | None, length: int, position: int) -> bool:
        """Take note of the element whose value is at ``position``; True stops the reading."""
        if position < self.start + 8:
            return False  # pydicom asks about the first element before it has read its length
        if tag in _PIXEL_TAGS:
            self.tag, self.vr, self.length, self.offset = tag, vr, length, position
            return True
        if tag in self.seen:
            raise ImageError(f"{el.NAMES[tag]} is there twice")
        if tag in el.NAMES:
            self.seen.add(tag)
        self.ordered &= tag > self.last
        self.last = tag
        self.end = el.UNDEFINED if length == el.UNDEFINED else position + length
        return False


def _read(body: bytes | bytearray, syntax: Syntax, watch: _Watch, limits: Limits) -> Dataset:
    from pydicom.filereader import read_dataset

    start, most = watch.start, watch.start + limits.max_header_bytes
    if body[start : start + 4] == b"\xfe\xff\x0d\xe0" or body[start : start + 2] == b"\0\0":
        # pydicom would look for network commands here, in another encoding than the file's.
        raise ImageError("the data set begins with something that is no element of an image")
    stream = BytesIO(body[:most])
    stream.seek(start)
    dataset = read_dataset(
        stream,
        syntax.implicit,
        not syntax.big_endian,
        stop_when=lambda tag, vr, length: watch.visit(int(tag), vr, length, stream.tell()),
        specific_tags=[*el.VRS, *el.SEQUENCES, el.OFFSETS, el.OFFSET_LENGTHS],
    )
    if not watch.tag and len(body) > most:
        raise ImageError(
            f"no pixel data within {limits.max_header_bytes} bytes; `max_header_bytes` allows more"
        )
    if not watch.tag:
        whole = watch.end in (len(body), el.UNDEFINED) and stream.tell() == len(body)
        raise ImageError(
            "it holds no image: PixelData is missing" if whole else "the file ends within its header"
        )
    if watch.tag != el.PIXELS:
        raise ImageError("the pixels are floating-point numbers, which are not read")
    return dataset


def _elements(
    dataset: Dataset, uid: str, watch: _Watch, caught: list[warnings.WarningMessage]
) -> el.Elements:
    from pydicom.charset import decode_bytes
    from pydicom.valuerep import TEXT_VR_DELIMS

    found: dict[int, bytes] = {}
    for tag, vr in el.VRS.items():
        if tag in dataset:
            with suppress(ImageError) if tag in el.DESCRIBING else nullcontext():
                found[tag] = raw(dataset, el.NAMES[tag], vr)
    encodings = encodings_of(dataset)
    name, patient = (
        values.text(decode_bytes(found.get(tag, b""), encodings, TEXT_VR_DELIMS))
        for tag in (el.MANUFACTURER, el.PATIENT_ID)
    )
    if patient is None:  # it still tells one patient from another
        patient = ascii(found[el.PATIENT_ID])
    texts = (str(item.message) for item in caught)
    notes = {"vr-mismatch" if text.startswith("Expected ") else "pydicom-warning" for text in texts}
    if name is None:
        notes.add("bad-manufacturer")
    if not watch.ordered:
        notes.add("unordered-elements")
    big_endian = dataset.original_encoding[1] is False
    shared = tuple(map(found.get, el.SHARED))
    return el.Elements(uid, shared, found, name or "", patient, big_endian, tuple(sorted(notes)))


def _check_pixels(
    header: ImageHeader, body: bytes | bytearray, watch: _Watch, dataset: Dataset
) -> tuple[str, ...]:
    """Pixel data is as long as the header says, all of it is there, and nothing but elements or zeros follow it."""
    notes: tuple[str, ...] = ()
    syntax = SYNTAXES[header.transfer_syntax]
    if watch.vr not in (None, "OB", "OW", "UN"):
        raise ImageError("PixelData has a value representation other than OB and OW")
    if syntax.compressed != (watch.length == el.UNDEFINED):
        state = "compressed" if watch.length == el.UNDEFINED else "not compressed"
        raise ImageError(f"the pixel data is {state}, but the transfer syntax is {syntax.name}")
    if syntax.compressed:
        tables = [raw(dataset, keyword) for keyword in ("ExtendedOffsetTable", "ExtendedOffsetTableLengths")]
        end = check_fragments(body, watch.offset, header.frames, header.transfer_syntax, tables)
    else:
        notes = checks.check_length(header, watch.length)
        end = watch.offset + watch.length
    if end > len(body):
        raise ImageError(f"the file ends {end - len(body)} bytes before the end of its pixel data")
    tail = body[end:]
    if tail and tail.count(0) == len(tail):
        return (*notes, "trailing-zeros")
    if tail and not _are_elements(tail, watch.vr is None, not syntax.big_endian):
        raise ImageError(f"{len(tail)} bytes follow the pixel data and are no DICOM elements")
    return notes


def _are_elements(tail: bytes | bytearray, implicit: bool, little_endian: bool) -> bool:
    """Tell whether the bytes are elements in ascending order that may stand behind the pixel data."""
    from pydicom.filereader import data_element_generator

    stream = BytesIO(tail)
    last, length = el.PIXELS, 0
    with only_image_errors("it cannot be read behind its pixel data"):
        for item in data_element_generator(stream, implicit, little_endian):
            if item.tag <= last or item.tag >> 16 == 0xFFFE:
                return False
            last = item.tag
            length = getattr(item, "length", el.UNDEFINED)
            if length != el.UNDEFINED and len(item.value or b"") != length:
                return False
    return last != el.PIXELS and stream.tell() == len(tail)
