"""One slice from its parents: their outlines blended, then moved to where its own image shows the wall."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from dicom_etl.impute import distance, guide, rays
from dicom_etl.impute.guide import Slice
from dicom_etl.impute.parents import SPATIAL, Axis
from dicom_etl.impute.rays import RadialOutline
from dicom_etl.records import FloatArray, Rings

IMAGE = "image"
CONTOURS = "contours"
DISTANCE = "distance"
NEAREST = "nearest"
WAYS = (IMAGE, CONTOURS, DISTANCE, NEAREST)
"""How a slice is made of its parents, best first."""

VERTEX_PX = 2.0**-10
"""Vertices are rounded to this part of a pixel, so that the last bits of a processor's arithmetic leave no trace."""

_LEAST_RADIUS = 0.25
"""Share of the blended radius below which the image cannot push the boundary, so that a ring stays around its
centre."""


class Parent(NamedTuple):
    """What other slices need to know of a slice that has the structure; made by `parent_of`, small enough to send."""

    shape: Rings
    """The contour in mm in the plane of the stack."""
    outline: RadialOutline | None
    """The same as radii; None when it is not one star-shaped ring."""
    pattern: FloatArray | None
    """(ray, sample): how the boundary looks on the image (see `guide.template`); None without an outline."""


def parent_of(image: Slice, rings: Rings) -> Parent:
    """Prepare a slice to be a parent; `rings` is its contour in the pixel frame of `image`."""
    shape = image.rings_mm(rings)
    outline = rays.to_rays(shape)
    return Parent(shape, outline, None if outline is None else guide.template(image, outline))


class Estimate(NamedTuple):
    """A contour that nobody drew."""

    rings: Rings
    """In the pixel frame of the target, on multiples of `VERTEX_PX`."""
    agreement: float
    """Weighted Dice overlap, 0 to 1, of the estimate with what each parent alone makes of the slice."""


def estimate(
    target: Slice, parents: Sequence[Parent], weights: Sequence[float], way: str = IMAGE
) -> Estimate:
    """Estimate the contour of one structure on a slice where nobody drew it; the parents' weights add up to 1.

    ``way`` is "image": radii are blended, then moved to the slice's own image (see `guide`). "contours": radii are
    blended. "distance": signed distances are blended (see `distance`). "nearest": the contour of the parent with the
    largest weight, the first of equals. The first two fall back to the third for outlines that are not star-shaped.
    There are no rings when the parents have nothing in common (small outlines far from each other).
    """
    shares = np.asarray(weights, dtype=np.float64)
    outlines = [parent.outline for parent in parents if parent.outline is not None]
    patterns = [parent.pattern for parent in parents if parent.pattern is not None]
    if way in (IMAGE, CONTOURS) and len(outlines) == len(patterns) == len(parents):
        return _by_rays(target, outlines, patterns if way == IMAGE else [], shares)
    shapes = [parent.shape for parent in parents]
    rings = shapes[int(shares.argmax())]
    if way != NEAREST:
        rings = distance.blend(shapes, shares, min(target.spacing_mm))
    agreement = float(shares @ [distance.overlap(rings, shape) for shape in shapes])
    return Estimate(_rounded(target.rings_px(rings)), agreement)


def _by_rays(
    target: Slice, outlines: Sequence[RadialOutline], patterns: Sequence[FloatArray], shares: FloatArray
) -> Estimate:
    """Blend radii; with the parents' patterns, move them to the image."""
    blended = rays.blend(outlines, shares)
    alone = np.array([outline.radii for outline in outlines])
    if patterns:
        strip = guide.profiles(target, blended, guide.PROFILE_STEPS + guide.SEARCH_STEPS)
        each = guide.mismatch(strip, np.array(patterns))
        # But for a constant on each ray this is the mismatch with the weighted mean of the patterns.
        together = np.tensordot(shares, each, axes=1)[None]
        spread = guide.spread_mm(float(np.ptp(alone.mean(axis=1))))
        moves = guide.settle(np.concatenate((together, each)), spread)
        radii = np.maximum(blended.radii + moves, _LEAST_RADIUS * blended.radii)
        blended, alone = RadialOutline(blended.centre, radii[0]), radii[1:]
    agreement = float(shares @ [rays.overlap(blended.radii, radii) for radii in alone])
    return Estimate(_rounded(target.rings_px((blended.ring(),))), agreement)


def _rounded(rings: Rings) -> Rings:
    return tuple(np.rint(ring / VERTEX_PX) * VERTEX_PX for ring in rings)


# `confidence` is meant as the Dice overlap to expect of way "image". Over 66 drawn slices of three studies that were
# left out, the disagreement of what the two parents make of a slice ranks the errors well (rank correlation 0.75), but
# does not say their size, which grows with the distance to the parents: 1.6 times the disagreement at 9 mm, 1.7 at 19
# (48 slices), 2.4 at 28 (30 slices).
DOUBLING_MM = 16.0
"""Distance to the nearer parent at which the error is taken as twice the disagreement."""

DOUBLING_MS = 150.0
"""The same along the cycle. Only a phantom tells (1.9 times the disagreement at 130 ms on average), so this is the
lesser evidence."""


def confidence(agreement: float, axis: Axis, distance: float, parents: float = 1.0) -> float:
    """Return the confidence, 0 to 1, in an estimate.

    ``distance`` is that to the nearer parent, in mm or ms; ``parents`` the confidence in these, 1 when both are drawn.
    """
    doubling = DOUBLING_MM if axis == SPATIAL else DOUBLING_MS
    error = (1.0 - agreement) * (1.0 + distance / doubling)
    return parents * min(1.0, max(0.0, 1.0 - error))
