"""``contours.csv``: a plain table of outlines, for whatever no reader knows: ten lines of a script write it.

One row a vertex; rows of one image, frame and structure are one label, whatever their order. Columns, found by name in
the first row: ``image`` (a file name or path, a SOPInstanceUID, or a slice number), ``structure``, ``x``, ``y``; and
where they are needed ``frame`` (from 0), ``ring``, ``unit`` (px, the default, or mm), ``origin`` (what the centre of
the first pixel is called: 0, the default, 0.5 or 1) and, for mm in the patient, ``z``.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from dicom_etl.config import LabelOptions
from dicom_etl.contours.parsed import LabelFile, Listed, ManyLabels, Notes, parsed_once, read_table
from dicom_etl.contours.rings import even_odd, on_image, ring_of, too_many
from dicom_etl.errors import ContourError
from dicom_etl.records import FileName, ImageHeader, Instance, Rings, SliceNumber, Target

_REQUIRED = ("image", "structure", "x", "y")
_OPTIONAL = ("frame", "ring", "unit", "origin", "z")
_NUMBER = re.compile(r" *[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,2})? *", re.ASCII)
_UID = re.compile(r"[0-9]+(?:\.[0-9]+){2,}", re.ASCII)
_WHOLE = re.compile(r"[0-9]{1,9}", re.ASCII)
_ORIGINS = {"": 0.0, "0": 0.0, "0.5": 0.5, "1": 1.0}
_FARTHEST = 1e6
_ANY_SERIES = -1


@dataclass(slots=True)
class _Label:
    """The rows of one label: ``points`` holds x,y,z of all of them by ring."""

    name: str
    target: Target
    unit: str
    origin: float
    line: int
    points: dict[str, array[float]] = field(default_factory=dict)
    problem: str = ""


class ContourTable(ManyLabels[_Label]):
    """`ContourReader` for contours.csv; a label is named after its first line."""

    name = "csv"
    accepts = frozenset({".csv"})

    @parsed_once
    def labels(self, path: str, options: LabelOptions) -> LabelFile[_Label] | None:
        """Return the labels of a table; None for one of other columns."""
        return read_table(path, options, _REQUIRED, _OPTIONAL, _grouped)

    def rings(self, drawn: _Label, image: ImageHeader, notes: Notes, options: LabelOptions) -> Rings:
        """Bring the vertices of a label into the pixel frame."""
        if drawn.problem:
            raise ContourError(drawn.problem)
        if sum(map(len, drawn.points.values())) > 3 * options.max_contour_points:
            raise ContourError(too_many(options.max_contour_points))
        vertices = (np.array(points).reshape(-1, 3) for points in drawn.points.values())
        if drawn.unit == "mm":
            pixels = [on_image(each, image, "it lies up to") for each in vertices]
        else:
            pixels = [each[:, :2] - self.origin(drawn, options) for each in vertices]
        return even_odd(tuple(map(ring_of, pixels)), notes)

    def origin(self, drawn: _Label, options: LabelOptions) -> float:
        """Return what the table or the option calls the first pixel, NaN for mm."""
        if drawn.unit == "mm":
            return float("nan")
        return drawn.origin if options.contour_origin is None else float(options.contour_origin)


def _grouped(rows: Iterator[tuple[int, list[str]]], columns: dict[str, int]) -> LabelFile[_Label]:
    labels: dict[tuple[str, ...], _Label] = {}
    width = max(columns.values()) + 1
    keyed = [columns[name] for name in ("image", "frame", "structure", "unit", "origin")]
    x, y, z, ring = (columns[name] for name in ("x", "y", "z", "ring"))
    for line, row in rows:
        if len(row) < width:
            raise ContourError(f"line {line}: {len(row)} columns, but the header has {width} or more")
        key = tuple([row[at].strip() if at >= 0 else "" for at in keyed])
        label = labels.get(key)
        if label is None:
            label = labels[key] = _new_label(key, line)
        texts = row[x], row[y], row[z] if label.unit == "mm" and z >= 0 else "0"
        if label.problem:
            continue
        if not all(map(_NUMBER.fullmatch, texts)):
            label.problem = f"line {line}: a coordinate is no plain number"
            continue
        point = [float(text) for text in texts]
        if not all(-_FARTHEST <= value <= _FARTHEST for value in point):
            label.problem = f"line {line}: a coordinate is beyond {_FARTHEST:.0f}"
            continue
        label.points.setdefault(row[ring].strip() if ring >= 0 else "", array("d")).extend(point)
    return _without_rivals(labels, has_z=z >= 0)


def _new_label(key: tuple[str, ...], line: int) -> _Label:
    image, frame, structure, unit, origin = key
    if not image or not structure:
        raise ContourError(f"line {line}: the image or the structure is blank")
    label = _Label(structure, _target(image, None), unit.casefold() or "px", 0.0, line)
    if label.unit not in ("px", "mm"):
        label.problem = f"line {line}: the unit is neither px nor mm"
    elif frame and not _WHOLE.fullmatch(frame):
        label.problem = f"line {line}: the frame is no whole number from 0"
    elif origin not in _ORIGINS:
        label.problem = f"line {line}: the origin is none of 0, 0.5 and 1"
    else:
        label.origin = _ORIGINS[origin]
        label.target = _target(image, int(frame) if frame else None)
    return label


def _target(image: str, frame: int | None) -> Target:
    if _WHOLE.fullmatch(image):
        return SliceNumber(_ANY_SERIES, int(image))
    if _UID.fullmatch(image):
        return Instance(image, frame)
    return FileName(image, frame)


def _without_rivals(labels: dict[tuple[str, ...], _Label], *, has_z: bool) -> LabelFile[_Label]:
    """Return the labels by item; those of mm need z, and one label has one unit and origin."""
    by_image: dict[tuple[str, ...], _Label] = {}
    for key, label in labels.items():
        if label.unit == "mm" and not has_z and not label.problem:
            label.problem = f"line {label.line}: mm need the column z"
        first = by_image.setdefault(key[:3], label)
        if first is not label:
            first.problem = first.problem or f"line {label.line}: its unit or origin changes within the label"
    return LabelFile(
        {f"line {label.line}": Listed(label.name, label.target, label) for label in by_image.values()}
    )
