"""impute: contours for a slice that nobody drew, from the slices it lies between; see `dicom_etl.impute`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dicom_etl.geometry.polygons import measure
from dicom_etl.impute.estimate import NEAREST, Parent, confidence, estimate, parent_of
from dicom_etl.impute.parents import SPATIAL, Axis
from dicom_etl.impute.slices import Slice
from dicom_etl.records import ImageHeader, Outline, SamplePlan

NAME = "impute"
CONFIDENCE_DIGITS = 4


@dataclass(frozen=True, slots=True)
class ParentPair:
    """What one structure of a slice is made of.

    ``share`` is the weight of the second parent, ``distance`` that to the nearer one in mm or ms, ``confidence`` that
    in the parents: 1 when both are drawn.
    """

    structure: str
    axis: Axis
    parents: tuple[Parent, Parent]
    share: float
    distance: float
    confidence: float


@dataclass(frozen=True, slots=True)
class ImputePlan:
    """A slice to fill, and what from; depends on nothing else, so it can be made in any process.

    ``is_parent`` says that other slices will be made of this one.
    """

    sample: SamplePlan
    pairs: tuple[ParentPair, ...]
    is_parent: bool = False


@dataclass(frozen=True, slots=True)
class Imputed:
    """What a row states about its imputed structures; see the columns of the same names in `dicom_etl.dataset.schema`.

    ``shares`` holds the structures that were imputed. Which rows they came from is known only when all rows are.
    """

    confidence: float
    distance_mm: float
    distance_ms: float
    shares: Mapping[str, float]


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
    image: Slice, plan: ImputePlan, *, mode: str, way: str
) -> tuple[dict[str, Outline], Imputed]:
    """Make the contours of a slice, and say how far to trust them.

    Structures that have nothing between their parents are missing from the result.
    """
    outlines: dict[str, Outline] = {}
    trust: dict[str, float] = {}
    for pair in plan.pairs:
        weights = (1.0 - pair.share, pair.share)
        found = estimate(image, pair.parents, weights, NEAREST if mode == NEAREST else way)
        if found.rings:
            outlines[pair.structure] = measure(found.rings)
            own = confidence(found.agreement, pair.axis, pair.distance, pair.confidence)
            trust[pair.structure] = round(own, CONFIDENCE_DIGITS)
    used = [pair for pair in plan.pairs if pair.structure in outlines]
    spatial = [pair.distance for pair in used if pair.axis == SPATIAL]
    temporal = [pair.distance for pair in used if pair.axis != SPATIAL]
    return outlines, Imputed(
        min(trust.values(), default=float("nan")),
        max(spatial, default=float("nan")),
        max(temporal, default=float("nan")),
        {pair.structure: pair.share for pair in used},
    )
