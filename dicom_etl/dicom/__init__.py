"""DICOM files to headers and pixels: the only place that reads DICOM images.

Reading is strict: what is not by the book in a way that could change a pixel, a position or a pairing is an
`ImageError` of one line, without any text from the header. Everything else is accepted, and noted.

Two lanes read a file. `native_reader` takes what is structured plainly, in this process and without pydicom. What it
declines goes to `pydicom_reader`, pydicom's lane, which runs in a child process (`decoder`), so that a file which
hangs or crashes a parser or a codec costs one image. What starts that process is imported for the first such file.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from threading import get_ident
from typing import Any

from numpy.typing import NDArray

from dicom_etl.dicom import files, native_reader
from dicom_etl.dicom.checks import NOTES, check_frame
from dicom_etl.dicom.files import DEFAULT, Limits, WholeFile
from dicom_etl.dicom.pixels import has_codec, modality_values, stored_dtype, view_frame
from dicom_etl.dicom.syntaxes import DELIMITER, SYNTAXES, media_class
from dicom_etl.errors import ImageError
from dicom_etl.records import FileStamp, Image, ImageHeader

__all__ = [
    "NOTES",
    "Limits",
    "announce",
    "read_listed_headers",
    "read_planned",
    "sop_class_of",
    "stored_dtype",
]

_FIRST_READ = 16 * 1024
_GROWTH = 16


def sop_class_of(path: Path | str) -> str:
    """Return the SOP Class UID that the file meta information states, "" where there is none or no such file."""
    try:
        return media_class(files.read_start(path, _FIRST_READ))
    except ImageError:
        return ""


def read_listed_headers(path: Path | str, limits: Limits) -> tuple[tuple[ImageHeader, ...], FileStamp]:
    """Return the header of each frame of a file whose folder was listed, and what `read_planned` knows the file by.

    Of a plain file only the beginning is read, any other file whole.
    """
    descriptor, status = files.open_listed(path)
    size = status.st_size
    try:
        data = files.read_exactly(descriptor, min(size, _FIRST_READ))
        while True:
            try:
                found = native_reader.scan(data, size)
                break
            except native_reader.NeedMoreError:
                files.check_size(size, limits)
                data += files.read_exactly(descriptor, min(size, len(data) * _GROWTH) - len(data))
        if found is not None and (not found.is_compressed or _ends_with_delimiter(descriptor, size)):
            header = found.header(limits)
            if not found.is_compressed or has_codec(header):
                offset = -1 if found.is_compressed else found.offset
                return (header,), (size, status.st_mtime_ns, offset)
        files.check_size(size, limits)
        data += files.read_exactly(descriptor, size - len(data))
    finally:
        os.close(descriptor)
    from dicom_etl.dicom import decoder

    return decoder.read_headers(data, limits), (size, status.st_mtime_ns, -1)


def _ends_with_delimiter(descriptor: int, size: int) -> bool:
    """Tell whether a file ends as the last fragment of compressed pixels does, so that nothing of it is cut off."""
    return os.pread(descriptor, len(DELIMITER), max(0, size - len(DELIMITER))) == DELIMITER


def read_planned(path: Path | str, planned: ImageHeader, stamp: FileStamp, limits: Limits) -> Image:
    """Read a frame whose header was read before: its header, its pixels after the modality LUT, the file's SHA-256.

    Where size and time of change are still those of ``stamp``, the header is ``planned`` itself, and not parsed again
    (15 us a file); else it is to be compared by the caller. The file is read once, also for all of its frames when they
    are asked for one after the other. The pixels are (rows, columns) of dtype `stored_dtype`; they may be a read-only
    view of the file's bytes.
    """
    file = files.read_whole(path, limits)
    offset = stamp[2]
    if offset >= 0 and file.identity[2:4] == stamp[:2]:
        header, pixels = planned, modality_values(view_frame(file.data, offset, planned, 0), planned)
    else:
        header, pixels = frame_of(file, planned.frame, limits)
        if header.frames > 1:
            files.keep(file)
    image = Image(header, pixels, file.digest)
    if (following := _announced.pop(get_ident(), None)) is not None:
        _begin(*following)
    return image


_announced: dict[int, tuple[Path | str, Limits]] = {}
"""By thread, the image that is asked for next."""


def announce(path: Path | str, planned: ImageHeader, limits: Limits) -> None:
    """Say which image this thread asks for after the next `read_planned`; a compressed one is then decoded ahead."""
    if planned.frames == 1 and SYNTAXES[planned.transfer_syntax].compressed:
        _announced[get_ident()] = path, limits


def _begin(path: Path | str, limits: Limits) -> None:
    from dicom_etl.dicom import decoder

    with suppress(ImageError):  # which reading it will raise
        file = files.read_whole(path, limits)
        files.keep(file)
        decoder.begin_frame(file.data, file.digest, 0, limits)


def frame_of(file: WholeFile, frame: int = 0, limits: Limits = DEFAULT) -> tuple[ImageHeader, NDArray[Any]]:
    """Return header and pixels of one frame of a file that was read."""
    found = native_reader.scan(file.data, len(file.data))
    if found is None or found.is_compressed:
        from dicom_etl.dicom import decoder

        header, stored = decoder.read_frame(file.data, file.digest, frame, limits)
    else:
        header = found.header(limits)
        check_frame(frame, 1)
        stored = view_frame(file.data, found.offset, header, 0)
    return header, modality_values(stored, header)
