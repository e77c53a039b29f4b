"""Masks as PNG files: 0 outside, another value inside, or a value a structure.

A mask belongs to the image whose name it has (``IM-0001-0048.png`` or ``IM-0001-0048.dcm.png``), or to the one that
``masks.csv`` in its folder names (columns mask, image, structure). Values are names for ``--structure-map``. The file
is decoded in the decoding child. Its size must be the image's: nothing is resampled.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dicom_etl.config import LabelOptions
from dicom_etl.contours.parsed import (
    LabelFile,
    Listed,
    ManyLabels,
    Notes,
    parsed_in_child,
    parsed_once,
    read_table,
)
from dicom_etl.contours.seg import check_size, outline_of
from dicom_etl.dicom.files import Limits
from dicom_etl.errors import ContourError, ImageError
from dicom_etl.records import FileName, ImageHeader, Issue, Rings

TABLE = "masks.csv"
_COLUMNS = ("mask", "image", "structure")
_MOST_VALUES = 64
"""A picture has more grey values, a mask fewer."""


class PngMask(ManyLabels[NDArray[np.bool_]]):
    """`ContourReader` for PNG masks, and the table that says what they are of; a label is one value."""

    name = "png"
    accepts = frozenset({".png", ".csv"})

    def labels(self, path: str, options: LabelOptions) -> LabelFile[NDArray[np.bool_]] | None:
        """Return the labels by what masks.csv says of the file, else by its name."""
        folder, _, name = path.rpartition("/")
        if name.casefold().endswith(".csv"):
            return self._missing(path, folder, options) if name.casefold() == TABLE else None
        image, structure = self._listed(folder, options).get(name, ("", ""))
        target = FileName(image or PurePosixPath(name).stem)
        values, inside = self._mask(path, options)
        if not inside:
            empty = Issue("note", "empty-structure", "the mask is empty; nothing to take")
            return LabelFile({}, issues=(empty,))
        if structure and len(inside) > 1:
            raise ContourError(f"it has {len(inside)} values besides 0, but {TABLE} gives it one structure")
        return LabelFile(
            {
                "" if len(inside) == 1 else f"value {value}": Listed(
                    structure or str(value), target, values == value
                )
                for value in inside
            }
        )

    def rings(
        self, drawn: NDArray[np.bool_], image: ImageHeader, notes: Notes, options: LabelOptions
    ) -> Rings:
        """Trace a mask."""
        check_size(drawn.shape, image)
        return outline_of(drawn, options)

    def _listed(self, folder: str, options: LabelOptions) -> dict[str, tuple[str, str]]:
        """Return image and structure of each mask that the table of a folder names; nothing where there is no table."""
        try:
            return self._rows(f"{folder}/{TABLE}", options)
        except ContourError:
            return {}  # the table itself reports what is wrong with it

    def _missing(self, path: str, folder: str, options: LabelOptions) -> LabelFile[NDArray[np.bool_]]:
        names = self._rows(path, options)
        missing = sum(not Path(folder, name).is_file() for name in names)
        message = f"{missing} of the {len(names)} masks that it names are not beside it"
        return LabelFile({}, issues=(Issue("error", "orphan-contour", message),) if missing else ())

    @parsed_once
    def _rows(self, path: str, options: LabelOptions) -> dict[str, tuple[str, str]]:
        found = read_table(path, options, _COLUMNS, (), _by_mask)
        if found is None:
            raise ContourError(f"line 1: it must name the columns {', '.join(_COLUMNS)} once each")
        return found

    @parsed_in_child
    def _mask(
        self, answer: dict[str, Any], payload: bytearray, path: str
    ) -> tuple[NDArray[np.uint16], tuple[int, ...]]:
        """Return the values (rows, columns) of a mask, and those that are inside."""
        values = np.frombuffer(payload, np.uint16).reshape(answer["shape"])
        inside = tuple(value for value in np.unique(values).tolist() if value)
        if len(inside) > _MOST_VALUES:
            raise ContourError(f"it has {len(inside)} values, as a picture has; a mask has few")
        return values, inside


def _by_mask(rows: Iterator[tuple[int, list[str]]], columns: dict[str, int]) -> dict[str, tuple[str, str]]:
    found: dict[str, tuple[str, str]] = {}
    for line, row in rows:
        if len(row) <= max(columns.values()) or not row[columns["mask"]].strip():
            raise ContourError(f"line {line}: a column or the name of the mask is missing")
        mask, image, structure = (row[columns[name]].strip() for name in _COLUMNS)
        if found.setdefault(mask, (image, structure)) != (image, structure):
            raise ContourError(f"line {line}: the mask is there twice, with two meanings")
    return found


# What follows runs in the decoding child.


def contents(data: bytearray, limits: Limits, *, max_points: int) -> tuple[dict[str, Any], bytes]:
    """Return the shape of a PNG file, rows and columns, and its pixels, uint16."""
    from io import BytesIO

    try:
        from PIL import Image
    except ImportError:
        raise ImageError('PNG masks need an optional package: pip install "dicom-etl[pillow]"') from None
    Image.MAX_IMAGE_PIXELS = None  # ours is the limit that follows
    with Image.open(BytesIO(data), formats=["PNG"]) as picture:
        columns, rows = picture.size
        if rows * columns * 4 > limits.max_image_bytes:
            raise ImageError(f"{rows} rows x {columns} columns are more than `max_image_bytes` allows")
        pixels = np.asarray(picture)
    if pixels.ndim == 3:
        colours, opaque = pixels[..., : 3 if pixels.shape[2] > 2 else 1], pixels.shape[2] in (1, 3)
        if not opaque and (pixels[..., -1] != pixels[..., -1].max()).any():
            raise ImageError("it is transparent in part, so what it masks is ambiguous")
        if (colours != colours[..., :1]).any():
            raise ImageError("it is coloured; a mask is grey, or its palette numbers its structures")
        pixels = colours[..., 0]
    if pixels.dtype.kind not in "bu" and not (int(pixels.min()) >= 0 and int(pixels.max()) < 1 << 16):
        raise ImageError("its values do not fit in 16 bits")
    return {"shape": pixels.shape}, np.ascontiguousarray(pixels, np.uint16).tobytes()
