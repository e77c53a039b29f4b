"""Small inputs for tests: DICOM images of any kind, contour files, link tables, and a tiny whole SOURCE.

Nothing here imports dicom_etl, so that a fault of the program cannot hide in the input it is tested with.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from phantom import trace as tracing
from phantom.source import write_source
from phantom.study import Labels, Study
from pydicom.config import disable_value_validation
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    MRImageStorage,
    RLELossless,
)

FloatArray: TypeAlias = NDArray[np.float64]
Tag: TypeAlias = tuple[int, int]

SYNTAXES = {
    "explicit": ExplicitVRLittleEndian,
    "implicit": ImplicitVRLittleEndian,
    "big": ExplicitVRBigEndian,
    "deflated": DeflatedExplicitVRLittleEndian,
    "rle": RLELossless,
}
ORIENTATION = (-0.104592, 0.346381, -0.932245, -0.733192, -0.660188, -0.163037)
"""Direction cosines of an oblique short-axis image, good to six decimals: along a row, then along a
column."""
NORMAL = np.cross(ORIENTATION[:3], ORIENTATION[3:])
"""Unit vector along the stack of slices."""


def uid(*parts: object) -> UID:
    """Return a valid UID that depends on nothing but `parts` (UUID-derived root 2.25, DICOM PS3.5 B.2)."""
    digest = hashlib.sha256("/".join(map(str, parts)).encode()).digest()
    return UID(f"2.25.{int.from_bytes(digest[:16], 'big')}")


def position_mm(location: int, spacing_mm: float = 8.0) -> list[float]:
    """Return ImagePositionPatient of a slice of the stack, `location` * `spacing_mm` along its normal."""
    return [round(float(v), 4) for v in np.array([170.0, 30.0, 140.0]) + location * spacing_mm * NORMAL]


def write_anew(path: Path, data: bytes) -> None:
    """Write a file that may exist: some file systems wait 5 ms for the disk when a file is overwritten."""
    path.unlink(missing_ok=True)
    path.write_bytes(data)


def write_dicom(
    path: Path,
    pixels: ArrayLike,
    *,
    transfer_syntax: str | None = "explicit",
    elements: Mapping[Tag, tuple[str, Any]] | None = None,
    preamble: bool = True,
    cut: int | None = None,
    **header: Any,
) -> Path:
    """Write one MR image and return its path; the folder is made.

    Parameters
    ----------
    path : Path
        Where to write.
    pixels : (rows, columns) or (frames, rows, columns) integers
        Stored values. The dtype (8, 16 or 32 bits; RLE: no more than 16 signed) decides BitsAllocated and
        PixelRepresentation.
    transfer_syntax : str or None
        A key of `SYNTAXES`, or any UID (then written as explicit little endian; pass ``PixelData=`` for
        encapsulated data), or None to leave the element out (then written as explicit little endian).
    elements : mapping of (group, element) to (VR, value), optional
        Elements by tag, for private ones and for sequences.
    preamble : bool
        False leaves out the 128 bytes and "DICM".
    cut : int, optional
        Keep only so many bytes of the file (a negative number cuts from the end): a truncated image.
    **header
        DICOM keywords with their values, valid or not; None removes the element.

    Examples
    --------
    >>> write_dicom(tmp_path / "1.dcm", np.zeros((4, 4), np.int16), InstanceNumber=7, PixelSpacing=None)
    """
    array = np.asarray(pixels)
    syntax = None if transfer_syntax is None else UID(SYNTAXES.get(transfer_syntax, transfer_syntax))
    with disable_value_validation():
        dataset = _mr_image(array, str(path), big_endian=syntax == ExplicitVRBigEndian)
        for tag, (vr, value) in (elements or {}).items():
            dataset.add_new(tag, vr, value)
        for keyword, value in header.items():
            if value is None:
                if keyword in dataset:
                    delattr(dataset, keyword)
            else:
                setattr(dataset, keyword, value)
        data = _encode(dataset, syntax)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes((data if preamble else data[132:])[:cut])
    return path


def _mr_image(array: NDArray[Any], name: str, *, big_endian: bool) -> Dataset:
    """Return a plain, valid MR image without file meta information."""
    bits = array.dtype.itemsize * 8
    ds = Dataset()
    ds.ImageType = ["ORIGINAL", "PRIMARY", "OTHER"]
    ds.SOPClassUID, ds.SOPInstanceUID = MRImageStorage, uid("instance", name)
    ds.Modality, ds.Manufacturer = "MR", "Synthetic Phantom Works"
    ds.PatientName, ds.PatientID = "SYNTHETIC^TEST", Path(name).parent.name[:64]
    ds.SliceThickness, ds.MagneticFieldStrength, ds.TriggerTime = 8, 1.5, 0
    ds.StudyInstanceUID, ds.SeriesInstanceUID = (
        uid("study", Path(name).parent),
        uid("series", Path(name).parent),
    )
    ds.FrameOfReferenceUID = uid("frame", Path(name).parent)
    ds.InstanceNumber = 1
    ds.ImagePositionPatient, ds.ImageOrientationPatient = position_mm(0), list(ORIENTATION)
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    if array.ndim == 3:
        ds.NumberOfFrames = array.shape[0]
    ds.Rows, ds.Columns = array.shape[-2:]
    ds.PixelSpacing = [1.4, 1.4]
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = bits, bits, bits - 1
    ds.PixelRepresentation = int(array.dtype.kind == "i")
    raw = array.astype(array.dtype.newbyteorder(">" if big_endian else "<")).tobytes()
    ds.add_new("PixelData", "OB" if bits == 8 else "OW", raw + b"\0" * (len(raw) % 2))
    return ds


def _encode(dataset: Dataset, syntax: UID | None) -> bytes:
    """Return the file: preamble, meta information, data set."""
    meta = FileMetaDataset()
    meta.FileMetaInformationVersion = b"\0\1"
    meta.MediaStorageSOPClassUID = dataset.get("SOPClassUID", MRImageStorage)
    meta.MediaStorageSOPInstanceUID = dataset.get("SOPInstanceUID", uid("instance"))
    meta.ImplementationClassUID = uid("implementation")
    if syntax is not None:
        meta.TransferSyntaxUID = ExplicitVRLittleEndian if syntax == RLELossless else syntax
    dataset.file_meta = meta
    dataset.preamble = b"\0" * 128
    if syntax == RLELossless:
        dataset.compress(RLELossless, encoding_plugin="pydicom", generate_instance_uid=False)
    elif syntax is not None and syntax.is_transfer_syntax and syntax.is_encapsulated:
        dataset["PixelData"].is_undefined_length = True
    known = syntax is not None and syntax.is_transfer_syntax and not syntax.is_private
    how: dict[str, Any] = {} if known else {"implicit_vr": False, "little_endian": True}
    out = BytesIO()
    dataset.save_as(out, enforce_file_format=False, **how)
    return out.getvalue()


def write_contour(
    path: Path,
    vertices: ArrayLike,
    *,
    origin: int = 1,
    newline: str = "\n",
    bom: bool = False,
) -> Path:
    """Write a Sunnybrook text contour of (n, 2) vertices x, y in the pixel frame (0-based) and return its
    path.

    `origin` is what the file calls the centre of the first pixel. For text that is not a contour, write it
    yourself.
    """
    ring = np.asarray(vertices, dtype=np.float64)
    return tracing.write_contour(path, ring, origin=origin, newline=newline, bom=bom)


def write_link(
    path: Path, rows: Iterable[Sequence[str]], header: Sequence[str] = ("patient_id", "original_id")
) -> Path:
    """Write a link table and return its path; an empty `header` leaves the first line out."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = ([header] if header else []) + list(rows)
    path.write_text("".join(",".join(line) + "\n" for line in lines), encoding="utf-8")
    return path


