"""Label checks of one study against what its images show. Each rule is the docstring of its function."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import permutations
from typing import TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from dicom_etl.checks import alignment
from dicom_etl.checks.drawn_study import DrawnStudy
from dicom_etl.checks.edge_contrast import Indices
from dicom_etl.checks.limits import LabelLimits
from dicom_etl.checks.sample_checks import INNER, of_study, where
from dicom_etl.checks.structures import Contours
from dicom_etl.geometry.planar import median
from dicom_etl.records import FloatArray, Issue

_Answer = TypeVar("_Answer")
StudyCheck: TypeAlias = Callable[[DrawnStudy, LabelLimits], Iterator[Issue]]

_WORTH_MEASURING_PX = 0.45
"""Shift, by a quick measure, from which on a whole study is measured. It is 0.5 or more on all real and made studies,
moved by half a pixel to one and a half, in which the full measure then finds something, and 0.4 at most on the real
ones as they are."""

_NO_LOSS = 0.05
"""Contrast that an image may lose without it saying anything."""

_FITTING = 0.7
"""Typical contrast of contours that are of their images; 0.93 or more on real and made studies, and 0.55 at most where
they are of another one."""

_FEWEST_FOREIGN = 5
"""Contours from which on a whole study can be told to be another's."""

_NEARER_PX = 0.5
"""What a shift towards another place must bring."""


def _once(ask: Callable[[Contours, LabelLimits], _Answer]) -> Callable[[Contours, LabelLimits], _Answer]:
    """Have contours keep an answer that several checks ask for: all take 1.15 times as long on four images without.

    With the contours it goes: a study of 440 images has 10 MB of them.
    """

    def answer(inner: Contours, limits: LabelLimits) -> _Answer:
        if ask not in inner.answers:
            inner.answers[ask] = ask(inner, limits)
        found: _Answer = inner.answers[ask]
        return found

    return answer


def check_contours_on_walls(study: DrawnStudy, limits: LabelLimits) -> Iterator[Issue]:
    """misaligned: across an inner contour the image falls from blood to muscle, by at least `least_contrast`.

    A warning (see `dicom_etl.checks.edge_contrast` for the measure). When the typical contour of a study has less,
    the study is named instead of each contour: mirrored images, or images in which blood is not bright.
    """
    inner = study.inner
    if inner is None or _foreign(inner, limits):
        return
    contrast = inner.walls.contrast
    if _unfit(inner, limits):
        message = (
            f"the typical contrast across its {INNER}s is {np.nanmedian(contrast):.2f}, where 1 is an even wall "
            f"and {limits.least_contrast:g} the least; are they of these images?"
        )
        yield of_study(study.images, "misaligned", message, structure=INNER)
        return
    for index in np.flatnonzero(contrast < limits.least_contrast):
        message = f"the contrast across it is {contrast[index]:.2f}, where 1 is an even wall"
        yield inner.finding(index, "misaligned", message)


def check_contours_of_this_study(study: DrawnStudy, limits: LabelLimits) -> Iterator[Issue]:
    """study-exchanged: the contours of a study are of its images.

    An error when `foreign_share` of five or more inner contours lie in a wrong place, each by its own image, and
    neither mirrored nor bright muscle explains it: the link table names another study's contours. Exchanged with one
    another, 62% or more of the contours of real and made studies do, and none where they belong.
    """
    if study.inner is not None and _foreign(study.inner, limits):
        count = int(_astray(study.inner, limits).sum())
        message = (
            f"{count} of {len(study.inner.drawn)} {INNER}s lie on no wall of their images: they look like the "
            "contours of another study; does the link table name the right one?"
        )
        yield of_study(study.images, "study-exchanged", message, severity="error")


def check_contours_in_place(study: DrawnStudy, limits: LabelLimits) -> Iterator[Issue]:
    """misaligned: an inner contour cannot be moved to a much better place nearby.

    A warning when a shift of `shift_px` or more raises the contrast across it by `shift_gain` or more. A contour that
    lies `stray_px` or more from where its neighbours along the stack and in the cardiac cycle have it needs only a
    shift of `stray_shift_px`, towards all of these places, that raises the contrast by `stray_gain`; `stray_far_px` or
    more away, at all.
    """
    inner = study.inner
    if inner is None or _unfit(inner, limits):
        return
    gain, shift = inner.walls.better
    for index in np.flatnonzero(_movable(inner, limits)):
        x, y = shift[index].tolist()
        own = inner.walls.contrast[index]
        message = (
            f"fits better when shifted by {x:+d} px in x and {y:+d} px in y: the contrast across it rises "
            f"from {own:.2f} to {own + gain[index]:.2f}"
        )
        yield inner.finding(index, "misaligned", message)


