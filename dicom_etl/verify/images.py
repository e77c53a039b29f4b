"""Label checks of one study against what its images show. Each rule is the docstring of its function."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeAlias

import numpy as np

from dicom_etl import alignment
from dicom_etl.records import FloatArray, Issue, SampleFacts
from dicom_etl.verify.facts import INNER
from dicom_etl.verify.fit import contrast, falls, typical
from dicom_etl.verify.neighbours import Place, neighbours
from dicom_etl.verify.options import LabelLimits
from dicom_etl.verify.single import finding, of_study, where

Study: TypeAlias = Sequence[SampleFacts]
StudyCheck: TypeAlias = Callable[[Study, LabelLimits], Iterator[Issue]]

_WORTH_MEASURING_PX = 0.4
"""Mean shift to the best place from which on the whole study is measured: 0.8 and more where contours are off by a
pixel, less than 0.3 on the real studies as they are."""


def check_contours_on_walls(study: Study, limits: LabelLimits) -> Iterator[Issue]:
    """misaligned: across an inner contour the image falls from blood to muscle, by at least `least_contrast`.

    A warning (see `dicom_etl.verify.fit` for the measure). When the typical contour of a study has less, the study
    is named instead of each contour: other images, mirrored ones, or images in which blood is not bright.
    """
    measured = [(facts, facts.fit) for facts in study if facts.fit is not None]
    if _unfit(study, limits):
        typical_contrast = float(np.median([fit.contrast for _, fit in measured]))
        message = (
            f"the typical contrast across its {INNER}s is {typical_contrast:.2f}, where 1 is an even wall and "
            f"{limits.least_contrast:g} the least; are they of these images?"
        )
        yield of_study(study, "misaligned", message)
        return
    for facts, fit in measured:
        if fit.contrast < limits.least_contrast:
            message = f"the contrast across it is {fit.contrast:.2f}, where 1 is an even wall"
            yield finding(facts, "warning", "misaligned", message, facts.contour(INNER))


def check_contours_in_place(study: Study, limits: LabelLimits) -> Iterator[Issue]:
    """misaligned: an inner contour cannot be moved to a much better place nearby.

    A warning when a shift of `shift_px` or more raises the contrast across it by `shift_gain` or more.
    """
    if _unfit(study, limits):
        return
    for facts in study:
        fit = facts.fit
        if fit is None or fit.gain < limits.shift_gain:
            continue
        x, y = fit.shift
        if np.hypot(x, y) >= limits.shift_px:
            message = (
                f"fits better when shifted by {x:+d} px in x and {y:+d} px in y: the contrast across it rises "
                f"from {fit.contrast:.2f} to {fit.contrast + fit.gain:.2f}"
            )
            yield finding(facts, "warning", "misaligned", message, facts.contour(INNER))


def check_contours_not_exchanged(study: Study, limits: LabelLimits) -> Iterator[Issue]:
    """misaligned: two inner contours next to each other, in location or phase, do not fit better when exchanged.

    A warning, naming both, when the contrasts across them add up to `exchange_gain` more on each other's image.
    """
    if _unfit(study, limits):
        return
    found = []
    own = {id(f): falls(f.window, f.corner, c.rim) for f in study if (c := f.contour(INNER)) is not None}
    for one, other in neighbours(study, INNER):
        gain = _exchange_gain(one, other, (own[id(one.facts)], own[id(other.facts)]))
        if gain > limits.exchange_gain:
            found.append((gain, one, other))
    named: set[str] = set()
    for gain, one, other in sorted(found, key=lambda entry: -entry[0]):
        if named.isdisjoint((one.contour.path, other.contour.path)):
            named |= {one.contour.path, other.contour.path}
            message = (
                f"this contour and the one of {where(other.facts)} ({other.contour.path}) fit better when "
                f"exchanged: the contrasts across them rise by {gain:.2f}"
            )
            yield finding(one.facts, "warning", "misaligned", message, one.contour, other.contour.path)


def check_study_in_place(study: Study, limits: LabelLimits) -> Iterator[Issue]:
    """misaligned: taken together, the inner contours of a study lie on the edges in its images.

    A warning when the shift that suits them best is more than half a pixel, beyond doubt: too little to see on one
    image, and what a wrong origin makes of a whole study (see `dicom_etl.alignment`).
    """
    drawn = [(f, c.rim, f.fit) for f in study if f.fit is not None and (c := f.contour(INNER)) is not None]
    if not drawn or _unfit(study, limits):
        return
    # The full measure takes a millisecond a slice, so it is taken where the quick one gives a reason to.
    if np.abs(np.mean([fit.shift for _, _, fit in drawn], axis=0)).max() < _WORTH_MEASURING_PX:
        return
    found = alignment.combine(
        [
            alignment.contrast(facts.window, (rim.mean(axis=0, dtype=np.float64) - facts.corner,))
            for facts, rim, _ in (drawn[index] for index in alignment.choose_slices(len(drawn)))
        ]
    )
    if found.misaligned:
        x, y = (
            f"{axis} by {shift:+.2f} px (95% interval {low:+.2f} to {high:+.2f})"
            for axis, shift, low, high in zip("xy", found.shift, found.low, found.high, strict=True)
        )
        message = (
            f"the {INNER}s of {found.slices} images fit best when all are moved in {x} and in {y}; "
            "do the files count pixels from another origin? --contour-origin sets it"
        )
        yield of_study(study, "misaligned", message)


IMAGE_CHECKS: tuple[StudyCheck, ...] = (
    check_contours_on_walls,
    check_contours_in_place,
    check_contours_not_exchanged,
    check_study_in_place,
)


def _unfit(study: Study, limits: LabelLimits) -> bool:
    """Tell whether the images of a study say nothing about its contours: the typical one lies on no wall."""
    found = [facts.fit.contrast for facts in study if facts.fit is not None]
    return bool(found) and float(np.median(found)) < limits.least_contrast


def _exchange_gain(one: Place, other: Place, own: tuple[FloatArray, FloatArray]) -> float:
    """Return by how much the contrasts across two contours rise when each lies on the other's image."""
    unit = (typical(own[0]) + typical(own[1])) / 2
    crossed = (
        falls(one.facts.window, one.facts.corner, other.contour.rim),
        falls(other.facts.window, other.facts.corner, one.contour.rim),
    )
    return sum(contrast(fall, unit) for fall in crossed) - sum(contrast(fall, unit) for fall in own)
