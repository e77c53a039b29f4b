"""parse: one slice from its files. Pixels after the modality LUT, vertices in the pixel frame."""

from __future__ import annotations

from dataclasses import fields
from functools import lru_cache

from dicom_etl.config import IngestConfig
from dicom_etl.contours import reader_for
from dicom_etl.dicom import Limits, read_planned
from dicom_etl.errors import ContourError
from dicom_etl.geometry.polygons import (
    farthest_outside_image,
    first_self_intersection,
    fraction_outside_image,
)
from dicom_etl.layouts import SourceRoots
from dicom_etl.layouts.pseudonyms import real_of
from dicom_etl.records import ContourFile, Image, Rings, SamplePlan

NAME = "parse"
MOST_OUTSIDE_PX = 1.0
MOST_OUTSIDE_SHARE = 0.01
"""A contour that leaves its image by more was drawn on another one, or counts its pixels otherwise."""


@lru_cache(maxsize=8)
def limits_of(config: IngestConfig) -> Limits:
    """Return the limits on one DICOM file that the options set."""
    return Limits(**{limit.name: getattr(config, limit.name) for limit in fields(Limits)})


def parse_image(plan: SamplePlan, roots: SourceRoots, config: IngestConfig) -> Image:
    """Read the image of a sample.

    Raises
    ------
    ImageError
        When the file cannot be used.
    """
    return read_planned(roots.place(plan.image), plan.header, plan.proof, limits_of(config))


def parse_contour(
    file: ContourFile, roots: SourceRoots, config: IngestConfig, shape: tuple[int, int]
) -> Rings:
    """Read one contour file that was drawn on an image of ``shape`` (rows, columns).

    Raises
    ------
    ContourError
        When the file cannot be used, its outline crosses itself and that is not allowed, or it leaves the image
        by more than `MOST_OUTSIDE_PX` or `MOST_OUTSIDE_SHARE` of its area.
    """
    reader = reader_for(real_of(file.path))
    if reader is None:
        raise ContourError("no contour format knows a file of this name")
    origin = reader.origin if config.contour_origin is None else config.contour_origin
    try:
        rings = reader.read(
            roots.place(file.path),
            origin=origin,
            max_bytes=config.max_contour_bytes,
            max_points=config.max_contour_points,
        )
    except OSError as error:
        raise ContourError(f"cannot be read: {error.strerror}") from None
    crossing = None if config.allow_self_intersection else first_self_intersection(rings)
    if crossing is not None:
        raise ContourError(
            f"the outline crosses itself near x {crossing[0]:.2f}, y {crossing[1]:.2f}, so its area is ambiguous; "
            "--allow-self-intersection fills it by the even-odd rule",
            code="self-intersection",
        )
    _check_inside(rings, shape)
    return rings


def _check_inside(rings: Rings, shape: tuple[int, int]) -> None:
    beyond = farthest_outside_image(rings, shape)
    if beyond <= 0:
        return
    share = fraction_outside_image(rings, shape)
    if beyond > MOST_OUTSIDE_PX or share > MOST_OUTSIDE_SHARE:
        raise ContourError(
            f"it reaches {beyond:.2f} px beyond the image of {shape[0]} rows x {shape[1]} columns, with {share:.1%} "
            "of its area; is it drawn on another image, or does it count pixels otherwise (--contour-origin)?",
            code="contour-outside-image",
        )
