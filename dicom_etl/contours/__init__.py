"""Contour formats: what label files hold, and their outlines in the pixel frame of an image."""

from __future__ import annotations

from functools import lru_cache

from dicom_etl.contours.base import ContourReader
from dicom_etl.contours.cvi42 import Cvi42Workspace
from dicom_etl.contours.nifti import NiftiMask
from dicom_etl.contours.png import PngMask
from dicom_etl.contours.rtstruct import RTStructureSet
from dicom_etl.contours.seg import DicomSegmentation
from dicom_etl.contours.sunnybrook import RvscText, SunnybrookText
from dicom_etl.contours.table import ContourTable

READERS: tuple[ContourReader, ...] = (
    SunnybrookText(),
    RvscText(),
    RTStructureSet(),
    DicomSegmentation(),
    ContourTable(),
    Cvi42Workspace(),
    PngMask(),
    NiftiMask(),
)
MASKS = frozenset({DicomSegmentation.name, PngMask.name, NiftiMask.name})
"""Formats of masks as large as their images, which none of their labels leaves."""


@lru_cache(maxsize=256)  # asked for once an image and once a label
def readers_for(kind: str) -> tuple[ContourReader, ...]:
    """Return who reads files of a SOP Class UID, or of an ending such as ``.txt``."""
    return tuple([reader for reader in READERS if kind in reader.accepts])


def readers_for_name(path: str) -> tuple[ContourReader, ...]:
    """Return who reads files that are called so."""
    stem, dot, last = path.rpartition("/")[2].casefold().lstrip(".").rpartition(".")
    _, inner, before = stem.rpartition(".")
    return readers_for(inner + before + dot + last if inner else dot + last) or readers_for(dot + last)


def reader_named(name: str) -> ContourReader:
    """Return the reader that a `ContourRef` names."""
    return next(reader for reader in READERS if reader.name == name)