def circle(x: float, y: float, radius: float, vertices: int = 360) -> FloatArray:
    """Return a circle as a (vertices, 2) polygon, x then y."""
    angle = np.linspace(0.0, 2.0 * np.pi, vertices, endpoint=False)
    return np.column_stack((x + radius * np.cos(angle), y + radius * np.sin(angle)))


@dataclass(frozen=True)
class TinySource:
    """What `make_source` wrote, and the truth about it.

    Every study is a stack of `locations` x `phases` images whose blood pool is a disc in a darker ring. The
    InstanceNumber (and file name) of an image is ``location * phases + phase + 1``. End-diastole is the
    last phase, end-systole phase `es`. Each location has the structures asked for, an ``ocontour`` only at
    end-diastole.
    """

    root: Path
    studies: int
    locations: int
    phases: int
    shape: tuple[int, int]
    structures: tuple[str, ...]

    @property
    def ed(self) -> int:
        return self.phases - 1

    @property
    def es(self) -> int:
        return (self.phases - 1) * 3 // 8

    @property
    def image_count(self) -> int:
        return self.studies * self.locations * self.phases

    def sample_count(self, structure: str = "icontour") -> int:
        """Return how many images carry a contour of `structure`."""
        per_location = 0 if structure not in self.structures else 1 if structure == "ocontour" else 2
        return self.studies * self.locations * per_location

    def patient_id(self, study: int) -> str:
        return f"SYN{study + 1:05d}"

    def original_id(self, study: int) -> str:
        return f"SYN-T-{study + 1}"

    def number(self, location: int, phase: int) -> int:
        return location * self.phases + phase + 1

    def image(self, study: int, location: int, phase: int) -> Path:
        """Return the path of an image."""
        return self.root / "dicoms" / self.patient_id(study) / f"{self.number(location, phase)}.dcm"

    def contour(self, study: int, structure: str, location: int, phase: int) -> Path:
        """Return the path that a contour has, drawn or not."""
        name = f"IM-0001-{self.number(location, phase):04d}-{structure}-manual.txt"
        return self.root / "contourfiles" / self.original_id(study) / f"{structure[0]}-contours" / name

    def centre(self, study: int, location: int) -> tuple[float, float]:
        """Return x, y of the disc in the pixel frame, off the image's centre and off the grid lines."""
        rows, columns = self.shape
        return columns / 2 - 0.7 + 0.25 * (study % 5), rows / 2 + 0.3 - 0.25 * (location % 3) + study // 5 % 4

    def radius(self, study: int, structure: str, location: int, phase: int) -> float:
        """Return a radius in pixels: smaller towards the apex and, for ``icontour``, in systole."""
        scale = min(self.shape) / 32
        taper = 4.0 * location / max(self.locations, 8) + 0.1 * (study % 3)
        if structure.startswith("p"):
            return 1.2 * scale
        if structure == "ocontour":
            return (11.0 - taper) * scale
        systole = phase <= self.es
        contracted = (phase + 1) / (self.es + 1) if systole else (self.ed - phase) / (self.ed - self.es)
        return float((7.4 - taper - 1.2 * (1.0 - np.cos(np.pi * contracted))) * scale)

    def ring(self, study: int, structure: str, location: int, phase: int) -> FloatArray:
        """Return the true outline, (360, 2) float64 x, y in the pixel frame; the file holds it snapped."""
        x, y = self.centre(study, location)
        if structure.startswith("p"):
            side = -0.35 if structure.startswith("p1") else 0.35
            x += side * self.radius(study, "icontour", location, phase)
        return circle(x, y, self.radius(study, structure, location, phase))

    def drawn(self) -> list[tuple[int, str, int, int]]:
        """Return (study, structure, location, phase) of every contour file."""
        return [
            (study, structure, location, phase)
            for study in range(self.studies)
            for location in range(self.locations)
            for phase in sorted({self.es, self.ed})
            for structure in self.structures
            if structure != "ocontour" or phase == self.ed
        ]

    def pixels(self, study: int, location: int, phase: int) -> NDArray[np.int16]:
        """Return the stored values: partial volume at the edges, a little noise, no two images alike."""
        x, y = self.centre(study, location)
        rows, columns = np.indices(self.shape)
        distance = np.hypot(columns - x, rows - y)
        value = 90.0 + rows / 2
        for structure, level in (("ocontour", 60.0), ("icontour", 420.0)):
            inside = np.clip(self.radius(study, structure, location, phase) - distance + 0.5, 0.0, 1.0)
            value += inside * (level - value)
        noise = np.random.default_rng((study, location, phase)).integers(-8, 9, self.shape)
        return np.rint(value + noise).astype(np.int16)


