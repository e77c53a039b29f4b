"""The sets of studies that ingest is timed on. All are seeded: the same name gives the same bytes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

MAKE = Path(__file__).resolve().parents[1] / "sample_data" / "make.py"
REAL = Path(os.environ.get("DICOM_ETL_REAL", Path(__file__).resolve().parents[2] / "shared" / "real"))
"""The three real studies; see CONTRIBUTING.md."""

Maker = Callable[[Path, float], None]
"""Makes a SOURCE in a folder, so many times as large as it is as a rule."""


@dataclass(frozen=True)
class Set:
    """One set: what it is, and how it is made."""

    what: str
    make: Maker
    script: str = "plain"
    """The plain script beside it, in `benchmarks.scripts`."""
    options: tuple[str, ...] = ()
    """What our command is given besides."""
    real: bool = False
    """It is made of the real studies, and left out where these are absent."""


@contextmanager
def made(name: str, share: float = 1.0, folder: Path | None = None) -> Iterator[Path]:
    """Make a set; it goes when the block ends."""
    with tempfile.TemporaryDirectory(prefix=f"bench-{name}-", dir=folder) as place:
        SETS[name].make(Path(place) / "source", share)
        yield Path(place) / "source"


def phantom(source: Path, share: float, studies: int, locations: int, phases: int) -> None:
    """Make studies of the synthetic heart, every image between base and apex labelled."""
    count = max(1, round(studies * share))
    phases = phases if studies > 1 else max(2, round(phases * share))
    words = ("--studies", count, "--locations", locations, "--phases", phases, "--labels", "all", "--fast")
    subprocess.run([sys.executable, MAKE, source, *map(str, words)], check=True, capture_output=True)


def shifted(source: Path, share: float, make: Maker) -> None:
    """Move all contours of a study by one sub-pixel shift: off the half-pixel grid, as from mm or a finer one."""
    make(source, share)
    random = np.random.default_rng(1)
    for study in sorted((source / "contourfiles").iterdir()):
        shift = random.uniform(-0.5, 0.5, 2)
        for path in study.rglob("*.txt"):
            _write(path, np.loadtxt(path) + shift)


def real(source: Path, share: float, *, moved: bool) -> None:
    """Copy the labelled images of the three real studies to 100 patients of about 19, with a little noise of their own.

    `moved`: each contour is moved and jittered off the half-pixel grid; else contours repeat from patient to patient.
    """
    import pydicom
    from pydicom.uid import UID

    # Leading zeros in UIDs of the real studies.
    warnings.filterwarnings("ignore", "Invalid value for VR UI", module="pydicom")
    links = [line.split(",") for line in (REAL / "link.csv").read_text().split()[1:]]
    rows = ["patient_id,original_id"]
    for number in range(max(3, round(100 * share))):
        patient, original = links[number % len(links)]
        random = np.random.default_rng((2, number))
        name, drawn_as = f"R{number:04}", f"SC-{number:04}"
        rows.append(f"{name},{drawn_as}")
        (source / "dicoms" / name).mkdir(parents=True)
        for path in sorted((REAL / "contourfiles" / original).rglob("*icontour*.txt")):
            instance = int(path.name.split("-")[2])
            image = pydicom.dcmread(REAL / "dicoms" / patient / f"{instance}.dcm")
            pixels = image.pixel_array + random.integers(0, 2, (image.Rows, image.Columns))
            image.PixelData = pixels.astype("<i2").tobytes()
            image.PatientID = image.PatientName = name
            for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID"):
                setattr(image, keyword, f"2.25.{number + 1}{len(keyword)}")
            image.SOPInstanceUID = UID(f"2.25.{number + 1}000{instance}")
            image.file_meta.MediaStorageSOPInstanceUID = image.SOPInstanceUID
            image.save_as(source / "dicoms" / name / f"{instance}.dcm")
            outline = np.loadtxt(path)
            if moved:
                outline += random.uniform(-0.5, 0.5, 2) + random.normal(0, 0.02, outline.shape)
            target = source / "contourfiles" / drawn_as / "i-contours" / path.name
            target.parent.mkdir(parents=True, exist_ok=True)
            _write(target, outline)
    (source / "link.csv").write_text("\n".join(rows) + "\n", encoding="ascii")


def structure_sets(source: Path, share: float, make: Maker) -> None:
    """Write the inner contours of each study in mm, as one RT Structure Set in place of its text files."""
    import pydicom
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import UID, ExplicitVRLittleEndian, RTStructureSetStorage

    shifted(source, share, make)
    for line in (source / "link.csv").read_text().split()[1:]:
        patient, original = line.split(",")
        contours = []
        for path in sorted((source / "contourfiles" / original).rglob("*icontour*.txt")):
            image = pydicom.dcmread(
                source / "dicoms" / patient / f"{int(path.name.split('-')[2])}.dcm", stop_before_pixels=True
            )
            across, down = np.reshape(image.ImageOrientationPatient, (2, 3)).astype(float)
            row_mm, column_mm = map(float, image.PixelSpacing)
            x, y = (np.loadtxt(path) - 1).T
            points = image.ImagePositionPatient + np.outer(x * column_mm, across) + np.outer(y * row_mm, down)
            named, contour = Dataset(), Dataset()
            named.ReferencedSOPClassUID, named.ReferencedSOPInstanceUID = (
                image.SOPClassUID,
                image.SOPInstanceUID,
            )
            contour.ContourImageSequence = [named]
            contour.ContourGeometricType = "CLOSED_PLANAR"
            contour.NumberOfContourPoints = len(points)
            contour.ContourData = [f"{value:.4f}" for value in points.ravel()]
            contours.append(contour)
        shutil.rmtree(source / "contourfiles" / original)
        (source / "contourfiles" / original).mkdir()
        region, drawn, whole = Dataset(), Dataset(), Dataset()
        region.ROINumber, region.ROIName, region.ROIGenerationAlgorithm = 1, "icontour", "MANUAL"
        region.ReferencedFrameOfReferenceUID = image.FrameOfReferenceUID
        drawn.ReferencedROINumber, drawn.ContourSequence = 1, contours
        whole.file_meta = FileMetaDataset()
        whole.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        whole.SOPClassUID = whole.file_meta.MediaStorageSOPClassUID = RTStructureSetStorage
        whole.SOPInstanceUID = whole.file_meta.MediaStorageSOPInstanceUID = UID(f"2.25.7{int(patient[3:])}")
        whole.PatientID, whole.StudyInstanceUID, whole.Modality = patient, image.StudyInstanceUID, "RTSTRUCT"
        whole.StructureSetROISequence, whole.ROIContourSequence = [region], [drawn]
        whole.save_as(source / "contourfiles" / original / "structures.dcm", enforce_file_format=True)


def compressed(source: Path, share: float, make: Maker, encode: Callable[[Path], None]) -> None:
    """Compress all images of a set, without loss."""
    make(source, share)
    with ProcessPoolExecutor() as pool:
        for _ in pool.map(encode, sorted((source / "dicoms").rglob("*.dcm")), chunksize=16):
            pass


def by_pydicom(path: Path, syntax: str) -> None:
    """Compress a file as pydicom does."""
    import pydicom

    dataset = pydicom.dcmread(path)
    dataset.compress(syntax, generate_instance_uid=False)
    dataset.save_as(path)


def by_gdcm(path: Path) -> None:
    """Compress a file as JPEG lossless, which pydicom has no encoder of."""
    import gdcm

    reader, change, writer = gdcm.ImageReader(), gdcm.ImageChangeTransferSyntax(), gdcm.ImageWriter()
    reader.SetFileName(str(path))
    change.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.JPEGLosslessProcess14_1))
    if not reader.Read():
        raise RuntimeError(f"gdcm cannot read {path}")
    change.SetInput(reader.GetImage())
    change.Change()
    writer.SetFileName(str(path))
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    if not writer.Write():
        raise RuntimeError(f"gdcm cannot write {path}")


def _write(path: Path, vertices: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> None:
    path.write_text("".join(f"{x:.4f} {y:.4f}\n" for x, y in vertices.tolist()), encoding="ascii")


_CINE = partial(phantom, studies=25, locations=22, phases=20)
_FEW = partial(phantom, studies=5, locations=22, phases=20)
JPEG_2000, RLE = "1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.5"

SETS = {
    "a": Set("10,000 slices in 25 studies, contours on the half-pixel grid", _CINE),
    "b": Set("the same, contours off the grid", partial(shifted, make=_CINE)),
    "c": Set("1,867 real slices in 100 studies, contours off the grid", partial(real, moved=True), real=True),
    "c-repeated": Set(
        "the same, contours as drawn, so each repeats in 32 others", partial(real, moved=False), real=True
    ),
    "d": Set("500 studies of 4 slices", partial(phantom, studies=500, locations=2, phases=2)),
    "e": Set("one study of 20,000", partial(phantom, studies=1, locations=22, phases=1000)),
    "f": Set(
        "2,000 slices, contours in RT Structure Sets", partial(structure_sets, make=_FEW), "plain_rtstruct"
    ),
    "g": Set(
        "2,000 slices, JPEG 2000",
        partial(compressed, make=_FEW, encode=partial(by_pydicom, syntax=JPEG_2000)),
    ),
    "g-jpeg-lossless": Set("2,000 slices, JPEG lossless", partial(compressed, make=_FEW, encode=by_gdcm)),
    "g-rle": Set("2,000 slices, RLE", partial(compressed, make=_FEW, encode=partial(by_pydicom, syntax=RLE))),
    "gzip": Set(
        "2,000 slices, written with gzip", _FEW, script="plain_gzip", options=("--compression", "gzip")
    ),
}
