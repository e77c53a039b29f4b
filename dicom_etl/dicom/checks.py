"""The verdicts on one image: from the elements that a lane found to an `ImageHeader`, or to one clear error.

Each check is a function whose docstring is the rule. Messages hold element names and sizes, never a text from
the header.
"""

from __future__ import annotations

from functools import lru_cache
from math import inf, isnan, nan

import numpy as np

from dicom_etl.dicom import elements as el
from dicom_etl.dicom import values as read
from dicom_etl.dicom.files import Limits
from dicom_etl.dicom.pixels import STORED_DTYPES, is_rescaled
from dicom_etl.errors import ImageError
from dicom_etl.records import ImageHeader

NOTES = {
    "invalid-uid": "a UID breaks the rules for UIDs, for instance by leading zeros",
    "inverted": "MONOCHROME1 pixels were inverted, so that larger means brighter",
    "bad-field-strength": "MagneticFieldStrength is not a number of teslas and was left out",
    "bad-trigger-time": "the trigger time is not a number of milliseconds and was left out",
    "bad-manufacturer": "Manufacturer is not printable text of at most 64 characters and was left out",
    "vr-mismatch": "the data elements are not encoded as the transfer syntax says",
    "unordered-elements": "the data elements are not in the order of their tags",
    "pydicom-warning": "pydicom warned of something else",
    "frame-order": "the frames are stored in another order than their index says, or nothing says one",
    "padded-pixels": "the pixel data is longer than rows x columns say; the rest is padding and was left out",
    "trailing-zeros": "zeros follow the data set",
    "no-preamble": "the file is a bare data set without preamble and file meta information",
    "text-number": "InstanceNumber is a whole number written with a decimal point",
    "text-uid": "SeriesInstanceUID is text and no UID; it groups images as it stands",
    "highbit-absent": "HighBit is absent and was taken as BitsStored - 1",
}
"""What each kind of oddity in ``ImageHeader.notes`` means."""

_GREY = ("MONOCHROME1", "MONOCHROME2")
_YBR = ("YBR_FULL", "YBR_FULL_422", "YBR_PARTIAL_420", "YBR_ICT", "YBR_RCT")
_COLOURS = ("RGB", "PALETTE COLOR", "XYB", *_YBR)
_NUMBERS = tuple(tag for tag, vr in el.VRS.items() if vr == "US")
_COSINE_TOLERANCE = 0.01
_SPACING_MM = (1e-4, 1e3)
_FARTHEST_MM = 1e6
MOST_MS = 1e7
_DESCRIBING = {
    el.TRIGGER_TIME: (-MOST_MS, MOST_MS, "bad-trigger-time"),
    # Field strengths in gauss are found in real files, and stay as they are.
    el.FIELD_STRENGTH: (0, 1e5, "bad-field-strength"),
}
"""By element that only describes: least and most, and what another value is noted as."""
_NO_PAIR, _NO_PLACE, _NO_COSINES = (nan, nan), (nan, nan, nan), (nan, nan, nan, nan, nan, nan)
_LEAST_SLOPE = 1e-20
_FLOAT32_MAX = float(np.finfo(np.float32).max)


def image_header(found: el.Elements, limits: Limits) -> ImageHeader:
    """Check every element that was found and return the header they make."""
    values = found.values
    shared = _shared_header(found.big_endian, found.shared)
    notes = [*found.notes, *shared.notes]
    instance_uid, valid = read.identifier(values, el.INSTANCE_UID)
    if not valid and "invalid-uid" not in notes:
        notes.append("invalid-uid")
    time_ms = _describing(values, el.TRIGGER_TIME, notes)
    number, exact = read.whole(values, el.INSTANCE_NUMBER)
    if not exact:
        notes.append("text-number")
    header = shared._replace(
        instance_number=number,
        transfer_syntax=found.syntax,
        position_mm=position(values),
        trigger_time_ms=time_ms,
        manufacturer=found.manufacturer,
        instance_uid=instance_uid,
        notes=tuple(notes),
        patient_id=found.patient_id,
        acquisition_time=read.label(values.get(el.ACQUISITION_TIME, b"")),
        frame_of_reference_uid=read.label(values.get(el.FRAME_OF_REFERENCE, b"")),
        temporal_position=read.count(values.get(el.TEMPORAL_POSITION, b"")),
    )
    check_extent(header, limits)
    return header


