"""What a stored sample is recognised by: the pixels of its image and the points of its contours."""

from __future__ import annotations

from collections import defaultdict
from itertools import pairwise

import h5py
import numpy as np
from numpy.typing import NDArray

from dicom_etl.dataset import schema
from dicom_etl.dataset.digest import sha256_of_pixels, sha256_of_points
from dicom_etl.dataset.facts import text_column
from dicom_etl.dataset.open_validated import structures_of
from dicom_etl.errors import DatasetError


def sample_marks(file: h5py.File) -> list[list[str]]:
    """Return for each sample the digests of its contours and, where it may be shared, of its image.

    Equal images have equal statistics, so only images whose statistics occur in several patients are read and
    hashed.

    Parameters
    ----------
    file : h5py.File
        An open dataset.

    Returns
    -------
    list of list of str
        One list a sample, in the order of the file; for `dicom_etl.splits.group_patients`.

    Raises
    ------
    DatasetError
        The contours do not fit the samples.
    """
    images = file[schema.IMAGES]
    marks: list[list[str]] = [[] for _ in range(images.shape[0])]
    for structure in structures_of(file):
        for row, digest in _contour_digests(file[schema.CONTOURS][structure], len(marks)):
            marks[row].append(f"contour {digest}")
    for row in _rows_like_another_patients(file[schema.SAMPLES]):
        marks[row].append(f"image {sha256_of_pixels(images[row])}")
    return marks


def _contour_digests(contours: h5py.Group, samples: int) -> list[tuple[int, str]]:
    vertices = contours[schema.VERTICES][()]
    offsets: NDArray[np.int64] = contours[schema.OFFSETS][()]
    in_order = len(offsets) == samples + 1 and offsets[0] == 0 and offsets[-1] == len(vertices)
    if not in_order or (np.diff(offsets) < 0).any():
        raise DatasetError(
            f"{contours.name}: the offsets do not share {len(vertices)} vertices out to {samples} samples"
        )
    bounds = offsets.tolist()
    return [
        (row, sha256_of_points(vertices[start:stop]))
        for row, (start, stop) in enumerate(pairwise(bounds))
        if stop > start
    ]


def _rows_like_another_patients(samples: h5py.Group) -> list[int]:
    """Return the rows whose image has the statistics of an image of another patient."""
    patients = text_column(samples["patient_id"])
    statistics = zip(
        *(samples[f"image_{name}"][()].tolist() for name in ("min", "max", "mean", "std")), strict=True
    )
    rows_of = defaultdict(list)
    for row, key in enumerate(statistics):
        rows_of[key].append(row)
    return [row for rows in rows_of.values() if len({patients[row] for row in rows}) > 1 for row in rows]
