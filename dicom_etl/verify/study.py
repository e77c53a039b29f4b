"""Label checks across the drawn images of one study. Each rule is the docstring of its function."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from dicom_etl.geometry import ED, ES, cardiac_phases
from dicom_etl.records import Issue
from dicom_etl.verify.facts import INNER
from dicom_etl.verify.images import IMAGE_CHECKS, Study, StudyCheck
from dicom_etl.verify.neighbours import Place, along_stack, neighbours, pairs
from dicom_etl.verify.options import LabelLimits
from dicom_etl.verify.single import finding, of_study, where

ED_EARLIEST, ED_LATEST = 0.25, 1.0
ES_EARLIEST = 0.15
"""Parts of the beat, by trigger time, between which ED cannot lie before ES, and before which ES cannot lie."""


def check_area_steps(study: Study, limits: LabelLimits) -> Iterator[Issue]:
    """area-jump: from one location to the next the area of a structure changes by less than `area_ratio` times.

    Within a phase; a warning. The last location drawn may be smaller by any factor, for the ventricle ends there.
    Named is the contour that is out of step with most of its neighbours.
    """
    for line in along_stack(study):
        jumps = []
        steps = pairs(line)
        for one, other in steps:
            small, large = sorted((one, other), key=lambda place: place.contour.area_px)
            ends = small in (line[0], line[-1])
            if large.contour.area_px >= limits.area_ratio * small.contour.area_px and not ends:
                jumps.append((small, large))
        while jumps:
            odd = max((place for jump in jumps for place in jump), key=lambda p: _blame(p, jumps, steps))
            jump = max((j for j in jumps if odd in j), key=_ratio)
            other = jump[0] if odd is jump[1] else jump[1]
            message = (
                f"encloses {odd.contour.area_px:.0f} px², the {odd.contour.structure} next to it at "
                f"{where(other.facts)} {other.contour.area_px:.0f} px²: {_ratio(jump):.1f} times"
            )
            yield finding(odd.facts, "warning", "area-jump", message, odd.contour)
            jumps = [j for j in jumps if odd not in j]


def check_centres_close(study: Study, limits: LabelLimits) -> Iterator[Issue]:
    """misaligned: a contour lies near one of its neighbours in location or phase.

    A warning when it has two or more and its centre is farther than `centre_jump_mm` from all of theirs. Not looked
    at where the pixel spacing is unknown.
    """
    for structure in sorted({contour.structure for facts in study for contour in facts.contours}):
        distances: dict[int, list[float]] = {}
        of_facts = {id(facts): facts for facts in study}
        for one, other in neighbours(study, structure):
            distance = _distance_mm(one, other)
            for place in (one, other):
                distances.setdefault(id(place.facts), []).append(distance)
        for key, values in distances.items():
            if len(values) >= 2 and min(values) > limits.centre_jump_mm:
                facts = of_facts[key]
                message = (
                    f"its centre lies {min(values):.1f} mm or more from those of its {len(values)} neighbours"
                )
                yield finding(facts, "warning", "misaligned", message, facts.contour(structure))


def check_phase_areas(study: Study, limits: LabelLimits) -> Iterator[Issue]:
    """phase-order: at no location is the inner contour much larger at end-systole than at end-diastole.

    A warning from `phase_ratio` times on; a little larger is normal near the base, which moves through the slice.
    """
    by_place = {
        (facts.location_index, facts.phase_index): (facts, contour)
        for facts in study
        if (contour := facts.contour(INNER)) is not None
    }
    phases = {word: phase for phase, word in _phases(study).items()}
    if not phases:
        return
    for location, phase in sorted(by_place):
        if phase != phases[ED] or (location, phases[ES]) not in by_place:
            continue
        (facts, diastole), (_, systole) = by_place[location, phase], by_place[location, phases[ES]]
        if systole.area_px >= limits.phase_ratio * diastole.area_px:
            message = (
                f"{diastole.area_px:.0f} px² at end-diastole, but {systole.area_px:.0f} px² at end-systole "
                f"(phase {phases[ES]}, {systole.path})"
            )
            yield finding(facts, "warning", "phase-order", message, diastole, systole.path)


def check_phase_times(study: Study, limits: LabelLimits) -> Iterator[Issue]:
    """phase-order: the ventricle is largest at the start or the end of the beat, and smallest between.

    The R wave, at which recording starts, marks end-diastole. A warning when ED lies between 25% and 100% of the time
    to ES, or ES within the first 15% of the time to ED: the contours of the two were exchanged, or others drawn.
    """
    phases = {word: phase for phase, word in _phases(study).items()}
    if not phases:
        return
    at_ed, at_es = (_time(study, phases[word]) for word in (ED, ES))
    if not ED_EARLIEST * at_es < at_ed < ED_LATEST * at_es and at_es >= ES_EARLIEST * at_ed:
        return
    message = (
        f"the contours are largest in phase {phases[ED]} and smallest in phase {phases[ES]}, but end-diastole lies at "
        "the start or the end of the beat; are the contours of the two exchanged?"
    )
    yield of_study(study, "phase-order", message)


STUDY_CHECKS: tuple[StudyCheck, ...] = (
    check_area_steps,
    *IMAGE_CHECKS,
    check_centres_close,
    check_phase_areas,
    check_phase_times,
)


def study_issues(study: Study, limits: LabelLimits) -> list[Issue]:
    """Run all checks of one study."""
    return [issue for check in STUDY_CHECKS for issue in check(study, limits)]


def number_samples(issues: Sequence[Issue], study: Study, first: int) -> list[Issue]:
    """Return findings with their rows, which are ``first``, ``first + 1`` .. in the order of the study's images."""
    rows = {facts.image: row for row, facts in enumerate(study, start=first)}
    rows |= {c.path: row for row, facts in enumerate(study, start=first) for c in facts.contours}
    return [replace(issue, sample=rows.get(issue.path)) for issue in issues]


def _phases(study: Study) -> dict[int, str]:
    areas = {
        (facts.location_index, facts.phase_index): contour.area_px
        for facts in study
        if (contour := facts.contour(INNER)) is not None
    }
    return cardiac_phases(areas)


def _time(study: Study, phase: int) -> float:
    """Return when a phase is, in ms; in phases where a time is unknown."""
    times = [facts.trigger_time_ms for facts in study]
    if not np.isfinite(times).all():
        return float(phase)
    return float(np.median([facts.trigger_time_ms for facts in study if facts.phase_index == phase]))


def _distance_mm(one: Place, other: Place) -> float:
    rows_mm, columns_mm = one.facts.pixel_spacing_mm
    x, y = np.subtract(one.contour.centre, other.contour.centre)
    return float(np.hypot(x * columns_mm, y * rows_mm))


def _ratio(jump: tuple[Place, Place]) -> float:
    return jump[1].contour.area_px / jump[0].contour.area_px


def _blame(
    place: Place, jumps: Sequence[tuple[Place, Place]], steps: Sequence[tuple[Place, Place]]
) -> tuple[float, float]:
    """Return which part of its neighbours a contour is out of step with, and by how much."""
    mine = [jump for jump in jumps if place in jump]
    return len(mine) / sum(place in step for step in steps), max(map(_ratio, mine))
