"""Label checks across the drawn images of one study. Each rule is the docstring of its function."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import chain
from math import isfinite

import numpy as np

from dicom_etl.checks.drawn_study import DrawnStudy
from dicom_etl.checks.images import IMAGE_CHECKS, StudyCheck, misplaced_inners
from dicom_etl.checks.limits import LabelLimits
from dicom_etl.checks.outer import OUTER_CHECKS
from dicom_etl.checks.sample_checks import INNER, of_study, where
from dicom_etl.geometry.locations import ED, ES
from dicom_etl.records import Issue, SampleFacts, Severity

ED_EARLIEST, ED_LATEST = 0.25, 1.0
ES_EARLIEST = 0.15
"""Parts of the beat, by trigger time, between which ED cannot lie before ES, and before which ES cannot lie."""

_SURE = 2.0
"""How many times as far out of line as the other one a contour is when it is the wrong one of two."""


def check_area_steps(study: DrawnStudy, limits: LabelLimits) -> Iterator[Issue]:
    """area-jump: from one location to the next the area of a structure changes by less than `area_ratio` times.

    Within a phase; a warning. The last location drawn may be smaller by any factor, for the ventricle ends there; but
    an inner contour there is not `end_ratio` times smaller than in the phases drawn before and after, beyond what is
    typical of the study. Named is the contour that is out of step with most of its neighbours.
    """
    for contours in study.structures.values():
        area, jumps = contours.areas, []
        for pair in contours.stack:
            small, large = sorted(pair, key=area.__getitem__)
            if area[large] >= limits.area_ratio * area[small] and (
                small not in contours.ends
                or (
                    contours is study.inner
                    and contours.times_smaller(small, misplaced_inners(contours, limits)) >= limits.end_ratio
                )
            ):
                jumps.append((small, large, area[large] / area[small]))
        if not jumps:
            continue
        steps = Counter(chain.from_iterable(contours.stack))
        while jumps:
            places = [place for jump in jumps for place in jump[:2]]
            odd = max(places, key=lambda p: (*_blame(p, jumps, steps), contours.out_of_line[p]))
            jump = max((j for j in jumps if odd in j[:2]), key=lambda j: j[2])
            other = jump[0] if odd == jump[1] else jump[1]
            message = (
                f"encloses {area[odd]:.0f} px², the {contours.drawn[odd].structure} next to it at "
                f"{where(contours.facts[other])} {area[other]:.0f} px²: {jump[2]:.1f} times"
            )
            yield contours.finding(odd, "area-jump", message)
            jumps = [j for j in jumps if odd not in j[:2]]


def check_centres_close(study: DrawnStudy, limits: LabelLimits) -> Iterator[Issue]:
    """misaligned: a contour lies near one of its neighbours in location or phase.

    A warning when it has two or more and its centre is farther than `centre_jump_mm` from all of theirs. Not looked
    at where the pixel spacing is unknown.
    """
    for contours in study.structures.values():
        distance = contours.apart(contours.centre_px * contours.spacing_mm)
        if not (distance > limits.centre_jump_mm).any():
            continue
        known = np.isfinite(distance)
        pairs, distance = contours.pairs[known], distance[known]
        least = np.full(len(contours.drawn), np.inf)
        np.minimum.at(least, pairs.ravel(), np.repeat(distance, 2))
        count = np.bincount(pairs.ravel(), minlength=len(least))
        for index in np.flatnonzero((count >= 2) & (least > limits.centre_jump_mm)):
            message = (
                f"its centre lies {least[index]:.1f} mm or more from those of its {count[index]} neighbours"
            )
            yield contours.finding(index, "misaligned", message)


def check_phase_areas(study: DrawnStudy, limits: LabelLimits) -> Iterator[Issue]:
    """phase-order: at no location is the inner contour much larger at end-systole than at end-diastole.

    A warning from `phase_ratio` times on; a little larger is normal near the base, which moves through the slice. It is
    about the one whose area is out of line with those beside it along the stack, and the other has a note; about both
    where that does not tell.
    """
    inner, phases = study.inner, study.phases
    if inner is None or not phases:
        return
    at_ed, at_es = (
        {place: index for index, place in enumerate(inner.location) if inner.phase[index] == phases[word]}
        for word in (ED, ES)
    )
    for location in sorted(at_ed.keys() & at_es.keys()):
        ed, es = at_ed[location], at_es[location]
        if inner.area_px[es] < limits.phase_ratio * inner.area_px[ed]:
            continue
        odd, other = (es, ed) if inner.out_of_line[es] >= _SURE * inner.out_of_line[ed] else (ed, es)
        sure = inner.out_of_line[odd] >= _SURE * inner.out_of_line[other]
        message = (
            f"{inner.area_px[ed]:.0f} px² at end-diastole, but {inner.area_px[es]:.0f} px² at end-systole, phases "
            f"{phases[ED]} and {phases[ES]}, in {inner.drawn[ed].path} and {inner.drawn[es].path}"
        )
        yield inner.finding(odd, "phase-order", message, "" if sure else inner.drawn[other].path)
        severity: Severity = "note" if sure else "warning"
        yield inner.finding(other, "phase-order", message, inner.drawn[odd].path, severity)


def check_phase_times(study: DrawnStudy, limits: LabelLimits) -> Iterator[Issue]:
    """phase-order: the ventricle is largest at the start or the end of the beat, and smallest between.

    The R wave, at which recording starts, marks end-diastole. A warning when ED lies between 25% and 100% of the time
    to ES, or ES within the first 15% of the time to ED: the contours of the two were exchanged, or others drawn.
    """
    phases = study.phases
    if not phases:
        return
    at_ed, at_es = (_time(study, phases[word]) for word in (ED, ES))
    if not ED_EARLIEST * at_es < at_ed < ED_LATEST * at_es and at_es >= ES_EARLIEST * at_ed:
        return
    message = (
        f"the contours are largest in phase {phases[ED]} and smallest in phase {phases[ES]}, but end-diastole lies at "
        "the start or the end of the beat; are the contours of the two exchanged?"
    )
    yield of_study(study.images, "phase-order", message, structure=INNER)


def check_contours_differ(study: DrawnStudy, limits: LabelLimits) -> Iterator[Issue]:
    """duplicate-contour: no two contours of a structure have the same points, in whatever order or direction.

    A warning for each of them.
    """
    for contours in study.structures.values():
        alike: dict[int, list[int]] = {}
        for index, contour in enumerate(contours.drawn):
            alike.setdefault(contour.key, []).append(index)
        for group in alike.values():
            for index in group if len(group) > 1 else ():
                other = group[0] if index != group[0] else group[1]
                path, place = contours.drawn[other].path, where(contours.facts[other])
                message = f"the same points as {path} of {place}; one of them is on the wrong image"
                yield contours.finding(index, "duplicate-contour", message, path)


STUDY_CHECKS: tuple[StudyCheck, ...] = (
    check_area_steps,
    *IMAGE_CHECKS,
    *OUTER_CHECKS,
    check_centres_close,
    check_phase_areas,
    check_phase_times,
    check_contours_differ,
)


def study_issues(images: Sequence[SampleFacts], limits: LabelLimits) -> list[Issue]:
    """Run all checks of one study on its drawn images, in row order."""
    study = DrawnStudy(images)
    return [issue for check in STUDY_CHECKS for issue in check(study, limits)]


def number_samples(issues: Sequence[Issue], images: Sequence[SampleFacts], first: int) -> list[Issue]:
    """Return findings with their rows, which are ``first``, ``first + 1`` .. in the order of a study's images."""
    if not issues:
        return []
    rows = {(facts.image, facts.frame): row for row, facts in enumerate(images, start=first)}
    rows |= {
        (each.path, facts.frame): row
        for row, facts in enumerate(images, start=first)
        for each in facts.contours
    }
    return [issue._replace(sample=rows.get((issue.path, issue.frame))) for issue in issues]


def _time(study: DrawnStudy, phase: int) -> float:
    """Return when a phase is, in ms; in phases where a time is unknown."""
    times = [facts.trigger_time_ms for facts in study.images]
    if not all(map(isfinite, times)):
        return phase
    there = sorted(
        time for time, facts in zip(times, study.images, strict=True) if facts.phase_index == phase
    )
    return (there[(len(there) - 1) // 2] + there[len(there) // 2]) / 2


def _blame(
    place: int, jumps: Sequence[tuple[int, int, float]], steps: Counter[int]
) -> tuple[float, int, float]:
    """Return which part of its neighbours a contour is out of step with, how many, and by how much at most."""
    mine = [ratio for one, other, ratio in jumps if place in (one, other)]
    return len(mine) / steps[place], len(mine), max(mine)
