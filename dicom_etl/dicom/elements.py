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

_TABLE: Mapping[int, tuple[str, str, str]] = {
    TRANSFER_SYNTAX: ("TransferSyntaxUID", "", ""),
    CHARACTER_SET: ("SpecificCharacterSet", "CS", ""),
    SOP_CLASS: ("SOPClassUID", "UI", "shared describing"),
    INSTANCE_UID: ("SOPInstanceUID", "UI", ""),
    ACQUISITION_TIME: ("AcquisitionTime", "TM", "describing"),
    MANUFACTURER: ("Manufacturer", "LO", ""),
    SERIES_DESCRIPTION: ("SeriesDescription", "LO", "shared describing"),
    PATIENT_ID: ("PatientID", "LO", "shared"),
    FIELD_STRENGTH: ("MagneticFieldStrength", "DS", "shared"),
    TRIGGER_TIME: ("TriggerTime", "DS", ""),
    STUDY_UID: ("StudyInstanceUID", "UI", "shared describing"),
    SERIES_UID: ("SeriesInstanceUID", "UI", "shared"),
    SERIES_NUMBER: ("SeriesNumber", "IS", "shared describing"),
    INSTANCE_NUMBER: ("InstanceNumber", "IS", ""),
    POSITION: ("ImagePositionPatient", "DS", ""),
    ORIENTATION: ("ImageOrientationPatient", "DS", "shared"),
    FRAME_OF_REFERENCE: ("FrameOfReferenceUID", "UI", "describing"),
    TEMPORAL_POSITION: ("TemporalPositionIdentifier", "IS", "describing"),
    SAMPLES: ("SamplesPerPixel", "US", "shared"),
    PHOTOMETRIC: ("PhotometricInterpretation", "CS", "shared"),
    FRAMES: ("NumberOfFrames", "IS", "shared"),
    ROWS: ("Rows", "US", "shared"),
    COLUMNS: ("Columns", "US", "shared"),
    SPACING: ("PixelSpacing", "DS", "shared"),
    BITS_ALLOCATED: ("BitsAllocated", "US", "shared"),
    BITS_STORED: ("BitsStored", "US", "shared"),
    HIGH_BIT: ("HighBit", "US", "shared"),
    REPRESENTATION: ("PixelRepresentation", "US", "shared"),
    INTERCEPT: ("RescaleIntercept", "DS", "shared"),
    SLOPE: ("RescaleSlope", "DS", "shared"),
    MODALITY_LUT: ("ModalityLUTSequence", "", ""),
    SHARED_GROUPS: ("SharedFunctionalGroupsSequence", "", ""),
    FRAME_GROUPS: ("PerFrameFunctionalGroupsSequence", "", ""),
    PIXELS: ("PixelData", "", ""),
}
"""By tag: keyword, value representation (DICOM PS3.6) where the value is read, and what is special about it."""

NAMES = {tag: name for tag, (name, _, _) in _TABLE.items()}
VRS = {tag: vr for tag, (_, vr, _) in _TABLE.items() if vr}
"""Elements whose value is read, with their value representation."""
SHARED = tuple(tag for tag, (_, _, marks) in _TABLE.items() if "shared" in marks)
"""Elements that have the same values in all images of a series, or nearly all."""
DESCRIBING = tuple(tag for tag, (_, _, marks) in _TABLE.items() if "describing" in marks)
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
    big_endian : bool
        Whether binary values are.
    """

    syntax: str
    shared: tuple[bytes | None, ...]
    values: dict[int, bytes]
    manufacturer: str
    patient_id: str = ""
    big_endian: bool = False
    notes: tuple[str, ...] = ()
