"""What a file that cannot be read as an image still says: what kind of file it is, and of which image.

An image that is cut off keeps its place among the others, so that nothing else takes its labels. Lenient, bounded and
in this process: it walks over the elements at the start of the file and decodes no pixels.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from dicom_etl.dicom import elements as el
from dicom_etl.dicom import values as read
from dicom_etl.dicom.checks import image_header
from dicom_etl.dicom.files import DEFAULT, PREFIX_END, read_start
from dicom_etl.dicom.syntaxes import BIG_ENDIAN, DEFLATED, IMPLICIT, MEDIA_CLASS, bare_start
from dicom_etl.errors import ImageError
from dicom_etl.records import ImageHeader

_MOST_BYTES = 1 << 18
"""The headers of scanners take some kilobytes; a longer one counts as unknown."""
_PIXELS = b"\xe0\x7f\x10\0"
_WANTED = frozenset(el.VRS) | {MEDIA_CLASS, el.TRANSFER_SYNTAX}
_OBJECTS = {
    "1.2.840.10008.1.3.10": "a DICOMDIR",
    "1.2.840.10008.5.1.4.1.1.11.": "a presentation state",
    "1.2.840.10008.5.1.4.1.1.88.": "a structured report",
    "1.2.840.10008.5.1.4.1.1.66": "raw data",
    "1.2.840.10008.5.1.4.1.1.104.": "an encapsulated document",
    "1.2.840.10008.5.1.4.1.1.9.": "a waveform",
    "1.2.840.10008.5.1.4.1.1.481.": "a radiotherapy object",
    "1.2.840.10008.5.1.4.34.": "a worklist object",
    "1.3.12.2.1107.5.9.1": "a Siemens object that is no image",
}
"""DICOM objects without pixels, by what their SOP classes start with."""
_OTHERS = {
    b"\x1f\x8b": "a gzip archive; unpack it",
    b"PK\x03\x04": "a zip archive; unpack it",
    b"\xff\xd8\xff": "a JPEG picture",
    b"\x89PNG": "a PNG picture",
    b"%PDF": "a PDF document",
    b"": "no DICOM file",
}
"""Files that do not begin as DICOM does, by what they start with."""


class Glimpse(NamedTuple):
    """What was seen of a file: whether it begins as DICOM does, and whether pixel data begins in it.

    ``header`` is that of an image, where it is there up to the pixel data; ``kind`` says in words what is plainly no
    image. Texts are "" where they are unknown.
    """

    is_dicom: bool
    has_pixels: bool = False
    header: ImageHeader | None = None
    kind: str = ""
    patient_id: str = ""
    study_uid: str = ""


def glimpse(path: Path | str) -> Glimpse:
    """Look at the start of a file; a file that cannot be opened says nothing and counts as DICOM."""
    try:
        data = read_start(path, _MOST_BYTES)
    except ImageError:
        return Glimpse(True)
    try:
        start = bare_start(data)
    except ImageError:
        kind = next(kind for start, kind in _OTHERS.items() if data.startswith(start))
        return Glimpse(False, kind=kind if data else "an empty file")
    values, has_pixels = _walk(data, PREFIX_END if start < 0 else start)
    sop_class = read.label(values.get(el.SOP_CLASS) or values.get(MEDIA_CLASS, b""))
    kind = next((kind for start, kind in _OBJECTS.items() if sop_class.startswith(start)), "")
    patient_id, study_uid = (read.label(values.get(tag, b"")) for tag in (el.PATIENT_ID, el.STUDY_UID))
    if not has_pixels:
        return Glimpse(True, False, None, kind, patient_id, study_uid)
    header = None  # where it does not pass the checks of one that is read
    with suppress(ImageError):
        shared = tuple(map(values.get, el.SHARED))
        header = image_header(el.Elements("", shared, values, "", patient_id), DEFAULT)
    return Glimpse(True, True, header, "", patient_id, study_uid)


def _walk(data: bytes, position: int) -> tuple[dict[int, bytes], bool]:
    found: dict[int, bytes] = {}
    vr = data[position + 4 : position + 6]  # of a bare data set; else of its meta information
    implicit = not vr.isalpha()
    steps = el.Steps()
    try:
        while True:
            if data[position : position + 2] != b"\2\0" and el.TRANSFER_SYNTAX in found:
                syntax = read.label(found.pop(el.TRANSFER_SYNTAX))
                if syntax in (DEFLATED, BIG_ENDIAN):
                    return found, False
                implicit = syntax == IMPLICIT
            if data[position : position + 4] == _PIXELS:
                return found, True
            tag, length, position = el.element_at(data, position, implicit)
            if length == el.UNDEFINED:
                position = el.skip_sequence(data, position, implicit, steps)
                continue
            if tag in _WANTED:
                found[tag] = data[position : position + length]
            position += length
    except (el.Odd, ImageError):
        return found, False
