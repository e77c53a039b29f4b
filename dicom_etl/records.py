"""The frozen values that the stages pass on: small, picklable, and nothing else in them.

Paths are POSIX text relative to SOURCE (``dicoms/<patient_id>/..``, ``contourfiles/<original_id>/..``),
wherever the three parts lie on disk; these and ids may be a `dicom_etl.layouts.pseudonyms.SourceName`. Vertices are in
the pixel frame: x = column, y = row, 0-based, the centre of the first pixel is (0, 0).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import nan
from pickle import PickleBuffer
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

Severity = Literal["error", "warning", "note"]
FloatArray: TypeAlias = NDArray[np.float64]
Rings: TypeAlias = tuple[FloatArray, ...]
"""Closed polygons, each (vertex, 2) float64 x,y in the pixel frame, the first vertex not repeated."""
Box: TypeAlias = tuple[float, float, float, float]
"""Least x and y, greatest x and y."""
Edges: TypeAlias = tuple[FloatArray, FloatArray]
"""Starts and ends, each (edge, 2) float64 x,y."""


class Outline(NamedTuple):
    """What is drawn of one structure on one image, measured once by `geometry.polygons.measure`.

    ``rings`` are as drawn, filled by the even-odd rule; ``box`` is around them, from inf to -inf where no vertex is.
    ``boundary`` is around what they enclose, turned so that the integral of x dy along it is the ``area`` in square
    pixels. ``simple`` is one ring that is known not to meet itself; one that only may is not.
    """

    rings: Rings
    box: Box
    boundary: Edges
    area: float
    simple: bool


class Issue(NamedTuple):
    """One thing that a person should hear of: an input left out, or a label to look at."""

    severity: Severity
    code: str
    message: str
    stage: str = ""
    path: str = ""
    patient_id: str = ""
    structure: str = ""
    sample: int | None = None
    other_path: str = ""
    """The second of two inputs that do not go together (two of the same, two exchanged)."""
    frame: int = -1
    """The frame of ``path`` that it is about, 0 first; -1 the file as a whole, or no image."""
    study: int = 0
    """Which study of the patient, as in `StudyFolders`."""

    def to_json(self) -> dict[str, Any]:
        """Return the shape that ``--json`` prints."""
        names = ("severity", "code", "sample", "frame", "patient_id", "structure", "path", "message")
        return {name: getattr(self, name) for name in names} | {
            "frame": None if self.frame < 0 else self.frame
        }


TWO_FOLDERS = "patient-in-two-folders"
"""The code of what keeps folders together; ``other_path`` is the first of them, the same for all."""


def kept_together(issues: Iterable[Issue]) -> dict[str, str]:
    """Return the patients that one PatientID keeps with others, and what those have in common.

    The findings are stored, PatientIDs are not: so a merge and batches know the same patients as the ingest.
    """
    return {issue.patient_id: issue.other_path for issue in issues if issue.code == TWO_FOLDERS}


class Drop(NamedTuple):
    """A label that a decision leaves out: its structure ("*" for all), and its `ContourFacts.key`, None for any."""

    structure: str
    key: int | None


class ImageHeader(NamedTuple):
    """What the pipeline needs to know of one DICOM frame; every other tag stays in the file.

    A value that the file lacks is -1, NaN or "", never a made-up one. ``pixel_spacing_mm`` is (between
    rows, between columns) as in DICOM PS3.3 10.7.1.3; ``position_mm`` is the patient position of the centre
    of pixel (0, 0); ``orientation`` holds the direction cosines of a row (along x), then of a column (y).
    What follows ``notes`` tells which images belong together: it is compared, and never stored or logged.
    """

    rows: int
    columns: int
    instance_number: int = -1
    frame: int = 0
    frames: int = 1
    transfer_syntax: str = ""
    photometric: str = "MONOCHROME2"
    bits_allocated: int = 16
    bits_stored: int = 16
    pixel_representation: int = 0
    rescale_slope: float = 1.0
    rescale_intercept: float = 0.0
    pixel_spacing_mm: tuple[float, float] = (nan, nan)
    position_mm: tuple[float, float, float] = (nan, nan, nan)
    orientation: tuple[float, float, float, float, float, float] = (nan, nan, nan, nan, nan, nan)
    trigger_time_ms: float = nan
    manufacturer: str = ""
    field_strength_t: float = nan
    series_uid: str = ""
    instance_uid: str = ""
    notes: tuple[str, ...] = ()
    """Kinds of oddities met while reading (never raw values), for the summary."""
    place: int = -1
    """Of a frame of several: its place in their order, from 1."""
    patient_id: str = ""
    study_uid: str = ""
    series_number: int = -1
    series_description: str = ""
    acquisition_time: str = ""
    frame_of_reference_uid: str = ""
    temporal_position: int = -1
    sop_class: str = ""

    def __repr__(self) -> str:
        told = self._fields[: self._fields.index("patient_id")]  # the rest could identify a person
        return f"ImageHeader({', '.join(f'{name}={getattr(self, name)!r}' for name in told)}, ..)"


@dataclass(frozen=True, slots=True)
class Image:
    """The pixels of one frame after the modality LUT, (rows, columns), and the SHA-256 of its file."""

    header: ImageHeader
    pixels: NDArray[Any]
    sha256: str


class SliceNumber(NamedTuple):
    """An image by numbers: of the series and of the slice, as in ``IM-0001-0048-icontour-manual.txt``."""

    series: int
    number: int


class Instance(NamedTuple):
    """An image by its SOPInstanceUID; ``frame`` counts from 0, None means the only one.

    ``frame_of_reference`` is what the label's mm are in, "" where it has none or does not say.
    """

    uid: str
    frame: int | None = None
    frame_of_reference: str = ""


class Plane(NamedTuple):
    """The plane of an image in the patient, in mm: a point of it, its unit normal, and a time where one is known.

    An empty frame of reference is unknown, so the plane may lie in any.
    """

    frame_of_reference: str
    position_mm: tuple[float, float, float]
    normal: tuple[float, float, float]
    time_ms: float | None = None


class FileName(NamedTuple):
    """An image by the name of its file or its path in the SOURCE, with or without its ending; ``frame`` from 0."""

    stem: str
    frame: int | None = None


Target: TypeAlias = SliceNumber | Instance | Plane | FileName


class ContourRef(NamedTuple):
    """A label that a file says it holds, before anything of it is read.

    ``item`` is unique in its file, and neither a UID nor free text; "" where a file holds one label. ``name`` is what
    the file calls it, which no output repeats. ``patient_id`` is the label's PatientID, "" where it has none.
    """

    path: str
    item: str
    reader: str
    name: str
    target: Target
    patient_id: str = ""

    @property
    def source(self) -> str:
        """What the dataset calls it: the path, or ``path#item``."""
        return f"{self.path}#{self.item}" if self.item else self.path


