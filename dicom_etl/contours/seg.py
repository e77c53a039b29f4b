"""DICOM segmentations: masks, a frame a segment and image (BINARY, FRACTIONAL) or a frame an image (LABELMAP).

DICOM PS3.3 A.51, C.8.20. One label is what one frame has of one segment; its outline runs along the pixel edges, so
drawing it gives the mask of the frame bit for bit. Frames that are empty are no labels.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dicom_etl.config import LabelOptions
from dicom_etl.contours.parsed import LabelFile, Listed, ManyLabels, Notes, parsed_in_child
from dicom_etl.contours.rings import on_image
from dicom_etl.dicom import checks, objects
from dicom_etl.dicom.files import Limits
from dicom_etl.dicom.frames import macro_values
from dicom_etl.errors import ContourError, ImageError
from dicom_etl.geometry.locations import has_plane
from dicom_etl.geometry.raster import trace
from dicom_etl.records import ImageHeader, Instance, Issue, Plane, Rings, Target

if TYPE_CHECKING:
    from pydicom import Dataset

SEGMENTATION = "1.2.840.10008.5.1.4.1.1.66.4"
LABEL_MAP = "1.2.840.10008.5.1.4.1.1.66.7"
THRESHOLD = 0.5
"""Share of MaximumFractionalValue from which a pixel of a FRACTIONAL segmentation is in."""
_SAME_PX = 0.01
_SAME_COSINE = 1e-3


class _Frame(NamedTuple):
    """Where one frame belongs: the image that it was made of, and its own plane, NaN where it states none."""

    uid: str
    source_frame: int | None
    position_mm: tuple[float, float, float]
    orientation: tuple[float, float, float, float, float, float]
    spacing_mm: tuple[float, float]


class _Pixels(NamedTuple):
    """How frames are stored: BINARY (one bit a pixel, frames run on), FRACTIONAL or LABELMAP."""

    kind: str
    rows: int
    columns: int
    bits: int
    most: int

    def span(self, frame: int) -> tuple[int, int]:
        """Return the bytes that hold a frame, from the one of its first pixel on."""
        bits = self.rows * self.columns * self.bits
        return frame * bits // 8, -(-(frame + 1) * bits // 8)

    def values(self, data: bytes | bytearray | memoryview) -> NDArray[Any]:
        """Return the values (pixel,) of a frame of more than one bit a pixel."""
        return np.frombuffer(data, "<u2" if self.bits == 16 else np.uint8)

    def chosen(self, data: bytes | bytearray | memoryview, frame: int, value: int) -> NDArray[np.bool_]:
        """Return which pixels (rows, columns) of a frame, whose bytes are given, a segment has."""
        count = self.rows * self.columns
        if self.kind == "BINARY":
            # Frames run on without padding between them (DICOM PS3.5 8.1.1), the first pixel in the lowest bit.
            first = frame * count % 8
            values = np.unpackbits(np.frombuffer(data, np.uint8), bitorder="little")[first : first + count]
            found = values.astype(bool)
        elif self.kind == "FRACTIONAL":
            found = self.values(data) >= THRESHOLD * self.most
        else:
            found = self.values(data) == value
        return np.asarray(found).reshape(self.rows, self.columns)


class _Segment(NamedTuple):
    """What one frame has of one segment: its pixels lie in the file from ``offset``, or in ``decoded`` if negative."""

    frame: int
    value: int
    place: _Frame
    pixels: _Pixels
    path: str
    offset: int
    decoded: bytearray

    def mask(self) -> NDArray[np.bool_]:
        """Return which pixels (rows, columns) are in."""
        start, end = self.pixels.span(self.frame)
        if self.offset < 0:
            return self.pixels.chosen(self.decoded[start:end], self.frame, self.value)
        data = np.fromfile(self.path, np.uint8, end - start, offset=self.offset + start)
        if len(data) != end - start:
            raise ContourError("the file became shorter while it was read")
        return self.pixels.chosen(data.data, self.frame, self.value)


class DicomSegmentation(ManyLabels[_Segment]):
    """`ContourReader` for DICOM SEG; a label is a frame with any pixel of a segment."""

    name = "seg"
    accepts = frozenset({SEGMENTATION, LABEL_MAP})

    @parsed_in_child
    def labels(self, answer: dict[str, Any], payload: bytearray, path: str) -> LabelFile[_Segment]:
        """Give each frame its place, and name what is left out."""
        frames = [
            _Frame(uid, source, tuple(position), tuple(orientation), tuple(spacing))
            for uid, source, position, orientation, spacing in answer["frames"]
        ]
        names = {int(number): name for number, name in answer["segments"].items()}
        pixels = _Pixels(*answer["pixels"])
        at = f" at {THRESHOLD:g}" if pixels.kind == "FRACTIONAL" else ""
        labels = {
            f"frame {frame + 1} / segment {number}{at}": Listed(
                names.get(number, ""),
                _target(frames[frame], answer["frame_of_reference"]),
                _Segment(frame, number, frames[frame], pixels, path, answer["offset"], payload),
            )
            for frame, number in answer["labels"]
        }
        empty = sorted(set(names) - {number for _, number in answer["labels"]})
        issues: tuple[Issue, ...] = ()
        if empty:
            message = f"{len(empty)} of its {len(names)} segments have no pixel in any frame; nothing to take"
            issues = (Issue("note", "empty-structure", message, path=f"segment {','.join(map(str, empty))}"),)
        return LabelFile(labels, answer["patient_id"], issues)

    def rings(self, drawn: _Segment, image: ImageHeader, notes: Notes, options: LabelOptions) -> Rings:
        """Trace a mask, whose grid must be that of its image."""
        _check_grid(drawn, image)
        return outline_of(drawn.mask(), options)


def outline_of(mask: NDArray[np.bool_], options: LabelOptions) -> Rings:
    """Return the outline of a mask (y, x), which is not empty and not more ragged than a contour may be long."""
    rings = trace(mask)
    if not rings:
        raise ContourError("the mask is empty")
    if sum(map(len, rings)) > options.max_contour_points:
        raise ContourError(
            f"its mask has more than {options.max_contour_points} corners; `max_contour_points` raises the limit"
        )
    return rings


def _target(own: _Frame, frame_of_reference: str) -> Target:
    if own.uid:
        return Instance(own.uid, own.source_frame, frame_of_reference)
    normal = np.cross(own.orientation[:3], own.orientation[3:])
    return Plane(frame_of_reference, own.position_mm, tuple(normal.tolist()))


def _check_grid(drawn: _Segment, image: ImageHeader) -> None:
    """Make sure that the pixels of a frame are those of its image: nothing is resampled."""
    own = drawn.place
    check_size(drawn.pixels[1:3], image)
    if not (has_plane(image) and np.isfinite([*own.position_mm, *own.orientation, *own.spacing_mm]).all()):
        return
    corner = on_image(np.array([own.position_mm]), image, "it lies")
    turned = np.abs(np.subtract(own.orientation, image.orientation)).max() > _SAME_COSINE
    wider = not np.allclose(own.spacing_mm, image.pixel_spacing_mm, rtol=1e-3)
    if turned or wider or np.abs(corner).max() > _SAME_PX:
        raise ContourError(
            "its pixels lie elsewhere than those of its image, and nothing is resampled", code="off-plane"
        )


def check_size(shape: tuple[int, ...], image: ImageHeader) -> None:
    """Make sure that a mask has the size of its image: nothing is resampled."""
    if shape != (image.rows, image.columns):
        raise ContourError(
            f"it has {shape[0]} rows x {shape[1]} columns, but its image has {image.rows} x {image.columns}"
        )


# What follows runs in the decoding child.
def contents(data: bytearray, limits: Limits, *, max_points: int) -> tuple[dict[str, Any], bytes]:
    """Return what the labels are made of, and the frames where the file holds them compressed."""
    dataset, body, uid = objects.read_object(data, limits)
    kind = objects.word(dataset, "SegmentationType")
    rows, columns, bits = (objects.number(dataset, name) for name in ("Rows", "Columns", "BitsAllocated"))
    most = objects.number(dataset, "MaximumFractionalValue") if kind == "FRACTIONAL" else 1
    if (kind, bits) not in {("BINARY", 1), ("FRACTIONAL", 8), ("LABELMAP", 8), ("LABELMAP", 16)} or most < 1:
        raise ImageError("it is neither BINARY, FRACTIONAL nor LABELMAP with the bits that these have")
    encodings = objects.encodings_of(dataset)
    background = {0, objects.whole_number(dataset, "PixelPaddingValue") or 0} if kind == "LABELMAP" else set()
    segments = {
        number: objects.text(item, "SegmentLabel", encodings)
        for item in objects.items(dataset, "SegmentSequence")
        if (number := objects.number(item, "SegmentNumber")) not in background
    }
    groups = objects.items(dataset, "PerFrameFunctionalGroupsSequence")
    shared = objects.items(dataset, "SharedFunctionalGroupsSequence")[:1]
    count = objects.whole_number(dataset, "NumberOfFrames") or 0
    if not count or count != len(groups):
        raise ImageError(f"NumberOfFrames is {count}, but {len(groups)} frames are described")
    if not 0 < rows * columns * bits * count <= 8 * limits.max_image_bytes:
        raise ImageError(
            f"its frames are larger than {limits.max_image_bytes} bytes; `max_image_bytes` allows more"
        )
    pixels = _Pixels(kind, rows, columns, bits, most)
    described = [_frame(group, shared) for group in groups]
    offset, frames = objects.frames_of(dataset, body, uid, (count, rows, columns, bits))
    numbers = [0 if kind == "LABELMAP" else _segment(group, shared) for group in groups]
    native = body is data and offset >= 0
    answer = {
        "pixels": pixels,
        "frame_of_reference": objects.word(dataset, "FrameOfReferenceUID"),
        "patient_id": objects.text(dataset, "PatientID", encodings),
        "frames": described,
        "labels": list(_present(frames, pixels, numbers, background)),
        "segments": segments,
        "offset": offset if native else -1,
    }
    return answer, b"" if native else bytes(frames)


def _present(
    data: memoryview, pixels: _Pixels, numbers: list[int], background: set[int]
) -> Iterator[tuple[int, int]]:
    for frame, number in enumerate(numbers):
        part = data[slice(*pixels.span(frame))]
        if pixels.kind == "LABELMAP":
            there = np.flatnonzero(np.bincount(pixels.values(part))).tolist()
            yield from ((frame, value) for value in there if value not in background)
        elif pixels.chosen(part, frame, number).any():
            yield frame, number


def _frame(group: Dataset, shared: list[Dataset]) -> _Frame:
    sources: set[tuple[str, int | None]] = set()
    for derivation in objects.items(group, "DerivationImageSequence"):
        for source in objects.items(derivation, "SourceImageSequence"):
            frame = objects.whole_number(source, "ReferencedFrameNumber")
            sources.add((objects.word(source, "ReferencedSOPInstanceUID"), frame - 1 if frame else None))
    uid, source_frame = sources.pop() if len(sources) == 1 else ("", None)
    values = dict(chain.from_iterable(macro_values(each).items() for each in (*shared, group)))
    return _Frame(
        uid, source_frame, checks.position(values), checks.orientation(values), checks.spacing(values)
    )


def _segment(group: Dataset, shared: list[Dataset]) -> int:
    groups = (group, *shared)
    named = [item for each in groups for item in objects.items(each, "SegmentIdentificationSequence")]
    if not named:
        raise ImageError("a frame does not say of which segment it is")
    return objects.number(named[0], "ReferencedSegmentNumber")