def check_contours_not_mirrored(study: DrawnStudy, limits: LabelLimits) -> Iterator[Issue]:
    """misaligned: an inner contour does not fit its image better when mirrored left to right.

    A warning when the contrast across it rises by `mirror_gain` or more, and its neighbours along the stack and in the
    cardiac cycle agree: its shape is then more like theirs, or it lies nearer to where they have it.
    """
    inner = study.inner
    if inner is None:
        return
    for index in np.flatnonzero(_mirrored(inner, limits)):
        message = (
            "fits better when mirrored left to right: the contrast across it rises by "
            f"{inner.mirror_gains[index]:.2f}, and it is more like its neighbours"
        )
        yield inner.finding(index, "misaligned", message)


def check_contours_not_exchanged(study: DrawnStudy, limits: LabelLimits) -> Iterator[Issue]:
    """misaligned: two inner contours next to each other, in location or phase, do not fit better when exchanged.

    A warning for each, when the contrasts across them add up to `exchange_gain` more on each other's image. Not
    looked at where centres and radii together differ by less than `exchange_px`, or `exchange_share` of the radius:
    nobody could tell. When one of them alone is found to be in the wrong place, the other's image must not lose by
    the exchange.
    """
    inner = study.inner
    if inner is None or _unfit(inner, limits):
        return
    one, other = inner.pairs.T
    radius = inner.radius_px
    apart_px = inner.apart(inner.centre_px) + np.abs(radius[one] - radius[other])
    least_px = np.maximum(limits.exchange_px, limits.exchange_share * ((radius[one] + radius[other]) / 2))
    pairs = inner.pairs[apart_px >= least_px]
    if not len(pairs):
        return
    each = inner.walls.exchange_gains(pairs)
    promising = each.sum(axis=1) > limits.exchange_gain
    pairs, each = pairs[promising], each[promising]
    if not len(pairs):
        return
    misplaced = misplaced_inners(inner, limits)[pairs]
    explained = (misplaced.sum(axis=1) == 1) & np.where(misplaced, False, each < -_NO_LOSS).any(axis=1)
    gains = np.where(explained, 0, each.sum(axis=1))
    wrong = gains > limits.exchange_gain
    said = "fit better when exchanged: the contrasts across them rise by {:.2f}"
    yield from exchanged(inner, pairs[wrong], gains[wrong], said)


def check_study_in_place(study: DrawnStudy, limits: LabelLimits) -> Iterator[Issue]:
    """misaligned: taken together, the inner contours of a study lie on the edges in its images.

    A warning when the shift that suits them best is more than half a pixel, beyond doubt: too little to see on one
    image, and what a wrong origin makes of a whole study (see `dicom_etl.checks.alignment`).
    """
    inner = study.inner
    if inner is None or _unfit(inner, limits):
        return
    known = np.flatnonzero(np.isfinite(inner.walls.contrast))
    chosen = known[alignment.choose_slices(len(known))]
    # The full measure takes 0.2 ms a slice, so it is taken where it can tell, and a quick one gives a reason to.
    if (
        len(chosen) < alignment.FEWEST_SLICES
        or _peak_px(inner.walls.contrast_around(chosen)) < _WORTH_MEASURING_PX
    ):
        return
    slices = [(inner.facts[index], inner.drawn[index].ring) for index in chosen]
    found = alignment.combine([alignment.contrast(f.window, ring - f.corner) for f, ring in slices])
    if found.misaligned:
        x, y = (
            f"{axis} by {shift:+.2f} px (95% interval {low:+.2f} to {high:+.2f})"
            for axis, shift, low, high in zip("xy", found.shift, found.low, found.high, strict=True)
        )
        message = (
            f"the {INNER}s of {found.slices} images fit best when all are moved in {x} and in {y}; "
            "do the files count pixels from another origin? `contour_origin` sets it"
        )
        yield of_study(study.images, "misaligned", message, structure=INNER)


IMAGE_CHECKS: tuple[StudyCheck, ...] = (
    check_contours_of_this_study,
    check_contours_on_walls,
    check_contours_in_place,
    check_contours_not_mirrored,
    check_contours_not_exchanged,
    check_study_in_place,
)


def exchanged(contours: Contours, pairs: Indices, gains: FloatArray, said: str) -> Iterator[Issue]:
    """Yield what is ``said`` of a gain (pair,) about both contours of its pair (pair, 2).

    The greatest gain first, without pairs that overlap an earlier one.
    """
    named: set[int] = set()
    for number in np.argsort(-gains, kind="stable").tolist():
        pair = pairs[number].tolist()
        if named.isdisjoint(pair):
            named.update(pair)
            for mine, its in permutations(pair):
                path, place = contours.drawn[its].path, where(contours.facts[its])
                message = f"this contour and the one of {place} ({path}) {said.format(gains[number])}"
                yield contours.finding(mine, "misaligned", message, path)


