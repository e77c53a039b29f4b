"""parse: one slice from its files. Pixels after the modality LUT, vertices in the pixel frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import NamedTuple

from dicom_etl.config import IngestConfig
from dicom_etl.contours import reader_named
from dicom_etl.dicom import read_planned
from dicom_etl.dicom.files import limits_of
from dicom_etl.errors import CHANGED, ContourError, ImageError, ItemError
from dicom_etl.geometry.polygons import (
    farthest_outside_image,
    first_self_intersection,
    fraction_outside_image,
    measure,
)
from dicom_etl.layouts import SourceRoots
from dicom_etl.layouts.base import stamp_of
from dicom_etl.records import Image, ImageHeader, Issue, Label, Outline, Outlines, SamplePlan

NAME = "parse"
OUTSIDE = "contour-outside-image"
MOST_OUTSIDE_PX = 1.0
MOST_OUTSIDE_SHARE = 0.01
"""A contour that leaves its image by more was drawn on another one, or counts its pixels otherwise."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where a SOURCE lies, and the options that it is read with."""

    roots: SourceRoots
    config: IngestConfig


def parse_image(plan: SamplePlan, source: Source) -> Image:
    """Read the image of a sample; `ImageError` where its header is not the one that was planned with."""
    image = read_planned(source.roots.place(plan.image), plan.header, plan.stamp, limits_of(source.config))
    if image.header is plan.header:  # as of nearly all
        return image
    if plan.header != image.header:  # else nothing has: 1 us, where field by field takes 8
        _refuse_changed(plan.header, image.header, source.config)
    return replace(image, header=plan.header)


def _refuse_changed(planned: ImageHeader, found: ImageHeader, config: IngestConfig) -> None:
    changed = [
        name
        for name, was, now in zip(ImageHeader._fields, planned, found, strict=True)
        # NaN is not equal to itself; and a manufacturer may have become a word of ours.
        if was != now and repr(was) != repr(now) and not (name == "manufacturer" and config.pseudonymize)
    ]
    if changed:
        raise ImageError(f"{', '.join(changed)} changed since the header was planned with", code=CHANGED)


class Parsed(NamedTuple):
    """By structure, outlines and what was taken off their vertices; issues about others; SHA-256 of label files."""

    outlines: dict[str, Outline]
    origins: dict[str, float]
    issues: list[Issue]
    digests: dict[str, str]


def parse_labels(plan: SamplePlan, source: Source, image: ImageHeader) -> Parsed:
    """Read the labels of a sample, whose image is as ``image`` says; one that cannot be used becomes an issue."""
    parsed = Parsed({}, {}, [], {})
    by_file = sorted(plan.labels, key=_file_of)
    for _, of_file in groupby(by_file, key=_file_of):
        labels = tuple(of_file)
        try:
            found = _read(labels, source, image)
        except ItemError as error:
            parsed.issues.extend(_label_issue(error, label, plan.patient_id) for label in labels)
            continue
        if found.digest:
            parsed.digests[labels[0].ref.path] = found.digest
        for label in labels:
            parsed.issues.extend(
                issue._replace(stage=NAME, patient_id=plan.patient_id, structure=label.structure)
                for issue in found.issues
                if issue.path == label.ref.source
            )
            if (rings := found.rings.get(label.ref)) is None:
                continue
            try:
                outline = measure(rings)
                check_outline(outline, (image.rows, image.columns), source.config)
            except ItemError as error:
                parsed.issues.append(_label_issue(error, label, plan.patient_id))
                continue
            parsed.outlines[label.structure] = outline
            parsed.origins[label.structure] = found.origins[label.ref]
    return parsed


def _file_of(label: Label) -> tuple[str, str]:
    return label.ref.path, label.ref.reader


def _read(labels: Sequence[Label], source: Source, image: ImageHeader) -> Outlines:
    ref, stamp = labels[0].ref, labels[0].stamp
    place = source.roots.place(ref.path)
    try:
        return reader_named(ref.reader).read(place, [label.ref for label in labels], image, source.config)
    except OSError as error:
        raise ContourError(f"cannot be read: {error.strerror}") from None
    finally:
        # Last, so that it covers the reading, and whatever may have come of half a file.
        if stamp not in (None, stamp_of(place)):
            raise ContourError("somebody wrote to the file while SOURCE was read", code=CHANGED)


def _label_issue(error: ItemError, label: Label, patient_id: str) -> Issue:
    return label.error(error.code, f"{error}; left out", NAME, patient_id)


def check_outline(outline: Outline, shape: tuple[int, int], config: IngestConfig) -> None:
    """Make sure that an outline encloses one area, within an image of ``shape`` (rows, columns)."""
    if outline.area == 0:
        raise ContourError("the outline encloses no area")
    crossing = None if config.allow_self_intersection else first_self_intersection(outline)
    if crossing is not None:
        raise ContourError(
            f"the outline crosses itself near x {crossing[0]:.2f}, y {crossing[1]:.2f}, so its area is ambiguous; "
            "`allow_self_intersection` fills it by the even-odd rule",
            code="self-intersection",
        )
    beyond = farthest_outside_image(outline, shape)
    if beyond <= 0:
        return
    share = fraction_outside_image(outline, shape)
    if beyond > MOST_OUTSIDE_PX or share > MOST_OUTSIDE_SHARE:
        raise ContourError(
            f"it reaches {beyond:.2f} px beyond the image of {shape[0]} rows x {shape[1]} columns, with {share:.1%} "
            "of its area; is it drawn on another image, or does it count pixels otherwise (`contour_origin`)?",
            code=OUTSIDE,
        )
