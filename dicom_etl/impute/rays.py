"""Outlines as radii: how far the boundary lies from the centre of mass along rays of fixed angles.

Nearly every outline of a ventricle can be told this way (it is star-shaped), and then blending two outlines
is blending two vectors, and the result cannot cross itself. `to_rays` declines outlines that cannot.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from dicom_etl.geometry.polygons import centroid, measure
from dicom_etl.records import FloatArray, Rings

RAYS = 64
"""Rays of an outline: 2.5 mm apart on the largest ventricle, 26 mm in radius; the polygon they span is 0.16%
too small."""

ANGLES: FloatArray = np.arange(RAYS, dtype=np.float64) * (2 * np.pi / RAYS)
DIRECTIONS: FloatArray = np.column_stack((np.cos(ANGLES), np.sin(ANGLES)))
"""Unit vectors (ray, 2) x,y."""

STAR_TOLERANCE = 0.02
"""Share of its area by which an outline may differ from its radii: half-pixel steps make drawn circles this
much less than star-shaped when they are small."""


class RadialOutline(NamedTuple):
    """A star-shaped outline, in mm."""

    centre: FloatArray
    """Centre of mass (2,) x,y in the plane."""
    radii: FloatArray
    """Distance (ray,) of the boundary along `DIRECTIONS`."""

    def ring(self) -> FloatArray:
        """Return the polygon (ray, 2) x,y in mm."""
        return self.centre + self.radii[:, None] * DIRECTIONS


def to_rays(rings: Rings) -> RadialOutline | None:
    """Return the outline of one star-shaped ring in mm; None for another shape or several rings."""
    if len(rings) != 1:
        return None
    outline = measure(rings)
    centre = centroid(outline)
    radii = outermost_crossings(rings[0] - centre)
    spanned = float(radii @ np.roll(radii, -1)) * np.sin(2 * np.pi / RAYS) / 2
    if not radii.min() > 0 or abs(spanned - outline.area) > STAR_TOLERANCE * outline.area:
        return None
    return RadialOutline(centre, radii)


def outermost_crossings(ring: FloatArray) -> FloatArray:
    """Return how far (ray,) a ring (n, 2) around the origin reaches along `DIRECTIONS`; 0 for none."""
    x, y = ring.T
    across = np.outer(DIRECTIONS[:, 0], y) - np.outer(DIRECTIONS[:, 1], x)
    above = across > 0
    ray, vertex = np.nonzero(above != np.roll(above, -1, axis=1))
    after = (vertex + 1) % len(ring)
    here, there = across[ray, vertex], across[ray, after]
    part = here / (here - there)
    points = ring[vertex] + part[:, None] * (ring[after] - ring[vertex])
    radii = np.zeros(RAYS)
    np.maximum.at(radii, ray, (points * DIRECTIONS[ray]).sum(axis=1))
    return radii


def blend(outlines: Sequence[RadialOutline], weights: FloatArray) -> RadialOutline:
    """Return the outline between outlines: centres, and the areas of its sectors, are weighted means of theirs.

    Two equal outlines at different places give the same outline between them. Areas are averaged, not radii,
    because the area of the ventricle changes more evenly than its radius: along the axis (half an ellipsoid) and
    through the beat, where the weights, none negative and adding up to 1, are shares of volume.
    """
    centre = weights @ np.array([outline.centre for outline in outlines])
    return RadialOutline(centre, np.sqrt(weights @ np.array([outline.radii for outline in outlines]) ** 2))


def overlap(one: FloatArray, other: FloatArray) -> float:
    """Return the Dice overlap of two outlines about one centre; a sector's area goes with the square of its radius."""
    shared = np.minimum(one, other)
    return float(2 * (shared @ shared) / (one @ one + other @ other))