def make_source(
    root: Path,
    *,
    studies: int = 2,
    locations: int = 3,
    phases: int = 4,
    shape: tuple[int, int] = (32, 32),
    structures: tuple[str, ...] = ("icontour", "ocontour"),
    header_patients: Sequence[str] = (),
    **header: Any,
) -> TinySource:
    """Write a whole small SOURCE (``dicoms/``, ``contourfiles/``, ``link.csv``) under `root` and return its
    truth.

    `header` goes to `write_dicom` for every image, ``header_patients`` are the PatientIDs of the
    studies. The default writes 24 images and 18 contours in about
    0.1 s.
    """
    source = TinySource(root, studies, locations, phases, shape, structures)
    for study in range(studies):
        for location in range(locations):
            for phase in range(phases):
                values: dict[str, Any] = {
                    "PatientID": header_patients[study] if header_patients else source.patient_id(study),
                    "InstanceNumber": source.number(location, phase),
                    "TriggerTime": f"{20 + 800 * phase / phases:.4f}",
                    "ImagePositionPatient": position_mm(location),
                } | header
                write_dicom(
                    source.image(study, location, phase), source.pixels(study, location, phase), **values
                )
    for study, structure, location, phase in source.drawn():
        ring = tracing.trace(source.ring(study, structure, location, phase))
        write_contour(source.contour(study, structure, location, phase), ring)
    write_link(root / "link.csv", [(source.patient_id(s), source.original_id(s)) for s in range(studies)])
    return source


def phantom(index: int = 0, *, locations: int = 8, phases: int = 10, seed: int = 0, **fields: Any) -> Study:
    """Return a study of the phantom, by default small (64 x 64 pixels of 3 mm) and quick to draw.

    ``.ring(structure, location, phase)`` is the true outline in the pixel frame, drawn or not;
    ``.pixels(location, phase)`` the image; ``.drawings()`` what a reader drew; ``.es``, ``.ed`` the phases.
    """
    values: dict[str, Any] = {"size": 64, "spacing_mm": 3.0} | fields
    return Study(index, seed, locations, phases, **values)


def make_phantom_source(root: Path, studies: Sequence[Study], labels: Labels = "ed-es") -> dict[str, Any]:
    """Write a SOURCE of phantom studies under `root`; return the counts to expect of it."""
    root.mkdir(parents=True, exist_ok=True)
    return write_source(root, studies, labels=labels)
