"""Builders of DICOM objects that hold labels."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.uid import UID, RLELossless
from pydicom.valuerep import format_number_as_ds

from dicom_etl.geometry.locations import to_patient
from dicom_etl.records import FloatArray, ImageHeader
from tests.builders import _encode, uid, write_dicom

RT_STRUCTURE_SET = "1.2.840.10008.5.1.4.1.1.481.3"
FRAME = "1.2.826.0.1.3680043.8.498.99"


class Contour(NamedTuple):
    """One ring of an ROI: vertices x,y on the pixels of an image, or x,y,z in mm."""

    points: FloatArray
    image: ImageHeader | None = None
    kind: str = "CLOSED_PLANAR"
    uid: str = ""
    frame: int | None = None
    stated: int | None = None


class Roi(NamedTuple):
    """One structure of a structure set."""

    number: int
    name: str
    contours: Sequence[Contour]
    frame_of_reference: str = FRAME


def place(path: Path, image: ImageHeader, number: int = 1, **header: Any) -> str:
    """Write an image that lies where a header says, and return its UID."""
    name = str(header.pop("SOPInstanceUID", uid("instance", path)))
    pixels = np.random.default_rng(number).integers(0, 255, (image.rows, image.columns)).astype(np.int16)
    write_dicom(
        path,
        pixels,
        SOPInstanceUID=name,
        InstanceNumber=number,
        PixelSpacing=[format_number_as_ds(float(value)) for value in image.pixel_spacing_mm],
        ImagePositionPatient=[format_number_as_ds(float(value)) for value in image.position_mm],
        ImageOrientationPatient=[format_number_as_ds(float(value)) for value in image.orientation],
        **{"FrameOfReferenceUID": FRAME, "PatientID": "P", **header},
    )
    return name


def structure_set(path: Path, rois: Sequence[Roi], syntax: str = "1.2.840.10008.1.2", **header: Any) -> Path:
    """Write an RT Structure Set."""
    ds = Dataset()
    ds.SOPClassUID, ds.SOPInstanceUID = RT_STRUCTURE_SET, uid("rtstruct", path)
    ds.Modality, ds.PatientID, ds.StructureSetLabel = "RTSTRUCT", "P", "set"
    ds.StructureSetROISequence = [_named(roi) for roi in rois]
    ds.ROIContourSequence = [_drawn(roi) for roi in rois if roi.contours]
    for keyword, value in header.items():
        setattr(ds, keyword, value)
    path.parent.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom tells of long values that it writes as UN
        path.write_bytes(_encode(ds, UID(syntax)))
    return path


def _named(roi: Roi) -> Dataset:
    item = Dataset()
    item.ROINumber, item.ROIName = roi.number, roi.name
    item.ReferencedFrameOfReferenceUID = roi.frame_of_reference
    return item


def _drawn(roi: Roi) -> Dataset:
    item = Dataset()
    item.ReferencedROINumber = roi.number
    item.ContourSequence = [_contour(contour) for contour in roi.contours]
    return item


def _contour(contour: Contour) -> Dataset:
    item = Dataset()
    points = contour.points if contour.image is None else to_patient(contour.points, contour.image)
    item.ContourGeometricType = contour.kind
    item.NumberOfContourPoints = len(points) if contour.stated is None else contour.stated
    item.ContourData = [f"{value:.10g}"[:16] for value in points.ravel().tolist()]
    if contour.uid:
        reference = Dataset()
        reference.ReferencedSOPClassUID = "1.2.840.10008.5.1.4.1.1.4"
        reference.ReferencedSOPInstanceUID = contour.uid
        if contour.frame is not None:
            reference.ReferencedFrameNumber = contour.frame
        item.ContourImageSequence = [reference]
    return item


class Segment(NamedTuple):
    """One frame of a segmentation: which segment, its mask (or fractions 0 to 1), its plane, and its source image."""

    number: int
    label: str
    mask: NDArray[Any]
    plane: ImageHeader
    uid: str
    frame: int | None = None


def segmentation(
    path: Path,
    segments: Sequence[Segment],
    kind: str = "BINARY",
    syntax: str = "1.2.840.10008.1.2.1",
    most: int = 255,
    **header: Any,
) -> Path:
    """Write a DICOM SEG; a LABELMAP has one frame for all segments of one source."""
    ds = Dataset()
    label_map = kind == "LABELMAP"
    ds.SOPClassUID = "1.2.840.10008.5.1.4.1.1.66.7" if label_map else "1.2.840.10008.5.1.4.1.1.66.4"
    ds.SOPInstanceUID, ds.Modality, ds.PatientID = uid("seg", path), "SEG", "P"
    ds.FrameOfReferenceUID, ds.SegmentationType = FRAME, kind
    if kind == "FRACTIONAL":
        ds.MaximumFractionalValue = most
    names = {segment.number: segment.label for segment in segments}
    ds.SegmentSequence = [
        _segment(*item) for item in ([(0, "Background")] if label_map else []) + [*names.items()]
    ]
    frames = list({segment.uid: segment for segment in segments}.values()) if label_map else list(segments)
    ds.Rows, ds.Columns = segments[0].mask.shape
    ds.NumberOfFrames, ds.SamplesPerPixel, ds.PhotometricInterpretation = len(frames), 1, "MONOCHROME2"
    bits = 1 if kind == "BINARY" else 8
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = bits, bits, bits - 1, 0
    ds.SharedFunctionalGroupsSequence = [Dataset()]
    ds.PerFrameFunctionalGroupsSequence = [_group(frame, label_map=label_map) for frame in frames]
    if label_map:
        maps = [
            sum(other.mask * other.number for other in segments if other.uid == frame.uid) for frame in frames
        ]
        data = np.array(maps).astype(np.uint8).tobytes()
    elif kind == "FRACTIONAL":
        data = np.round(np.array([frame.mask for frame in frames]) * most).astype(np.uint8).tobytes()
    else:
        data = np.packbits(np.array([frame.mask for frame in frames]).ravel(), bitorder="little").tobytes()
    ds.add_new("PixelData", "OB", data + b"\0" * (len(data) % 2))
    for keyword, value in header.items():
        setattr(ds, keyword, value)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(_encode(ds, RLELossless if syntax == "rle" else UID(syntax)))
    return path


def _segment(number: int, label: str) -> Dataset:
    item = Dataset()
    item.SegmentNumber, item.SegmentLabel = number, label
    return item


def _group(segment: Segment, *, label_map: bool) -> Dataset:
    group = Dataset()
    position, orientation, measures = Dataset(), Dataset(), Dataset()
    position.ImagePositionPatient = [format_number_as_ds(float(value)) for value in segment.plane.position_mm]
    orientation.ImageOrientationPatient = [
        format_number_as_ds(float(value)) for value in segment.plane.orientation
    ]
    measures.PixelSpacing = [format_number_as_ds(float(value)) for value in segment.plane.pixel_spacing_mm]
    group.PlanePositionSequence, group.PlaneOrientationSequence = [position], [orientation]
    group.PixelMeasuresSequence = [measures]
    if not label_map:
        number = Dataset()
        number.ReferencedSegmentNumber = segment.number
        group.SegmentIdentificationSequence = [number]
    if segment.uid:
        derivation, source = Dataset(), Dataset()
        source.ReferencedSOPInstanceUID = segment.uid
        if segment.frame is not None:
            source.ReferencedFrameNumber = segment.frame
        derivation.SourceImageSequence = [source]
        group.DerivationImageSequence = [derivation]
    return group
