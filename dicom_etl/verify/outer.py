"""Label checks of outer contours. Each rule is the docstring of its function.

No image falls or rises all along an outer contour, so it is compared with the inner contour of the same image: the wall
between them changes little from one location to the next. On the three real studies the middle of an outer contour
lies within 3 mm of where the image before, the one after or the typical one has it around the inner contour, its
radius is right within 3 mm in the same way, and only one pair of neighbours has walls that would be more alike, by
0.2 mm, were the outer contours exchanged.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from dicom_etl.records import FloatArray, Issue
from dicom_etl.verify.facts import INNER
from dicom_etl.verify.images import StackCheck, misplaced_inners
from dicom_etl.verify.options import LabelLimits
from dicom_etl.verify.single import finding, where
from dicom_etl.verify.stack import Stack


def check_outer_in_place(stack: Stack, limits: LabelLimits) -> Iterator[Issue]:
    """misaligned: an outer contour lies around the inner one as in the image before, the one after, or the typical one.

    A warning when its middle is farther than `wall_offset_mm`, or its radius differs by more than `wall_change_mm`,
    from what each of these three makes of the inner contour; or, in a study whose walls differ more than most, when
    it is `wall_spread` times what is typical there. Before and after are along the stack; a phase needs three images
    that have both contours. Not looked at where the inner one is found to lie in a wrong place itself.
    """
    muscle = stack.myocardium
    if muscle is None or not len(muscle.which):
        return
    least = _apart(muscle.own, np.concatenate((muscle.beside(), muscle.typical[:, None]), axis=1))
    most = _most(least, limits)
    misplaced = misplaced_inners(stack, limits)[muscle.inner]
    for kind, what in enumerate(("its middle lies", "its radius is off by")):
        for index in np.flatnonzero((least[:, kind] > most[kind]) & ~misplaced):
            message = (
                f"{what} {least[index, kind]:.1f} mm or more from where it is around the {INNER} before and after it "
                "along the stack, and in the typical image"
            )
            outer = muscle.which[index]
            contour = muscle.outer.drawn[outer]
            yield finding(muscle.outer.facts[outer], "warning", "misaligned", message, contour)


def check_outers_not_exchanged(stack: Stack, limits: LabelLimits) -> Iterator[Issue]:
    """misaligned: two outer contours at adjacent locations do not fit their inner contours better when exchanged.

    A warning, naming both, when the walls of the two images are more alike then, by `wall_exchange_mm` or more, and
    each is nearer to what else `check_outer_in_place` compares it with; on images whose inner contours are in place.
    """
    muscle = stack.myocardium
    if muscle is None or not len(muscle.stack):
        return
    one, other = muscle.stack.T
    swapped = np.stack((muscle.walls(one, other), muscle.walls(other, one)), axis=1)
    own = muscle.own[muscle.stack]
    gains = _length(own[:, 0] - own[:, 1]) - _length(swapped[:, 0] - swapped[:, 1])
    beside = muscle.beside()
    # The image before the one, and after the other; what is between them is in doubt.
    around = np.stack((beside[one, 0], beside[other, 1]), axis=1)
    expected = np.stack((around, muscle.typical[muscle.stack]), axis=2)
    nearer = (_apart(swapped, expected).sum(axis=2) < _apart(own, expected).sum(axis=2)).all(axis=1)
    nearer &= ~misplaced_inners(stack, limits)[muscle.inner[muscle.stack]].any(axis=1)
    named: set[int] = set()
    for pair in sorted(np.flatnonzero(nearer & (gains >= limits.wall_exchange_mm)), key=lambda p: -gains[p]):
        if named.isdisjoint(muscle.stack[pair].tolist()):
            named.update(muscle.stack[pair].tolist())
            first, second = muscle.which[muscle.stack[pair]]
            path = muscle.outer.drawn[second].path
            message = (
                f"this contour and the one of {where(muscle.outer.facts[second])} ({path}) fit the {INNER}s better "
                f"when exchanged: the walls of the two images differ by {gains[pair]:.1f} mm less"
            )
            yield finding(
                muscle.outer.facts[first], "warning", "misaligned", message, muscle.outer.drawn[first], path
            )


OUTER_CHECKS: tuple[StackCheck, ...] = (check_outer_in_place, check_outers_not_exchanged)


def _apart(walls: FloatArray, expected: FloatArray) -> FloatArray:
    """Return how far walls (.., 3) are from the nearest of those expected (.., n, 3), (.., 2) in mm.

    In the place of the outer contour's middle, and in its radius. NaN where the typical wall, the last, is.
    """
    apart = walls[..., None, :] - expected
    kinds = np.stack((np.hypot(apart[..., 0], apart[..., 1]), np.abs(apart[..., 2])), axis=-1)
    typical = kinds[..., -1, :]
    least: FloatArray = np.where(np.isnan(kinds), np.inf, kinds).min(axis=-2)
    least[np.isnan(typical)] = np.nan
    return least


def _most(least: FloatArray, limits: LabelLimits) -> FloatArray:
    """Return how far (2,) the walls of a study may be from those expected."""
    known = least[np.isfinite(least[:, 0])]
    typical = np.median(known, axis=0) if len(known) else np.zeros(2)
    most: FloatArray = np.maximum(
        (limits.wall_offset_mm, limits.wall_change_mm), limits.wall_spread * typical
    )
    return most


def _length(walls: FloatArray) -> FloatArray:
    length: FloatArray = np.sqrt((walls * walls).sum(axis=-1))
    return length