def misplaced_inners(inner: Contours, limits: LabelLimits) -> NDArray[np.bool_]:
    """Tell which inner contours (contour,) are found to lie in a wrong place, each by its own image."""
    if _unfit(inner, limits):
        return np.zeros(len(inner.drawn), dtype=bool)
    found: NDArray[np.bool_] = (inner.walls.contrast < limits.least_contrast) | _movable(inner, limits)
    return found | _mirrored(inner, limits)


@_once
def _mirrored(inner: Contours, limits: LabelLimits) -> NDArray[np.bool_]:
    """Tell which inner contours (contour,) fit their images and their neighbours better when mirrored left to right."""
    found: NDArray[np.bool_] = inner.mirror_gains >= limits.mirror_gain
    if _unfit(inner, limits):
        return np.zeros_like(found)
    for index in np.flatnonzero(found).tolist():
        found[index] = inner.more_alike_mirrored(index) > 0 or _nearer_mirrored(inner, index)
    return found


def _nearer_mirrored(inner: Contours, index: int) -> bool:
    """Tell whether a contour mirrored left to right lies nearer to each of two or more places where others have it."""
    apart = inner.strayed_px(index, np.zeros(len(inner.drawn), dtype=bool))
    across = np.array([inner.facts[index].columns - 1 - 2 * inner.middle_px[index, 0], 0])
    nearer = np.hypot(*apart.T) - np.hypot(*(apart + across).T)
    return len(apart) >= 2 and bool((nearer >= _NEARER_PX).all())


@_once
def _movable(inner: Contours, limits: LabelLimits) -> NDArray[np.bool_]:
    """Tell which inner contours (contour,) would fit better, by as much as the limits say, as far away as they say."""
    gain, shift = inner.walls.better
    far = np.hypot(*shift.T)
    found: NDArray[np.bool_] = (gain >= limits.shift_gain) & (far >= limits.shift_px)
    doubtful = np.flatnonzero((gain > 0) & (far >= limits.stray_shift_px) & ~found).tolist()
    least = np.where(gain >= limits.stray_gain, limits.stray_px, limits.stray_far_px)
    strayed = {index: _strayed_px(inner, index, shift[index], found, least[index]) for index in doubtful}
    while any(strayed.values()):
        worst = max(strayed, key=strayed.__getitem__)
        found[worst] = True
        del strayed[worst]
        # What is out of place itself says nothing about others.
        for index in strayed.keys() & {each for pair in inner.neighbours if worst in pair for each in pair}:
            strayed[index] = _strayed_px(inner, index, shift[index], found, least[index])
    return found


def _strayed_px(
    inner: Contours, index: int, shift: Indices, wrong: NDArray[np.bool_], least_px: float
) -> float:
    """Return how far an inner contour lies from the nearest place where others have it; wrong ones do not count.

    0 when it is less than the least that counts, fewer than two others can tell, or a shift does not bring it nearer
    to each place.
    """
    apart = inner.strayed_px(index, wrong)
    before, after = np.hypot(*apart.T), np.hypot(*(apart + shift).T)
    if len(apart) < 2 or (after >= before - _NEARER_PX).any() or before.min() < least_px:
        return 0.0
    return float(before.min())


@_once
def _unfit(inner: Contours, limits: LabelLimits) -> bool:
    """Tell whether the images of a study say nothing about its contours: the typical one lies on no wall."""
    return _typical(inner.walls.contrast) < limits.least_contrast or _foreign(inner, limits)


def _typical(contrast: FloatArray) -> float:
    known = contrast[np.isfinite(contrast)]
    return float(median(known)) if len(known) else 1.0


def _astray(inner: Contours, limits: LabelLimits) -> NDArray[np.bool_]:
    """Tell which inner contours (contour,) lie on no wall, or would lie on a much better one elsewhere."""
    gain, shift = inner.walls.better
    found: NDArray[np.bool_] = inner.walls.contrast < limits.least_contrast
    found |= (gain >= limits.shift_gain) & (np.hypot(*shift.T) >= limits.shift_px)
    return found


@_once
def _foreign(inner: Contours, limits: LabelLimits) -> bool:
    """Tell whether the inner contours of a study are those of another one: `check_contours_of_this_study`."""
    contrast = inner.walls.contrast
    if len(contrast) < _FEWEST_FOREIGN or not -_FITTING < _typical(contrast) < _FITTING:
        return False
    if _typical(contrast + inner.mirror_gains) >= _FITTING:
        return False
    return float(_astray(inner, limits).mean()) >= limits.foreign_share


def _peak_px(around: FloatArray) -> float:
    """Return how far from the middle, along an axis, the contrast (3, 3) at -1, 0 and 1 px in y and x is greatest.

    Where the parabola through three values has its vertex; 1 when it has none, or that lies beyond.
    """
    before, at, after = np.stack((around.sum(axis=0), around.sum(axis=1)), axis=1)
    bend = before - 2 * at + after
    return float(
        np.divide(np.abs(before - after), -2 * bend, out=np.ones(2), where=bend < 0).clip(max=1).max()
    )
