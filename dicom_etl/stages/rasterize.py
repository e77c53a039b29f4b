"""rasterize: outlines to masks on the dataset's grid."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dicom_etl.config import IngestConfig
from dicom_etl.raster import rasterize
from dicom_etl.records import Rings

NAME = "rasterize"


def draw_mask(rings: Rings, shape: tuple[int, int], config: IngestConfig) -> NDArray[np.uint8]:
    """Return the mask (y, x) uint8 of one structure; all zero where there are no rings."""
    if not rings:
        return np.zeros(shape, dtype=np.uint8)
    return rasterize(rings, shape, rule=config.raster_rule, values=config.mask_values)
