"""An image placed in its plane: points in millimetres, and intensities anywhere between pixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dicom_etl.records import FloatArray, Rings


@dataclass(frozen=True, slots=True)
class Slice:
    """One image and where it lies in its plane, so that parents of another spacing or field of view fit."""

    pixels: NDArray[Any]
    """(rows, columns), as stored; any offset and any gain give the same estimate."""
    spacing_mm: tuple[float, float]
    """Between rows, between columns (DICOM PS3.3 10.7.1.3)."""
    corner_mm: tuple[float, float] = (0.0, 0.0)
    """Where the centre of pixel (0, 0) lies, x along a row and y along a column, in mm in the plane of the stack."""

    def rings_mm(self, rings: Rings) -> Rings:
        """Return rings of the pixel frame in mm in the plane."""
        return tuple(ring * self.spacing_mm[::-1] + self.corner_mm for ring in rings)

    def rings_px(self, rings: Rings) -> Rings:
        """Return rings in the pixel frame; undoes `rings_mm`."""
        return tuple((ring - self.corner_mm) / self.spacing_mm[::-1] for ring in rings)

    def sample(self, x_mm: FloatArray, y_mm: FloatArray) -> FloatArray:
        """Return the image (..) float64 at x (..) and y (..) in mm: bilinear, beyond the edge the edge's value."""
        rows, columns = self.pixels.shape
        x = ((x_mm - self.corner_mm[0]) / self.spacing_mm[1]).clip(0, columns - 1)
        y = ((y_mm - self.corner_mm[1]) / self.spacing_mm[0]).clip(0, rows - 1)
        left = np.minimum(x.astype(np.intp), max(columns - 2, 0))
        top = np.minimum(y.astype(np.intp), max(rows - 2, 0))
        x -= left
        y -= top
        corner = top * columns + left
        right, down = min(columns - 1, 1), columns * min(rows - 1, 1)
        flat = self.pixels.ravel()
        upper = flat[corner] * (1 - x) + flat[corner + right] * x
        lower = flat[corner + down] * (1 - x) + flat[corner + down + right] * x
        return np.asarray(upper * (1 - y) + lower * y, dtype=np.float64)