class Label(NamedTuple):
    """A label whose name is that of a known structure.

    ``stamp`` is size and time of change (ns) of its file when the run looked at it first; None if nobody did.
    """

    structure: str
    ref: ContourRef
    stamp: tuple[int, int] | None = None

    def error(self, code: str, message: str, stage: str, patient_id: str) -> Issue:
        """Say why it is left out."""
        return Issue("error", code, message, stage, self.ref.source, patient_id, self.structure)


class Found(NamedTuple):
    """The labels of one file, and what was left out of them and why."""

    refs: tuple[ContourRef, ...]
    issues: tuple[Issue, ...] = ()


class Outlines(NamedTuple):
    """What was read of one file for one image: rings in the pixel frame, and what was taken off (NaN for mm).

    An issue about one label has its ``source`` as the path. ``digest`` is the SHA-256 of the file where all of it was
    read for this, else "".
    """

    rings: Mapping[ContourRef, Rings]
    origins: Mapping[ContourRef, float]
    issues: tuple[Issue, ...] = ()
    digest: str = ""


@dataclass(frozen=True, slots=True)
class Link:
    """One row of the link table. ``name_key`` is what pseudonyms of the study's file names are made with, if any."""

    patient_id: str
    original_id: str
    name_key: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class SourceFolders:
    """The folders of studies in a SOURCE, in sorted order; nothing below is opened yet. ``table`` is the link table."""

    links: tuple[Link, ...]
    images: tuple[str, ...]
    contours: tuple[str, ...]
    issues: tuple[Issue, ...]
    table: str = "link.csv"
    together: bool = False
    """Whether labels lie among the images."""
    grouped: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """Patient and files of each study, where folders mean nothing."""


