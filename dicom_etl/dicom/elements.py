"""The DICOM data elements that are read, and what a lane hands over: every other element stays in the file.

A value is kept as the bytes of the file; `values` turns bytes into numbers and text, for both lanes alike.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

TRANSFER_SYNTAX = 0x00020010
CHARACTER_SET = 0x00080005
INSTANCE_UID = 0x00080018
MANUFACTURER = 0x00080070
FIELD_STRENGTH = 0x00180087
TRIGGER_TIME = 0x00181060
SERIES_UID = 0x0020000E
INSTANCE_NUMBER = 0x00200013
POSITION = 0x00200032
ORIENTATION = 0x00200037
SAMPLES = 0x00280002
PHOTOMETRIC = 0x00280004
FRAMES = 0x00280008
ROWS = 0x00280010
COLUMNS = 0x00280011
SPACING = 0x00280030
BITS_ALLOCATED = 0x00280100
BITS_STORED = 0x00280101
HIGH_BIT = 0x00280102
REPRESENTATION = 0x00280103
INTERCEPT = 0x00281052
SLOPE = 0x00281053
MODALITY_LUT = 0x00283000
SHARED_GROUPS = 0x52009229
FRAME_GROUPS = 0x52009230
FLOAT_PIXELS = 0x7FE00008
DOUBLE_PIXELS = 0x7FE00009
PIXELS = 0x7FE00010

NAMES: Mapping[int, str] = {
    TRANSFER_SYNTAX: "TransferSyntaxUID",
    CHARACTER_SET: "SpecificCharacterSet",
    INSTANCE_UID: "SOPInstanceUID",
    MANUFACTURER: "Manufacturer",
    FIELD_STRENGTH: "MagneticFieldStrength",
    TRIGGER_TIME: "TriggerTime",
    SERIES_UID: "SeriesInstanceUID",
    INSTANCE_NUMBER: "InstanceNumber",
    POSITION: "ImagePositionPatient",
    ORIENTATION: "ImageOrientationPatient",
    SAMPLES: "SamplesPerPixel",
    PHOTOMETRIC: "PhotometricInterpretation",
    FRAMES: "NumberOfFrames",
    ROWS: "Rows",
    COLUMNS: "Columns",
    SPACING: "PixelSpacing",
    BITS_ALLOCATED: "BitsAllocated",
    BITS_STORED: "BitsStored",
    HIGH_BIT: "HighBit",
    REPRESENTATION: "PixelRepresentation",
    INTERCEPT: "RescaleIntercept",
    SLOPE: "RescaleSlope",
    MODALITY_LUT: "ModalityLUTSequence",
    SHARED_GROUPS: "SharedFunctionalGroupsSequence",
    FRAME_GROUPS: "PerFrameFunctionalGroupsSequence",
    PIXELS: "PixelData",
}

VRS: Mapping[int, str] = {
    CHARACTER_SET: "CS",
    INSTANCE_UID: "UI",
    MANUFACTURER: "LO",
    FIELD_STRENGTH: "DS",
    TRIGGER_TIME: "DS",
    SERIES_UID: "UI",
    INSTANCE_NUMBER: "IS",
    POSITION: "DS",
    ORIENTATION: "DS",
    SAMPLES: "US",
    PHOTOMETRIC: "CS",
    FRAMES: "IS",
    ROWS: "US",
    COLUMNS: "US",
    SPACING: "DS",
    BITS_ALLOCATED: "US",
    BITS_STORED: "US",
    HIGH_BIT: "US",
    REPRESENTATION: "US",
    INTERCEPT: "DS",
    SLOPE: "DS",
}
"""Elements whose value is read, with their value representation (DICOM PS3.6)."""

SHARED = (
    SERIES_UID,
    FIELD_STRENGTH,
    ORIENTATION,
    SAMPLES,
    PHOTOMETRIC,
    FRAMES,
    ROWS,
    COLUMNS,
    SPACING,
    BITS_ALLOCATED,
    BITS_STORED,
    HIGH_BIT,
    REPRESENTATION,
    INTERCEPT,
    SLOPE,
)
"""Elements that have the same values in all images of a series, or nearly all."""

SEQUENCES = (MODALITY_LUT, SHARED_GROUPS, FRAME_GROUPS)
"""Sequences that matter only when they are not empty."""


class Elements(NamedTuple):
    """What a lane found before the pixel data.

    Parameters
    ----------
    syntax : str
        Transfer syntax UID.
    shared : tuple of bytes or None
        Value bytes of the elements `SHARED`, None for those that are not there.
    values : dict of int to bytes
        Value bytes of the elements of `VRS` that are there; those of `SHARED` may be left out.
    manufacturer : str
        The one free text that is kept, decoded, since that needs the character set.
    byteorder : {"little", "big"}
        Of binary values.
    """

    syntax: str
    shared: tuple[bytes | None, ...]
    values: dict[int, bytes]
    manufacturer: str
    big_endian: bool = False
    notes: tuple[str, ...] = ()