# The images of a series share these values, so they are checked once a series; a refusal is not remembered.
@lru_cache(maxsize=64)
def _shared_header(big_endian: bool, shared: tuple[bytes | None, ...]) -> ImageHeader:
    values = {tag: value for tag, value in zip(el.SHARED, shared, strict=True) if value is not None}
    notes: list[str] = []
    if not values.get(el.HIGH_BIT):
        high = max(read.unsigned(values, el.BITS_STORED, big_endian) - 1, 0)
        values[el.HIGH_BIT] = high.to_bytes(2, "big" if big_endian else "little")
        notes.append("highbit-absent")
    number = {tag: read.unsigned(values, tag, big_endian) for tag in _NUMBERS}
    photometric = read.code(values, el.PHOTOMETRIC)
    _check_grey(photometric, number[el.SAMPLES])
    _check_bits(number)
    slope, intercept = rescale(values)
    series_uid = _series_uid(values, notes)
    if photometric == "MONOCHROME1":
        notes.append("inverted")
    return ImageHeader(
        rows=number[el.ROWS],
        columns=number[el.COLUMNS],
        frames=read.integer(values, el.FRAMES, 1),
        photometric=photometric,
        bits_allocated=number[el.BITS_ALLOCATED],
        bits_stored=number[el.BITS_STORED],
        pixel_representation=number[el.REPRESENTATION],
        rescale_slope=slope,
        rescale_intercept=intercept,
        pixel_spacing_mm=spacing(values),
        orientation=orientation(values),
        field_strength_t=_describing(values, el.FIELD_STRENGTH, notes),
        series_uid=series_uid,
        study_uid=read.label(values.get(el.STUDY_UID, b"")),
        series_number=read.count(values.get(el.SERIES_NUMBER, b"")),
        series_description=read.label(values.get(el.SERIES_DESCRIPTION, b"")),
        sop_class=read.label(values.get(el.SOP_CLASS, b"")),
        notes=tuple(notes),
    )


def _series_uid(values: dict[int, bytes], notes: list[str]) -> str:
    """SeriesInstanceUID only groups: text that is no UID groups as well, and is noted."""
    try:
        uid, valid = read.identifier(values, el.SERIES_UID)
    except ImageError:
        text = values[el.SERIES_UID].strip(b" \0")
        if len(text) > read.MAX_TEXT or not (text.isascii() and text.decode("ascii").isprintable()):
            raise
        notes.append("text-uid")
        return text.decode("ascii")
    if not valid:
        notes.append("invalid-uid")
    return uid


def _check_grey(photometric: str, samples: int) -> None:
    """Only grey images are read: MONOCHROME1 or MONOCHROME2 with one sample a pixel."""
    if photometric in _COLOURS:
        raise ImageError(f"the image is in colour ({photometric}); only MONOCHROME1 and MONOCHROME2 are read")
    if photometric not in _GREY:
        state = "not a known one" if photometric else "missing"
        raise ImageError(f"PhotometricInterpretation is {state}; MONOCHROME1 and MONOCHROME2 are read")
    if samples != 1:
        raise ImageError(f"SamplesPerPixel is {samples}; only 1 is read")


def _check_bits(number: dict[int, int]) -> None:
    """8, 16 or 32 bits are allocated, the stored ones fit in, and the highest is the last of the stored."""
    allocated, stored = number[el.BITS_ALLOCATED], number[el.BITS_STORED]
    high, representation = number[el.HIGH_BIT], number[el.REPRESENTATION]
    if representation > 1:
        raise ImageError(f"PixelRepresentation is {representation}; it must be 0 or 1")
    if (allocated, representation) not in STORED_DTYPES:
        raise ImageError(f"BitsAllocated is {allocated}; 8, 16 and 32 are read")
    if not 1 <= stored <= allocated:
        raise ImageError(f"BitsStored is {stored}, which does not fit into BitsAllocated {allocated}")
    if high != stored - 1:
        raise ImageError(f"HighBit is {high}; with BitsStored {stored} it must be {stored - 1}")


