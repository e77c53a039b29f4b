"""Outlines to masks. Pure numpy."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dicom_etl.records import Rings


def rasterize(
    rings: Rings, shape: tuple[int, int], *, rule: str = "coverage", values: str = "binary"
) -> NDArray[np.uint8]:
    """Return the mask (y, x) of the pixels whose centre lies inside, by the half-open even-odd rule."""
    y, x = np.indices(shape)
    inside = np.zeros(shape, dtype=bool)
    for ring in rings:
        for (x0, y0), (x1, y1) in zip(ring, np.roll(ring, -1, axis=0), strict=True):
            if y0 != y1:
                between = ((y0 <= y) & (y < y1)) | ((y1 <= y) & (y < y0))
                inside ^= between & (x < x0 + (y - y0) * (x1 - x0) / (y1 - y0))
    return inside.astype(np.uint8)
