"""impute: contours for a slice that nobody drew, from the slices it lies between; see `dicom_etl.impute`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import nan
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dicom_etl.geometry.polygons import measure
from dicom_etl.impute.estimate import NEAREST, Parent, confidence, estimate, parent_of
from dicom_etl.impute.guide import Slice
from dicom_etl.impute.parents import SPATIAL, TEMPORAL, Axis, ParentLink
from dicom_etl.records import ImageHeader, Outline, SamplePlan

NAME = "impute"
CONFIDENCE_DIGITS = 4


class ParentPair(NamedTuple):
    """What one structure of a slice is made of; ``confidence`` is that in the parents: 1 when both are drawn."""

    structure: str
    link: ParentLink
    parents: tuple[Parent, Parent]
    confidence: float


class ImputePlan(NamedTuple):
    """A slice to fill, and what from; depends on nothing else, so it can be made in any process.

    ``is_parent`` says that other slices will be made of this one.
    """

    sample: SamplePlan
    pairs: tuple[ParentPair, ...]
    is_parent: bool = False


def as_slice(pixels: NDArray[Any], header: ImageHeader) -> Slice:
    """Place an image in the plane of its stack.

    ``pixels`` (y, x) are as stored in the dataset, so that `verify` can make the same estimate from the file alone.
    """
    position = np.array(header.position_mm)
    along_x, along_y = np.array(header.orientation).reshape(2, 3)
    return Slice(pixels, header.pixel_spacing_mm, (float(position @ along_x), float(position @ along_y)))


def prepare(
    image: Slice, outlines: Mapping[str, Outline], structures: Sequence[str]
) -> tuple[Parent | None, ...]:
    """Return what a slice's contours are as parents, by structure; None where it has none."""
    return tuple(
        parent_of(image, outlines[structure].rings) if structure in outlines else None
        for structure in structures
    )


def impute_slice(
    image: Slice, plan: ImputePlan, structures: Sequence[str], *, mode: str, way: str
) -> tuple[dict[str, Outline], dict[str, Any]]:
    """Make the contours of a slice, and the columns of its row that say how far to trust them.

    Structures that have nothing between their parents are missing from the result. Which rows they came from is known
    only when all rows are.
    """
    outlines: dict[str, Outline] = {}
    trust: list[float] = []
    shares: dict[str, float] = {}
    distances: dict[Axis, list[float]] = {SPATIAL: [], TEMPORAL: []}
    for structure, link, parents, sure in plan.pairs:
        found = estimate(image, parents, link.weights, NEAREST if mode == NEAREST else way)
        if found.rings:
            outlines[structure] = measure(found.rings)
            shares[structure] = link.weights[1]
            distances[link.axis].append(link.distance)
            trust.append(
                round(confidence(found.agreement, link.axis, link.distance, sure), CONFIDENCE_DIGITS)
            )
    return outlines, {
        "confidence": min(trust, default=nan),
        "imputed_distance_mm": max(distances[SPATIAL], default=nan),
        "imputed_distance_ms": max(distances[TEMPORAL], default=nan),
        "imputed_share": tuple(shares.get(structure, nan) for structure in structures),
    }