def rescale(values: dict[int, bytes]) -> tuple[float, float]:
    """RescaleSlope is finite and not 0, RescaleIntercept is finite; without both they are 1 and 0.

    One without the other is refused: some readers would apply it, and some, pydicom among them, would not.
    """
    slope, intercept = read.decimal(values, el.SLOPE), read.decimal(values, el.INTERCEPT)
    if isnan(slope) and isnan(intercept):
        return 1.0, 0.0
    if isnan(slope) or isnan(intercept):
        missing, there = (el.SLOPE, el.INTERCEPT) if isnan(slope) else (el.INTERCEPT, el.SLOPE)
        raise ImageError(f"{el.NAMES[there]} is there without {el.NAMES[missing]}")
    if abs(slope) < _LEAST_SLOPE:
        raise ImageError(f"RescaleSlope is {slope:g}, which would make all pixels the same")
    if abs(slope) * 2**32 + abs(intercept) > _FLOAT32_MAX:
        raise ImageError("RescaleSlope and RescaleIntercept lead out of the range of float32")
    return slope, intercept


def spacing(values: dict[int, bytes]) -> tuple[float, float]:
    """PixelSpacing is two positive numbers that can be a distance of pixels in mm, or absent."""
    pair = read.decimals(values, el.SPACING, _NO_PAIR)
    if pair[0] <= 0 or pair[1] <= 0:
        raise ImageError("PixelSpacing is not positive")
    least, most = _SPACING_MM
    if not (isnan(pair[0]) or (least <= min(pair) and max(pair) <= most)):
        raise ImageError(f"PixelSpacing is {pair[0]:g} and {pair[1]:g} mm; {least:g} to {most:g} are read")
    return pair


def position(values: dict[int, bytes]) -> tuple[float, float, float]:
    """ImagePositionPatient is three numbers that can be a place in mm, or absent."""
    place = read.decimals(values, el.POSITION, _NO_PLACE)
    if max(map(abs, place)) > _FARTHEST_MM:
        raise ImageError(
            f"ImagePositionPatient is {max(map(abs, place)):g} mm away; up to {_FARTHEST_MM:g} is read"
        )
    return place


def orientation(values: dict[int, bytes]) -> tuple[float, float, float, float, float, float]:
    """ImageOrientationPatient is two perpendicular unit vectors, within 0.01, or absent (C.7.6.2.1.1)."""
    a, b, c, d, e, f = cosines = read.decimals(values, el.ORIENTATION, _NO_COSINES)
    off = max(abs(a * a + b * b + c * c - 1), abs(d * d + e * e + f * f - 1), abs(a * d + b * e + c * f))
    if off > _COSINE_TOLERANCE:
        raise ImageError("ImageOrientationPatient is not two perpendicular unit vectors")
    return cosines


def _describing(values: dict[int, bytes], tag: int, notes: list[str]) -> float:
    """Return a number that only describes: NaN where it is absent, or bad, which is noted."""
    least, most, note = _DESCRIBING[tag]
    try:
        number = read.decimal(values, tag)
    except ImageError:
        number = inf
    if least <= number <= most or isnan(number):
        return number
    notes.append(note)
    return nan


def check_extent(header: ImageHeader, limits: Limits) -> None:
    """Rows, columns and frames are there, and one frame stays under the limit."""
    if not (header.rows and header.columns):
        raise ImageError(f"the image is empty: {header.rows} rows x {header.columns} columns")
    if header.frames < 1:
        raise ImageError(f"NumberOfFrames is {header.frames}; it must be at least 1")
    pixel = header.bits_allocated // 8
    size = header.rows * header.columns * (max(pixel, 4) if is_rescaled(header) else pixel)  # float32 then
    if size > limits.max_image_bytes:
        raise ImageError(
            f"the image of {header.rows} x {header.columns} pixels takes {size} bytes, more than "
            f"{limits.max_image_bytes}; `max_image_bytes` allows more"
        )


def check_length(header: ImageHeader, length: int) -> tuple[str, ...]:
    """Uncompressed pixel data is as long as rows x columns x frames say, or longer by padding, which is noted.

    Receivers are told to accept padding (PS3.5, 8.1.1); as much as a frame more would be another image.
    """
    expected = header.rows * header.columns * header.frames * (header.bits_allocated // 8)
    if length in (expected, expected + expected % 2):
        return ()
    if not expected < length < expected + expected // header.frames:
        raise ImageError(
            f"the pixel data is {length} bytes long; {header.rows} rows x {header.columns} columns x "
            f"{header.frames} frames x {header.bits_allocated // 8} bytes make {expected}"
        )
    return ("padded-pixels",)


def check_frame(frame: int, frames: int) -> None:
    """Refuse a frame that the file does not have."""
    if not 0 <= frame < frames:
        raise ImageError(f"there is no frame {frame}; the file has {frames}")
