"""The DICOM data elements that are read, and what a lane hands over: every other element stays in the file.

A value is kept as the bytes of the file; `values` turns bytes into numbers and text, for both lanes alike.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

TRANSFER_SYNTAX = 0x00020010
CHARACTER_SET = 0x00080005
SOP_CLASS = 0x00080016
INSTANCE_UID = 0x00080018
ACQUISITION_TIME = 0x00080032
MANUFACTURER = 0x00080070
SERIES_DESCRIPTION = 0x0008103E
PATIENT_ID = 0x00100020
FIELD_STRENGTH = 0x00180087
TRIGGER_TIME = 0x00181060
STUDY_UID = 0x0020000D
SERIES_UID = 0x0020000E
SERIES_NUMBER = 0x00200011
INSTANCE_NUMBER = 0x00200013
POSITION = 0x00200032
ORIENTATION = 0x00200037
FRAME_OF_REFERENCE = 0x00200052
TEMPORAL_POSITION = 0x00200100
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
OFFSETS = 0x7FE00001
OFFSET_LENGTHS = 0x7FE00002
PIXELS = 0x7FE00010

NAMES: Mapping[int, str] = {
    TRANSFER_SYNTAX: "TransferSyntaxUID",
    CHARACTER_SET: "SpecificCharacterSet",
    SOP_CLASS: "SOPClassUID",
    INSTANCE_UID: "SOPInstanceUID",
    ACQUISITION_TIME: "AcquisitionTime",
    MANUFACTURER: "Manufacturer",
    SERIES_DESCRIPTION: "SeriesDescription",
    PATIENT_ID: "PatientID",
    FIELD_STRENGTH: "MagneticFieldStrength",
    TRIGGER_TIME: "TriggerTime",
    STUDY_UID: "StudyInstanceUID",
    SERIES_UID: "SeriesInstanceUID",
    SERIES_NUMBER: "SeriesNumber",
    INSTANCE_NUMBER: "InstanceNumber",
    POSITION: "ImagePositionPatient",
    ORIENTATION: "ImageOrientationPatient",
    FRAME_OF_REFERENCE: "FrameOfReferenceUID",
    TEMPORAL_POSITION: "TemporalPositionIdentifier",
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
    SOP_CLASS: "UI",
    INSTANCE_UID: "UI",
    ACQUISITION_TIME: "TM",
    MANUFACTURER: "LO",
    SERIES_DESCRIPTION: "LO",
    PATIENT_ID: "LO",
    FIELD_STRENGTH: "DS",
    TRIGGER_TIME: "DS",
    STUDY_UID: "UI",
    SERIES_UID: "UI",
    SERIES_NUMBER: "IS",
    INSTANCE_NUMBER: "IS",
    POSITION: "DS",
    ORIENTATION: "DS",
    FRAME_OF_REFERENCE: "UI",
    TEMPORAL_POSITION: "IS",
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
    SOP_CLASS,
    SERIES_DESCRIPTION,
    PATIENT_ID,
    STUDY_UID,
    SERIES_UID,
    SERIES_NUMBER,
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

DESCRIBING = (
    SOP_CLASS,
    ACQUISITION_TIME,
    SERIES_DESCRIPTION,
    STUDY_UID,
    SERIES_NUMBER,
    FRAME_OF_REFERENCE,
    TEMPORAL_POSITION,
)
"""Elements that only tell which images belong together: a value that cannot be read is unknown, and costs no image."""

SEQUENCES = (MODALITY_LUT, SHARED_GROUPS, FRAME_GROUPS)
"""Sequences that matter only when they are not empty."""


class Elements(NamedTuple):
    """What a lane found before the pixel data.

    Parameters
    ----------
    shared : tuple of bytes or None
        Value bytes of the elements `SHARED`, None for those that are not there.
    values : dict of int to bytes
        Value bytes of the elements of `VRS` that are there; those of `SHARED` may be left out.
    manufacturer, patient_id : str
        Free texts, decoded, since that needs the character set.
    byteorder : {"little", "big"}
        Of binary values.
    """

    syntax: str
    shared: tuple[bytes | None, ...]
    values: dict[int, bytes]
    manufacturer: str
    patient_id: str = ""
    big_endian: bool = False
    notes: tuple[str, ...] = ()
