"""rasterize: images and outlines onto the dataset's grid, and outlines to masks there."""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np
from numpy.typing import NDArray

from dicom_etl.config import IngestConfig
from dicom_etl.errors import MissingExtraError
from dicom_etl.geometry import grid
from dicom_etl.geometry.polygons import measure
from dicom_etl.geometry.raster import rasterize
from dicom_etl.records import Image, ImageHeader, Outline

NAME = "rasterize"


def require_extras(config: IngestConfig) -> None:
    """Make sure, before a run begins, that the optional package is there which some options need."""
    if find_spec("PIL") is None:
        if config.raster_rule == "pillow":
            raise MissingExtraError("`raster_rule` pillow", "pillow")
        if config.spacing_mm is not None:
            raise MissingExtraError("`spacing_mm`", "resample")


def grid_shape(header: ImageHeader, config: IngestConfig) -> tuple[int, int]:
    """Return the rows and columns that an image has on the dataset's grid; `ImageError` where it does not fit."""
    if config.size is None and config.spacing_mm is None:
        return header.rows, header.columns
    return grid.place(header, config.size, config.spacing_mm).shape


def to_grid(
    image: Image, outlines: dict[str, Outline], config: IngestConfig
) -> tuple[Image, dict[str, Outline]]:
    """Bring an image and its outlines, by structure, to the dataset's grid."""
    if config.size is None and config.spacing_mm is None:
        return image, outlines
    placement = grid.place(image.header, config.size, config.spacing_mm)
    moved = {name: measure(placement.map_rings(outline.rings)) for name, outline in outlines.items()}
    return grid.regrid(image, placement), moved


def draw_mask(outline: Outline, shape: tuple[int, int], config: IngestConfig) -> NDArray[np.uint8]:
    """Return the mask (y, x) uint8 of one structure."""
    return rasterize(outline, shape, rule=config.raster_rule, values=config.mask_values)
