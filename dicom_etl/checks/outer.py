"""Label checks of outer contours. Each rule is the docstring of its function.

No image falls or rises all along an outer contour, so it is compared with the inner contour of the same image: the wall
between them changes little from one location to the next. On the three real studies the middle of an outer contour
lies within 3 mm of where the image before, the one after or the typical one has it around the inner contour, its
radius is right within 3 mm in the same way, and only one pair of neighbours has walls that would be more alike, by
0.2 mm, were the outer contours exchanged. What is like muscle ends at the outer contour, but not all along it: three of
28 right ones would fit better 3.5 px away or more, so that counts only for one that lies 3 mm off; these three lie
1.7 mm off at most.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from dicom_etl.checks.drawn_study import DrawnStudy, Myocardium, apart_mm
from dicom_etl.checks.edge_contrast import Indices
from dicom_etl.checks.images import StudyCheck, exchanged, misplaced_inners
from dicom_etl.checks.limits import LabelLimits
from dicom_etl.checks.sample_checks import INNER
from dicom_etl.geometry.planar import median
from dicom_etl.records import FloatArray, Issue


def check_outer_in_place(study: DrawnStudy, limits: LabelLimits) -> Iterator[Issue]:
    """misaligned: an outer contour lies around the inner one as in the image before, the one after, or the typical one.

    A warning when its middle is farther than `wall_offset_mm`, or its radius differs by more than `wall_change_mm`,
    from what each of these three makes of the inner contour; or, in a study whose walls differ more than most, when
    it is `wall_spread` times what is typical there. Before and after are along the stack; a phase needs three images
    that have both contours. Not looked at where the inner one is found to lie in a wrong place itself.
    """
    muscle = study.myocardium
    if muscle is None:
        return
    strayed = muscle.strayed_mm
    far = strayed > _most(strayed, limits.wall_offset_mm, limits)
    for kind, what in enumerate(("its middle lies", "its radius is off by")):
        for index in _judged(muscle, np.flatnonzero(far[:, kind]), limits):
            message = (
                f"{what} {strayed[index, kind]:.1f} mm or more from where it is around the {INNER} before and after it "
                "along the stack, and in the typical image"
            )
            yield muscle.outer.finding(muscle.which[index], "misaligned", message)


def check_outer_on_border(study: DrawnStudy, limits: LabelLimits) -> Iterator[Issue]:
    """misaligned: an outer contour that lies a little off cannot be moved to a much better place on its image.

    A warning when its middle is farther than `wall_stray_mm` from where `check_outer_in_place` expects it (or
    `wall_spread` times what is typical), and a shift of `shift_px` or more, nearer to there, makes what lies just
    inside it like muscle, and what lies just outside unlike, by `border_gain` or more (see `like_muscle` in
    `dicom_etl.checks.edge_contrast`).
    """
    muscle = study.myocardium
    if muscle is None:
        return
    strayed = muscle.strayed_mm
    named = (strayed > _most(strayed, limits.wall_offset_mm, limits)).any(axis=1)
    far = strayed[:, 0] > _most(strayed, limits.wall_stray_mm, limits)[0]
    doubtful = _judged(muscle, np.flatnonzero(far & ~named), limits)
    if not len(doubtful):
        return
    gain, shift = muscle.borders(doubtful).better
    after = apart_mm(muscle.moved(doubtful, shift), muscle.expected[doubtful])[:, 0]
    better = (gain >= limits.border_gain) & (np.hypot(*shift.T) >= limits.shift_px)
    for place in np.flatnonzero(better & (after < strayed[doubtful, 0])):
        (x, y), index = shift[place].tolist(), doubtful[place]
        message = (
            f"its middle lies {strayed[index, 0]:.1f} mm or more from where it is around other {INNER}s, and it fits "
            f"the border of the muscle better when shifted by {x:+d} px in x and {y:+d} px in y: the contrast across "
            f"it rises by {gain[place]:.2f}"
        )
        yield muscle.outer.finding(muscle.which[index], "misaligned", message)


def check_outers_not_exchanged(study: DrawnStudy, limits: LabelLimits) -> Iterator[Issue]:
    """misaligned: two outer contours at adjacent locations do not fit their inner contours better when exchanged.

    A warning for each, when the walls of the two images are more alike then, by `wall_exchange_mm` or more, and
    each is nearer to what else `check_outer_in_place` compares it with; on images whose inner contours are in place.
    """
    muscle = study.myocardium
    if muscle is None or not len(muscle.stack):
        return
    one, other = muscle.stack.T
    swapped = np.stack((muscle.walls(one, other), muscle.walls(other, one)), axis=1)
    own = muscle.own[muscle.stack]
    norm = np.linalg.norm
    gains = norm(own[:, 0] - own[:, 1], axis=1) - norm(swapped[:, 0] - swapped[:, 1], axis=1)
    beside = muscle.beside()
    # The image before the one, and after the other; what is between them is in doubt.
    around = np.stack((beside[one, 0], beside[other, 1]), axis=1)
    expected = np.stack((around, muscle.typical[muscle.stack]), axis=2)
    nearer = (apart_mm(swapped, expected).sum(axis=2) < apart_mm(own, expected).sum(axis=2)).all(axis=1)
    found = np.flatnonzero(nearer & (gains >= limits.wall_exchange_mm))
    judged = _judged(muscle, np.unique(muscle.stack[found]), limits)
    found = found[np.isin(muscle.stack[found], judged).all(axis=1)]
    said = f"fit the {INNER}s better when exchanged: the walls of the two images differ by {{:.1f}} mm less"
    yield from exchanged(muscle.outer, muscle.which[muscle.stack[found]], gains[found], said)


OUTER_CHECKS: tuple[StudyCheck, ...] = (
    check_outer_in_place,
    check_outer_on_border,
    check_outers_not_exchanged,
)


def _judged(muscle: Myocardium, images: Indices, limits: LabelLimits) -> Indices:
    """Return which of some images have inner contours that are not found in a wrong place."""
    return images[~misplaced_inners(muscle.inners, limits)[muscle.inner[images]]] if len(images) else images


def _most(strayed: FloatArray, offset_mm: float, limits: LabelLimits) -> FloatArray:
    """Return how far (2,) the walls of a study may stray: by this offset at least, more where the typical one does."""
    known = strayed[np.isfinite(strayed[:, 0])]
    typical = median(known) if len(known) else np.zeros(2)
    return np.maximum((offset_mm, limits.wall_change_mm), limits.wall_spread * typical)
