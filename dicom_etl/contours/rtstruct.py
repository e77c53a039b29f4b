"""RT Structure Sets: outlines in mm, of many structures on many images (DICOM PS3.3 A.19.3, C.8.8.5, C.8.8.6).

One label is what one ROI has on one image: its rings are filled even-odd, so a ring inside another is a hole. The
names of ROIs go by ReferencedROINumber. The file is parsed in the decoding child, once for all of its labels.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from dicom_etl.config import LabelOptions
from dicom_etl.config.kinds import name_key
from dicom_etl.contours.parsed import LabelFile, Listed, ManyLabels, Notes, parsed_in_child, runs
from dicom_etl.contours.rings import even_odd, on_image, ring_of, too_many
from dicom_etl.dicom import objects
from dicom_etl.dicom.files import Limits
from dicom_etl.errors import ContourError, ImageError
from dicom_etl.geometry.locations import OFF_PLANE_MM
from dicom_etl.geometry.polygons import polygon_area
from dicom_etl.records import FloatArray, ImageHeader, Instance, Issue, Plane, Rings, Target

if TYPE_CHECKING:
    from pydicom import Dataset

RT_STRUCTURE_SET = "1.2.840.10008.5.1.4.1.1.481.3"
_CLOSED = frozenset({"CLOSED_PLANAR", "CLOSEDPLANAR_XOR"})
_OPEN = frozenset({"POINT", "OPEN_PLANAR", "OPEN_NONPLANAR"})
_NUMBERS = re.compile(rb"[0-9+\-.eE \\]*\0?")
_FARTHEST_MM = 1e6
_SPECK_PX = 1 / 64
"""A ring narrower than this, beside others, is what cutting structures leaves behind."""
_LEAST_PX = 0.5
_NOWHERE = "unknown"
"""The frame of reference of an ROI that states none: no image has it."""
_PARALLEL = 0.9999
"""Least cosine between normals of rings that lie in one plane; tiny rings, rounded, state theirs badly."""


class _Contour(NamedTuple):
    """One item of a ContourSequence: ``number`` counts them within their ROI, from 1."""

    number: int
    points_mm: FloatArray
    kind: str
    uid: str
    frame: int | None
    problem: str


class _Roi(NamedTuple):
    number: int
    name: str
    frame_of_reference: str


class RTStructureSet(ManyLabels[tuple[_Contour, ...]]):
    """`ContourReader` for RTSTRUCT; a label is what an ROI has on a referenced image, else in a plane."""

    name = "rtstruct"
    accepts = frozenset({RT_STRUCTURE_SET})

    @parsed_in_child
    def labels(
        self, answer: dict[str, Any], payload: bytearray, path: str
    ) -> LabelFile[tuple[_Contour, ...]]:
        """Group contours into labels, and name what is left out."""
        points = np.frombuffer(payload, dtype="<f8").reshape(-1, 3)
        rois = [_Roi(*fields) for fields in answer["rois"]]
        labels: dict[str, Listed[tuple[_Contour, ...]]] = {}
        issues: list[Issue] = []
        for roi, listed in zip(rois, answer["contours"], strict=True):
            contours: list[_Contour] = []
            for number, (count, *fields) in enumerate(listed, start=1):
                contours.append(_Contour(number, points[:count], *fields))
                points = points[count:]
            issues += _left_out(roi, contours)
            usable = [each for each in contours if each.kind in _CLOSED and (each.uid or not each.problem)]
            for target, rings in _by_target(usable, roi):
                item = f"roi {roi.number} / contours {runs([ring.number for ring in rings])}"
                labels[item] = Listed(roi.name, target, rings)
        drawn = [roi for roi, listed in zip(rois, answer["contours"], strict=True) if listed]
        issues += _about_rois(drawn, rois)
        return LabelFile(labels, answer["patient_id"], tuple(issues))

    def rings(
        self, drawn: tuple[_Contour, ...], image: ImageHeader, notes: Notes, options: LabelOptions
    ) -> Rings:
        """Bring the rings of a label into the pixel frame of its image."""
        rings: list[FloatArray] = []
        for contour in drawn:
            if contour.problem:
                raise ContourError(f"contour {contour.number}: {contour.problem}")
            pixels = on_image(contour.points_mm, image, f"contour {contour.number} lies up to")
            if len(drawn) > 1 and float(np.ptp(pixels, axis=0).min()) < _SPECK_PX:
                notes.append(
                    ("tiny-contour", f"contour {contour.number} is narrower than 1/64 px; not taken")
                )
                continue
            rings.append(ring_of(pixels))
            if len(drawn) > 1 and polygon_area((rings[-1],)) < _LEAST_PX:
                notes.append(("tiny-contour", f"contour {contour.number} covers less than half a pixel"))
        if not rings:
            raise ContourError("the outline encloses no area")
        return even_odd(tuple(rings), notes, holes=drawn[0].kind == "CLOSED_PLANAR")

    def origin(self, drawn: tuple[_Contour, ...], options: LabelOptions) -> float:
        """Return NaN: all are in mm."""
        return float("nan")


def _left_out(roi: _Roi, contours: Iterable[_Contour]) -> Iterator[Issue]:
    """Name contours that are no outlines, and those that cannot be read and name no image."""
    open_ones: dict[str, list[int]] = {}
    for contour in contours:
        if contour.kind not in _CLOSED:
            kind = contour.kind if contour.kind in _OPEN else "of another kind"
            open_ones.setdefault(kind, []).append(contour.number)
        elif contour.problem and not contour.uid:
            item = f"roi {roi.number} / contours {contour.number}"
            yield Issue("error", "unreadable-contour", f"{contour.problem}; left out", path=item)
    for kind, numbers in sorted(open_ones.items()):
        message = f"contours {runs(numbers)} are {kind}, no closed outlines; left out"
        yield Issue("note", "open-outline", message, path=f"roi {roi.number}")


def _about_rois(drawn: Sequence[_Roi], rois: Sequence[_Roi]) -> Iterator[Issue]:
    empty = [roi.number for roi in rois if roi not in drawn]
    if empty:
        message = f"no contour is drawn of {len(empty)} of its {len(rois)} ROIs; nothing to take"
        yield Issue("note", "empty-structure", message, path=f"roi {runs(empty)}")
    alike: dict[str, list[int]] = {}
    for roi in drawn:
        alike.setdefault(name_key(roi.name), []).append(roi.number)
    for numbers in alike.values():
        if len(numbers) > 1:
            message = f"{len(numbers)} ROIs have one name, so they are one structure"
            yield Issue("note", "ambiguous-label", message, path=f"roi {runs(numbers)}")


def _by_target(contours: Iterable[_Contour], roi: _Roi) -> Iterator[tuple[Target, tuple[_Contour, ...]]]:
    by_image: defaultdict[Instance, list[_Contour]] = defaultdict(list)
    for contour in contours:
        by_image[Instance(contour.uid, contour.frame, roi.frame_of_reference)].append(contour)
    unnamed = by_image.pop(Instance("", None, roi.frame_of_reference), [])
    yield from ((instance, tuple(rings)) for instance, rings in by_image.items())
    yield from _by_plane(unnamed, roi.frame_of_reference or _NOWHERE)


def _by_plane(
    contours: list[_Contour], frame_of_reference: str
) -> Iterator[tuple[Plane, tuple[_Contour, ...]]]:
    while contours:
        normals = np.array([_normal(contour.points_mm) for contour in contours])
        parallel = normals @ normals[0] >= _PARALLEL
        parallel[0] = True
        alike = [contour for contour, ours in zip(contours, parallel.tolist(), strict=True) if ours]
        contours = [contour for contour, ours in zip(contours, parallel.tolist(), strict=True) if not ours]
        offsets = np.array([float(contour.points_mm.mean(axis=0) @ normals[0]) for contour in alike])
        order = np.argsort(offsets, kind="stable")
        steps = np.flatnonzero(np.diff(offsets[order]) > OFF_PLANE_MM) + 1
        for group in np.split(order, steps):
            rings = tuple(alike[index] for index in sorted(group.tolist()))
            position = tuple(rings[0].points_mm.mean(axis=0).tolist())
            yield Plane(frame_of_reference, position, tuple(normals[0].tolist())), rings


def _normal(points: FloatArray) -> FloatArray:
    """Return the unit normal (3,) of a ring in space, its largest part positive (Newell's sum of cross products)."""
    from_middle = points - points.mean(axis=0)
    normal = np.cross(from_middle, np.roll(from_middle, -1, axis=0)).sum(axis=0)
    size = float(np.linalg.norm(normal))
    if size == 0:
        return np.zeros(3)
    unit: FloatArray = normal / size
    return unit if unit[np.abs(unit).argmax()] > 0 else -unit


# What follows runs in the decoding child.
def contents(data: bytearray, limits: Limits, *, max_points: int) -> tuple[dict[str, Any], bytes]:
    """Return the ROIs and contours of a file, and the points of all contours, float64 x,y,z in mm."""
    dataset, _, _ = objects.read_object(data, limits)
    encodings = objects.encodings_of(dataset)
    rois = [
        _Roi(
            objects.number(item, "ROINumber"),
            objects.text(item, "ROIName", encodings),
            objects.word(item, "ReferencedFrameOfReferenceUID"),
        )
        for item in objects.items(dataset, "StructureSetROISequence")
    ]
    contours: dict[int, list[tuple[int, str, str, int | None, str]]] = {roi.number: [] for roi in rois}
    points: dict[int, list[FloatArray]] = {roi.number: [] for roi in rois}
    if len(contours) < len(rois):
        raise ImageError("two of its ROIs have one ROINumber, so contours cannot be told apart")
    for roi_item in objects.items(dataset, "ROIContourSequence"):
        number = objects.number(roi_item, "ReferencedROINumber")
        if number not in contours:
            raise ImageError("its contours name an ROI that it does not list")
        for item in objects.items(roi_item, "ContourSequence"):
            found, problem = _points(item, max_points)
            uid, frame, trouble = _reference(item)
            kind = objects.word(item, "ContourGeometricType")
            contours[number].append((len(found), kind, uid, frame, problem or trouble))
            points[number].append(found)
    payload = np.concatenate([np.zeros((0, 3)), *chain(*points.values())]).astype("<f8").tobytes()
    patient_id = objects.text(dataset, "PatientID", encodings)
    return {"rois": rois, "contours": list(contours.values()), "patient_id": patient_id}, payload


def _reference(item: Dataset) -> tuple[str, int | None, str]:
    """Return the image that a contour names, its frame from 0, and what is wrong with that."""
    named = objects.items(item, "ContourImageSequence")
    if not named:
        return "", None, ""
    uids = {objects.word(one, "ReferencedSOPInstanceUID") for one in named}
    if len(named) > 1 or uids == {""}:
        return max(uids), None, "it names several images, or one without a UID"
    frame = objects.raw(named[0], "ReferencedFrameNumber").strip(b" \0")
    if frame and not (frame.isdigit() and len(frame) < 10 and int(frame) > 0):
        return max(uids), None, "it names several frames of its image, or none that can be"
    return max(uids), int(frame) - 1 if frame else None, ""


def _points(item: Dataset, max_points: int) -> tuple[FloatArray, str]:
    """Return the points (point, 3) of a contour, none where something is wrong, and what that is."""
    none = np.zeros((0, 3))
    text = objects.raw(item, "ContourData")
    count = text.count(b"\\") + 1 if text.strip(b" \0") else 0
    if count == 0:
        return none, "it has no points"
    if count > 3 * max_points:
        return none, too_many(max_points)
    stated = objects.whole_number(item, "NumberOfContourPoints")
    if count % 3 or (stated is not None and 3 * stated != count):
        return none, f"its {count} coordinates are not those of the points that it states"
    if not _NUMBERS.fullmatch(text):
        return none, "a coordinate is no plain number"
    try:
        numbers = np.array(list(map(float, text.rstrip(b"\0").split(b"\\"))))
    except ValueError:
        return none, "a coordinate is no plain number"
    # Written so that NaN would fail it too.
    if not np.abs(numbers).max() <= _FARTHEST_MM:
        return none, f"a coordinate is beyond {_FARTHEST_MM:.0f} mm"
    return numbers.reshape(-1, 3), ""
