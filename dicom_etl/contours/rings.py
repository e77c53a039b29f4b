"""Points to rings: what every format asks of the outlines that it holds."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from dicom_etl.errors import ContourError
from dicom_etl.geometry.locations import OFF_PLANE_MM, has_plane, to_pixels
from dicom_etl.geometry.planar import as_complex
from dicom_etl.geometry.polygons import measure, polygon_area
from dicom_etl.geometry.raster import rasterize, trace
from dicom_etl.records import FloatArray, ImageHeader, Rings

_LITTLE = 1.0
"""Twice an area, in square pixels; more is no rounding error, however far away the points are."""

_PARTS = 8
_MOST_SIDE = 4096
"""Steps a pixel, and the most along a side, of the lattice that rings are joined on."""


def ring_of(points: FloatArray) -> FloatArray:
    """Return the ring (vertex, 2) of some points: without repeated neighbours and an explicit closing point."""
    place = as_complex(points)
    following = np.concatenate((place[1:], place[:1]))
    keep = place != following
    ring: FloatArray = points if np.count_nonzero(keep) == len(keep) else points[keep]
    # Twice the area as the shoelace formula has it. What takes longer is asked only where it is next to nothing.
    if abs(np.vdot(place, following).imag) < _LITTLE:
        distinct = np.unique(points, axis=0)
        if len(distinct) < 3:
            raise ContourError(f"only {len(distinct)} distinct points; an outline needs three")
        if polygon_area((ring,)) == 0:
            raise ContourError("the outline encloses no area")
    return ring


def too_many(most: int) -> str:
    """Say that a label has more points than are allowed."""
    return f"more than {most} points, which no contour has; `max_contour_points` raises the limit"


def on_image(points_mm: FloatArray, image: ImageHeader, lies: str) -> FloatArray:
    """Return points in mm (point, 3) in the pixel frame (point, 2) of their image, in whose plane they must be."""
    if not has_plane(image):
        raise ContourError("its image does not say where it lies, so mm cannot be placed on it")
    pixels, off_plane = to_pixels(points_mm, image)
    farthest = float(np.abs(off_plane).max())
    if not farthest <= OFF_PLANE_MM:
        raise ContourError(
            f"{lies} {farthest:.2f} mm off the plane of its image; {OFF_PLANE_MM:g} mm are allowed",
            "off-plane",
        )
    return pixels


def even_odd(rings: Rings, notes: list[tuple[str, str]], *, holes: bool = True) -> Rings:
    """Return the rings that are filled even-odd, and note repeated ones and, where ``holes`` need one, nested ones."""
    kept = without_repeated(rings)
    if len(kept) < len(rings):
        notes.append(("ring-repeated", f"{len(rings) - len(kept)} of its {len(rings)} rings are there twice"))
    if holes and are_nested(kept):
        notes.append(("rings-nested", "rings lie in each other; the inner one is a hole (even-odd)"))
    return kept


def without_repeated(rings: Iterable[FloatArray]) -> Rings:
    """Return the rings without those that have the points of an earlier one: filled even-odd, both would vanish."""
    seen: dict[bytes, FloatArray] = {}
    for ring in rings:
        seen.setdefault(ring[np.lexsort(ring.T)].tobytes(), ring)
    return tuple(seen.values())


def are_nested(rings: Rings) -> bool:
    """Tell whether rings lie in each other, so that some are holes: together they enclose less than one by one."""
    if len(rings) < 2:
        return False
    whole = sum(polygon_area((ring,)) for ring in rings)
    return polygon_area(rings) < whole * (1 - 1e-9)


def joined(rings: Rings) -> Rings:
    """Return the outline of what lies in any of some rings, on a lattice of 1/`_PARTS` px.

    It runs along the lattice, so its area is that of the union to about a thousandth, without a rule for every way in
    which lines can touch.
    """
    low = np.floor(np.min([ring.min(axis=0) for ring in rings], axis=0))
    size = np.ceil(np.max([ring.max(axis=0) for ring in rings], axis=0)) - low
    parts = max(1, min(_PARTS, int(_MOST_SIDE // size.max())))
    columns, rows = (size.astype(int) * parts).tolist()
    inside = np.zeros((rows, columns), dtype=np.bool_)
    for ring in rings:
        fine = measure(((ring - low) * parts - 0.5,))
        inside |= rasterize(fine, (rows, columns), rule="coverage", values="binary") > 0
    return tuple((ring + 0.5) / parts + low for ring in trace(inside))