@dataclass(frozen=True, slots=True)
class StudyFolders:
    """A row of the link table with the folders that belong to it; ``contours`` is "" for a study without any.

    ``study`` counts the studies of one patient, 0 first: (patient_id, study) is the identity of a study. ``guests`` are
    labels of other studies that name its images by UID; ``elsewhere`` are UIDs that its own labels name, with the
    folders of other studies that have them.
    """

    patient_id: str
    original_id: str
    images: str
    contours: str
    name_key: bytes = field(default=b"", repr=False)
    study: int = 0
    files: tuple[str, ...] = ()
    guests: tuple[Label, ...] = ()
    elsewhere: tuple[tuple[str, tuple[str, ...]], ...] = ()


class StudyFiles(NamedTuple):
    """The files of one study in order of path: those that may be images, those that may be label files."""

    images: tuple[str, ...]
    labels: tuple[str, ...] = ()
    issues: tuple[Issue, ...] = ()


FileStamp: TypeAlias = tuple[int, int, int]
"""Size, time of change (ns), and where the pixel data begins (-1 unknown) of an image file whose header was read."""
NO_STAMP: FileStamp = (-1, -1, -1)


class FoundImage(NamedTuple):
    """A frame that can be linked: where it is, what its header says, and what its file is known by."""

    path: str
    header: ImageHeader
    stamp: FileStamp = NO_STAMP


class LostImage(NamedTuple):
    """A file that should be an image and cannot be read, with what its header still says; it keeps its place."""

    path: str
    header: ImageHeader | None = None


class SamplePlan(NamedTuple):
    """One image and the labels drawn on it, as linked; ``stack_index`` -1 is unknown, ``drops`` were decided on."""

    patient_id: str
    original_id: str
    image: str
    header: ImageHeader
    labels: tuple[Label, ...]
    location_index: int
    slice_location_mm: float
    phase_index: int
    stack_index: int = -1
    study: int = 0
    stamp: FileStamp = NO_STAMP
    drops: tuple[Drop, ...] = ()


class SeriesLine(NamedTuple):
    """What `plan` alone shows of one stack; ``number`` chooses it, ``locations`` and ``phases`` are 0 where unknown."""

    number: str
    description: str
    size: tuple[int, int]
    images: int
    locations: int
    phases: int
    labels: int


@dataclass(frozen=True, slots=True)
class StudyPlan:
    """What link makes of one study: its samples in row order, what it left out, and its counts.

    ``inputs`` is the digest of `dicom_etl.stages.study_key.inputs_digest`; ``label_files`` are those that belong to the
    study, used or left out.
    """

    patient_id: str
    original_id: str
    samples: tuple[SamplePlan, ...] = ()
    issues: tuple[Issue, ...] = ()
    image_count: int = 0
    contour_count: int = 0
    unlabeled_count: int = 0
    study: int = 0
    inputs: str = ""
    series: tuple[SeriesLine, ...] = ()
    label_files: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SampleRow:
    """The columns of one row of ``/samples``; `dicom_etl.dataset.schema` says what each means.

    ``sources``, ``readers``, ``pixel_origins``, ``has``, ``imputed_from``, ``imputed_share`` and ``areas_px`` go by
    structure, in the dataset's order; those about imputation are empty for a row that is not imputed. The areas are
    those of the polygons, in square pixels, and stay out of the file.
    """

    patient_id: str
    original_id: str
    source_image: str
    sources: tuple[str, ...]
    sha256_image_file: str
    has: tuple[bool, ...]
    instance_number: int
    location_index: int
    slice_location_mm: float
    phase_index: int
    trigger_time_ms: float
    pixel_spacing_mm: tuple[float, float]
    orientation: tuple[float, float, float, float, float, float]
    position_mm: tuple[float, float, float]
    manufacturer: str
    field_strength_t: float
    image_min: float
    image_max: float
    image_mean: float
    image_std: float
    origin: str
    sha256: str
    confidence: float = nan
    imputed_distance_mm: float = nan
    imputed_distance_ms: float = nan
    imputed_from: tuple[tuple[int, int], ...] = ()
    imputed_share: tuple[float, ...] = ()
    areas_px: tuple[float, ...] = ()
    readers: tuple[str, ...] = ()
    pixel_origins: tuple[float, ...] = ()
    frame: int = 0
    stack_index: int = -1


class StudyRecord(NamedTuple):
    """A row of ``/studies``: the patient, the `dicom_etl.stages.study_key`, and which study of the patient it is."""

    patient_id: str
    key: str
    study: int = 0


