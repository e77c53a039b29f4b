"""Millimetres in the patient <-> pixels of one image: the only place that turns one into the other.

With O the position of the centre of the first pixel, r and c the directions along a row and down a column, and the
spacing between columns and rows, a pixel x,y lies at O + x dx r + y dy c (DICOM PS3.3 C.7.6.2.1.1).
"""

from __future__ import annotations

import numpy as np

from dicom_etl.geometry.locations import slice_normal
from dicom_etl.records import FloatArray, ImageHeader

SNAP_PX = 2.0**-10
"""Vertices that come of mm are put on this lattice. Without it, mm that were rounded in a file lose the exact ties of
outlines on pixel edges: 2.6% of area on average, 15% at worst, on a real study; with it 0.01% and 0.1%."""

OFF_PLANE_MM = 0.1
"""Vertices this far from the plane of their image are still drawn on it; rounding in real files moves them by 0.001."""


def has_plane(image: ImageHeader) -> bool:
    """Tell whether the header says where the image lies."""
    return bool(np.isfinite([*image.pixel_spacing_mm, *image.position_mm, *image.orientation]).all())


def to_pixels(points_mm: FloatArray, image: ImageHeader) -> tuple[FloatArray, FloatArray]:
    """Return where points lie on an image, and how far they are from its plane.

    Parameters
    ----------
    points_mm : (point, 3) float64
        In the patient frame (x to the left, y to the back, z to the head).
    image : ImageHeader
        An image with a plane.

    Returns
    -------
    pixels : (point, 2) float64
        x,y in the pixel frame, snapped to `SNAP_PX`.
    off_plane_mm : (point,) float64
        Signed distances along the normal.
    """
    frame = np.array(image.orientation).reshape(2, 3)
    from_origin = points_mm - np.array(image.position_mm)
    down, along = image.pixel_spacing_mm
    pixels = (from_origin @ frame.T) / np.array([along, down])
    return np.round(pixels / SNAP_PX) * SNAP_PX, from_origin @ slice_normal(image.orientation)


def to_patient(pixels: FloatArray, image: ImageHeader) -> FloatArray:
    """Return where points (point, 2), x,y in the pixel frame, lie in the patient, (point, 3) in mm."""
    frame = np.array(image.orientation).reshape(2, 3)
    down, along = image.pixel_spacing_mm
    return np.asarray(np.array(image.position_mm) + (pixels * np.array([along, down])) @ frame)
