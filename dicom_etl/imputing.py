"""Fills the undrawn slices of one study: decides what is made of what, and has it made in rounds."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import nan

import numpy as np

from dicom_etl.config import IngestConfig
from dicom_etl.errors import ItemError
from dicom_etl.executors import Executor
from dicom_etl.geometry import ED, ES
from dicom_etl.impute.estimate import Parent
from dicom_etl.impute.parents import Link, Place, Reach, plan_links, unfilled
from dicom_etl.items import Made
from dicom_etl.records import EncodedSample, FloatArray, SamplePlan, StudyPlan
from dicom_etl.stages.impute import ImputePlan, ParentPair
from dicom_etl.stages.write import study_phases

ORIENTATION_TOLERANCE = 1e-3
"""Largest difference of a direction cosine within one stack: 300 mm from the patient's origin it moves a contour by
0.3 mm."""

UNKNOWN = Place(-1, nan, -1, nan)


@dataclass(frozen=True, slots=True)
class Fillable:
    """Which samples of a study can be filled, judged by what is drawn; and why the others cannot."""

    samples: frozenset[int]
    reasons: dict[str, int]


def places_of(samples: Sequence[SamplePlan]) -> list[Place]:
    """Return where each image lies; unknown for images that are not turned like the first drawn one of the study."""
    drawn = [sample.header.orientation for sample in samples if sample.contours]
    if not drawn:
        return [UNKNOWN] * len(samples)
    return [_place(sample, np.array(drawn[0])) for sample in samples]


def _place(sample: SamplePlan, orientation: FloatArray) -> Place:
    header = sample.header
    turned = np.abs(np.array(header.orientation) - orientation).max()
    if (
        not turned <= ORIENTATION_TOLERANCE
        or not np.isfinite([*header.pixel_spacing_mm, *header.position_mm]).all()
    ):
        return UNKNOWN
    return Place(sample.location_index, sample.slice_location_mm, sample.phase_index, header.trigger_time_ms)


def fillable(samples: Sequence[SamplePlan], config: IngestConfig) -> Fillable:
    """Tell which samples of a study lie between drawn ones, from names and headers alone."""
    structures = {contour.structure for sample in samples for contour in sample.contours}
    drawn = {
        structure: {
            index
            for index, sample in enumerate(samples)
            if any(contour.structure == structure for contour in sample.contours)
        }
        for structure in structures
    }
    places, mode = places_of(samples), str(config.impute)
    rounds = plan_links(places, drawn, mode, Reach(*config.impute_max_gap), None)
    filled = frozenset(index for links in rounds for index in links)
    return Fillable(filled, unfilled(places, drawn, mode, filled))


def make_study(
    study: StudyPlan,
    executor: Executor,
    make: Callable[[SamplePlan], Made],
    make_imputed: Callable[[ImputePlan], Made],
    structures: tuple[str, ...],
    config: IngestConfig,
) -> Iterator[tuple[SamplePlan, EncodedSample | ItemError]]:
    """Make the rows of one study, drawn ones first, then what lies between them, and yield them in row order.

    Parameters
    ----------
    study : StudyPlan
        All images of the study, drawn on or not.
    executor : Executor
        Where items run.
    make, make_imputed : callable
        `items.make_parent` and `items.make_imputed` with all but the plan given.
    structures : tuple of str
        Those of the dataset, in its order.
    config : IngestConfig
        The run's options.

    Yields
    ------
    (SamplePlan, EncodedSample or ItemError)
        As an executor does. Images that are neither drawn on nor filled are left out unless the options keep them.
    """
    samples = study.samples
    made: dict[int, Made | ItemError] = {}
    parents: dict[int, dict[str, tuple[int, int]]] = {}
    made |= _make_all(
        samples, [index for index, sample in enumerate(samples) if sample.contours], executor, make
    )
    places = places_of(samples)
    drawn = {
        structure: {index for index, one in made.items() if _parent(one, number) is not None}
        for number, structure in enumerate(structures)
    }
    ed_es = _turns(made, structures)
    for links in plan_links(places, drawn, str(config.impute), Reach(*config.impute_max_gap), ed_es):
        plans = {index: _impute_plan(samples[index], links[index], made, structures) for index in links}
        ready = [index for index in plans if plans[index].pairs]
        results = executor.map(make_imputed, [plans[index] for index in ready])
        for index, (_, result) in zip(ready, results, strict=True):
            made[index] = _with_issues_of(result, made.get(index))
            parents[index] = {structure: link.parents for structure, link in links[index].items()}
    if config.unlabeled:
        made |= _make_all(
            samples, [index for index in range(len(samples)) if index not in made], executor, make
        )
    kept = [index for index in sorted(made) if _is_kept(made[index], config)]
    rank = {index: position for position, index in enumerate(kept)}
    for index in sorted(made):
        result = made[index]
        if isinstance(result, ItemError):
            yield samples[index], result
        else:
            yield samples[index], _with_steps(result.sample, index, parents.get(index, {}), rank, structures)


def _make_all(
    samples: Sequence[SamplePlan],
    chosen: Sequence[int],
    executor: Executor,
    make: Callable[[SamplePlan], Made],
) -> dict[int, Made | ItemError]:
    results = executor.map(make, [samples[index] for index in chosen])
    return {index: result for index, (_, result) in zip(chosen, results, strict=True)}


def _impute_plan(
    sample: SamplePlan,
    links: Mapping[str, Link],
    made: Mapping[int, Made | ItemError],
    structures: tuple[str, ...],
) -> ImputePlan:
    """Gather the parents of a slice; structures of which one could not be made are left out."""
    pairs = []
    for structure, link in links.items():
        number = structures.index(structure)
        before, after = (_parent(made.get(index), number) for index in link.parents)
        if before is not None and after is not None:
            trust = (_confidence(made[index]) for index in link.parents)
            mean = sum(weight * own for weight, own in zip(link.weights, trust, strict=True))
            pairs.append(
                ParentPair(structure, link.axis, (before, after), link.weights[1], link.distance, mean)
            )
    return ImputePlan(sample, tuple(pairs))


def _parent(made: Made | ItemError | None, number: int) -> Parent | None:
    return made.parents[number] if isinstance(made, Made) else None


def _confidence(made: Made | ItemError) -> float:
    return made.sample.row.confidence if isinstance(made, Made) else nan


def _with_issues_of(result: Made | ItemError, before: Made | ItemError | None) -> Made | ItemError:
    """Keep what was wrong with a slice whose own contour could not be used."""
    if isinstance(result, Made) and isinstance(before, Made):
        sample = replace(result.sample, issues=before.sample.issues + result.sample.issues)
        return Made(sample, result.parents)
    return result


def _turns(made: dict[int, Made | ItemError], structures: tuple[str, ...]) -> tuple[int, int] | None:
    """Return the phases of ED and ES, when what was drawn tells them."""
    rows = [one.sample.row for one in made.values() if isinstance(one, Made)]
    phases = study_phases(rows, structures)
    turns = {word: phase for phase, word in phases.items()}
    return (turns[ED], turns[ES]) if len(turns) == 2 else None


def _is_kept(made: Made | ItemError, config: IngestConfig) -> bool:
    return isinstance(made, Made) and (any(made.sample.row.has) or config.unlabeled)


def _with_steps(
    sample: EncodedSample,
    index: int,
    parents: Mapping[str, tuple[int, int]],
    rank: Mapping[int, int],
    structures: tuple[str, ...],
) -> EncodedSample:
    """Name the rows that each imputed structure came from, relative to its own."""
    if not sample.row.imputed_share:
        return sample
    steps = [(0, 0)] * len(structures)
    for structure, (before, after) in parents.items():
        number = structures.index(structure)
        if sample.row.has[number]:
            steps[number] = (rank[before] - rank[index], rank[after] - rank[index])
    return replace(sample, row=replace(sample.row, imputed_from=tuple(steps)))