class Decided(NamedTuple):
    """A row of ``/decisions``: what a person decided, about which finding; nobody's name and no free text.

    ``row`` is -1 for what is not in the dataset; ``structure`` and ``code`` are "*" for any.
    """

    patient_id: str
    row: int
    structure: str
    code: str
    decision: str


class StatisticRow(NamedTuple):
    """A row of ``/statistics``: of the pixels inside a structure, or of all where ``structure`` is ""."""

    structure: str
    pixels: int
    mean: float
    std: float
    percentiles: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Chunk:
    """One slice as it is stored; ``data`` is bytes, or the same as an array where another process made it."""

    data: bytes | NDArray[np.uint8]

    def __reduce_ex__(self, protocol: Any) -> tuple[type[Chunk], tuple[PickleBuffer | bytes]]:
        """Let executors pass the bytes between processes without a copy (pickle protocol 5)."""
        if protocol < 5:
            return type(self), (bytes(self.data),)
        return type(self), (PickleBuffer(self.data),)  # type: ignore[arg-type]  # arrays have been buffers long before PEP 688


class ContourFacts(NamedTuple):
    """What the label checks keep of one structure drawn on one image.

    ``key`` is a number of 64 bits that outlines of the same points share, whatever the order and direction of the
    points. ``ring`` is the longest of the rings, (vertex, 2) float64 x,y.
    """

    structure: str
    path: str
    area_px: float
    box: Box
    key: int
    ring: FloatArray


class SampleFacts(NamedTuple):
    """What the label checks keep of one drawn image, so that they can compare it with others.

    ``contours`` goes by structure and holds only what a person drew. ``image_key`` is a number of 64 bits that images
    of the same pixels share; ``instance_key`` one that files of the same SOPInstanceUID share (0 where it is unknown:
    the dataset does not keep UIDs). ``window`` is the part of the image around the contours, (y, x), ``corner`` the x,y
    of its first pixel, and ``columns`` how many the whole image has.
    """

    patient_id: str
    image: str
    location_index: int
    phase_index: int
    trigger_time_ms: float
    pixel_spacing_mm: tuple[float, float]
    contours: tuple[ContourFacts, ...]
    image_key: int
    instance_key: int = 0
    window: NDArray[Any] = np.empty((0, 0))
    corner: tuple[int, int] = (0, 0)
    columns: int = 0
    frame: int = 0

    @classmethod
    def of(
        cls, row: SampleRow, contours: tuple[ContourFacts, ...], image_key: int, instance_key: int = 0
    ) -> SampleFacts:
        """Return what the columns of a row say, without its pixels."""
        return cls(
            row.patient_id,
            row.source_image,
            row.location_index,
            row.phase_index,
            row.trigger_time_ms,
            row.pixel_spacing_mm,
            contours,
            image_key,
            instance_key,
            frame=row.frame,
        )

    def contour(self, structure: str) -> ContourFacts | None:
        """Return the contour of a structure, or None where it is not drawn."""
        return next((contour for contour in self.contours if contour.structure == structure), None)

    def kept(self) -> SampleFacts:
        """Return the same with memory of its own: views would hold on to what an executor wants to use again."""
        contours = tuple(ContourFacts(*contour[:-1], contour.ring.copy()) for contour in self.contours)
        return self._replace(contours=contours, window=self.window.copy())


class EncodedSample(NamedTuple):
    """One row of the dataset, ready to be stored.

    ``image`` and ``masks`` are chunks as they go into the file (compressed already where compression is on);
    ``rings`` and ``masks`` go by structure in the dataset's order. ``issues`` are about parts that are not in
    the row, ``label_issues`` about labels that are. ``pixels`` are those that count for the statistics of the dataset
    (`dicom_etl.dataset.statistics.pixels_to_count`). ``label_digests`` are label files with their SHA-256, as far as
    it is known.
    """

    row: SampleRow
    image: Chunk
    masks: tuple[Chunk, ...]
    rings: tuple[Rings, ...]
    issues: tuple[Issue, ...] = ()
    label_issues: tuple[Issue, ...] = ()
    facts: SampleFacts = SampleFacts("", "", -1, -1, nan, (nan, nan), (), 0)
    pixels: tuple[NDArray[Any], ...] = ()
    label_digests: tuple[tuple[str, str], ...] = ()
