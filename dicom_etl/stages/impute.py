"""impute: contours for a slice that nobody drew, in rounds, from the slices it lies between; see `dicom_etl.impute`."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from math import nan
from operator import attrgetter
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dicom_etl.config import IngestConfig
from dicom_etl.errors import ItemError
from dicom_etl.geometry.locations import ED, ES
from dicom_etl.geometry.polygons import measure
from dicom_etl.impute.estimate import NEAREST, Parent, confidence, estimate, parent_of
from dicom_etl.impute.guide import Slice
from dicom_etl.impute.parents import (
    SPATIAL,
    TEMPORAL,
    Axis,
    ParentLink,
    SlicePlace,
    plan_links,
    unfilled,
)
from dicom_etl.records import (
    EncodedSample,
    FloatArray,
    ImageHeader,
    Outline,
    SamplePlan,
    SampleRow,
    StudyPlan,
)
from dicom_etl.stages.sample import Made, SampleMaker
from dicom_etl.stages.write import study_phases
from dicom_etl.workers import Executor

NAME = "impute"
CONFIDENCE_DIGITS = 4
ORIENTATION_TOLERANCE = 1e-3
"""Largest difference of a direction cosine within one stack: 300 mm from the patient's origin it moves a contour by
0.3 mm."""
UNKNOWN = SlicePlace(-1, nan, -1, nan)


class ParentPair(NamedTuple):
    """What one structure of a slice is made of; ``confidence`` is that in the parents: 1 when both are drawn."""

    structure: str
    link: ParentLink
    parents: tuple[Parent, Parent]
    confidence: float


class ImputePlan(NamedTuple):
    """A slice to fill, and what from; ``is_parent`` says that other slices will be made of this one."""

    sample: SamplePlan
    pairs: tuple[ParentPair, ...]
    is_parent: bool = False


def as_slice(pixels: NDArray[Any], header: ImageHeader | SampleRow) -> Slice:
    """Place an image (y, x) in the plane of its stack: as stored, so that `verify` makes the same estimate."""
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
    image: Slice, plan: ImputePlan, structures: Sequence[str], *, mode: str, way: str
) -> tuple[dict[str, Outline], dict[str, Any]]:
    """Make what contours of a slice there are, and the columns of its row that say how far to trust them."""
    outlines: dict[str, Outline] = {}
    trust: list[float] = []
    shares: dict[str, float] = {}
    distances: dict[Axis, list[float]] = {SPATIAL: [], TEMPORAL: []}
    for structure, link, parents, sure in plan.pairs:
        found = estimate(image, parents, link.weights, NEAREST if mode == NEAREST else way)
        if found.rings:
            outlines[structure] = measure(found.rings)
            shares[structure] = link.weights[1]
            distances[link.axis].append(link.distance)
            trust.append(
                round(confidence(found.agreement, link.axis, link.distance, sure), CONFIDENCE_DIGITS)
            )
    return outlines, {
        "confidence": min(trust, default=nan),
        "imputed_distance_mm": max(distances[SPATIAL], default=nan),
        "imputed_distance_ms": max(distances[TEMPORAL], default=nan),
        "imputed_share": tuple(shares.get(structure, nan) for structure in structures),
    }


def places_of(samples: Sequence[SamplePlan]) -> list[SlicePlace]:
    """Return where each image lies; unknown for images that are not turned like the first drawn one of the study."""
    drawn = [sample.header.orientation for sample in samples if sample.labels]
    if not drawn:
        return [UNKNOWN] * len(samples)
    return [_place(sample, np.array(drawn[0])) for sample in samples]


def ed_and_es(words: Mapping[int, str]) -> tuple[int, int] | None:
    """Return the phases of end-diastole and end-systole, None where they are not both known."""
    phases = {word: phase for phase, word in words.items()}
    return (phases[ED], phases[ES]) if len(phases) == 2 else None


def _place(sample: SamplePlan, orientation: FloatArray) -> SlicePlace:
    header = sample.header
    turned = np.abs(np.array(header.orientation) - orientation).max()
    if (
        not turned <= ORIENTATION_TOLERANCE
        or not np.isfinite([*header.pixel_spacing_mm, *header.position_mm]).all()
    ):
        return UNKNOWN
    return SlicePlace(
        sample.location_index, sample.slice_location_mm, sample.phase_index, header.trigger_time_ms
    )


def fillable(samples: Sequence[SamplePlan], config: IngestConfig) -> tuple[set[int], dict[str, int]]:
    """Tell from headers which samples lie between drawn ones of their stack, and count the others by reason."""
    mode, reach = str(config.impute), config.impute_max_gap
    filled: set[int] = set()
    reasons: Counter[str] = Counter()
    first = 0
    for stack in _stacks(samples):
        drawn: defaultdict[str, set[int]] = defaultdict(set)
        for index, sample in enumerate(stack):
            for label in sample.labels:
                drawn[label.structure].add(index)
        places = places_of(stack)
        found = {index for links in plan_links(places, drawn, mode, reach, None) for index in links}
        filled |= {first + index for index in found}
        reasons.update(unfilled(places, drawn, mode, found))
        first += len(stack)
    return filled, dict(reasons)


def _stacks(samples: Sequence[SamplePlan]) -> Iterator[tuple[SamplePlan, ...]]:
    """Yield the samples of each stack; in row order they stand together."""
    for _, stack in groupby(samples, key=attrgetter("stack_index")):
        yield tuple(stack)


def make_study(
    study: StudyPlan, executor: Executor, maker: SampleMaker
) -> Iterator[tuple[SamplePlan, EncodedSample | ItemError]]:
    """Make the rows of one study, drawn ones first, then what lies between them, and yield them in row order."""
    for samples in _stacks(study.samples):
        stack = _StackMaker(samples, executor, maker)
        stack.make(index for index, sample in enumerate(samples) if sample.labels)
        stack.make_between()
        if maker.source.config.unlabeled:
            stack.make(range(len(samples)))
        yield from stack.rows()


class _StackMaker:
    """The rows of one stack while they are made, by position in it."""

    def __init__(self, samples: Sequence[SamplePlan], executor: Executor, maker: SampleMaker) -> None:
        self._samples, self._executor, self._maker = samples, executor, maker
        self._structures = maker.spec.structures
        self._made: dict[int, Made] = {}
        self._failed: dict[int, ItemError] = {}
        self._links: dict[int, Mapping[str, ParentLink]] = {}

    def make(self, indices: Iterable[int]) -> None:
        """Make those that were not made yet."""
        chosen = [index for index in indices if index not in self._made and index not in self._failed]
        self._run(self._maker.parent, {index: self._samples[index] for index in chosen})

    def make_between(self) -> None:
        """Make what lies between rows that could be made, in rounds."""
        drawn = {
            structure: {index for index in self._made if self._parent(index, structure) is not None}
            for structure in self._structures
        }
        ed_es = ed_and_es(study_phases([made.sample.row for made in self._made.values()], self._structures))
        config, places = self._maker.source.config, places_of(self._samples)
        rounds = plan_links(places, drawn, str(config.impute), config.impute_max_gap, ed_es)
        self._links = {index: each for links in rounds for index, each in links.items()}
        needed = {one for each in self._links.values() for link in each.values() for one in link.parents}
        for links in rounds:
            plans = {
                index: ImputePlan(self._samples[index], self._pairs(each), index in needed)
                for index, each in links.items()
            }
            self._run(self._maker.imputed, {index: plan for index, plan in plans.items() if plan.pairs})

    def rows(self) -> Iterator[tuple[SamplePlan, EncodedSample | ItemError]]:
        """Yield the rows in order, each imputed one with the rows it came from."""
        rows = {index: made.sample.row for index, made in sorted(self._made.items())}
        kept = [index for index, row in rows.items() if self._maker.source.config.unlabeled or any(row.has)]
        rank = {index: number for number, index in enumerate(kept)}
        for index in sorted((*self._made, *self._failed)):
            made = self._made.get(index)
            yield (
                self._samples[index],
                self._failed[index] if made is None else self._with_steps(made.sample, index, rank),
            )

    def _run(self, make: Callable[[Any], Made], plans: Mapping[int, Any]) -> None:
        """Keep what is made of the plans, with what was wrong with a slice's own contour when it had one."""
        for index, (_, result) in zip(plans, self._executor.map(make, plans.values()), strict=True):
            before = self._made.pop(index, None)
            if isinstance(result, ItemError):
                self._failed[index] = result
                continue
            if before is not None:
                issues = before.sample.issues + result.sample.issues
                result = result._replace(sample=result.sample._replace(issues=issues))
            self._made[index] = result

    def _parent(self, index: int, structure: str) -> Parent | None:
        made = self._made.get(index)
        return made.parents[self._structures.index(structure)] if made is not None and made.parents else None

    def _pairs(self, links: Mapping[str, ParentLink]) -> tuple[ParentPair, ...]:
        """Gather the parents of a slice; structures of which one could not be made are left out."""
        pairs = []
        for structure, link in links.items():
            before, after = (self._parent(index, structure) for index in link.parents)
            if before is not None and after is not None:
                sure = [self._made[index].sample.row.confidence for index in link.parents]
                trust = link.weights[0] * sure[0] + link.weights[1] * sure[1]
                pairs.append(ParentPair(structure, link, (before, after), trust))
        return tuple(pairs)

    def _with_steps(self, sample: EncodedSample, index: int, rank: Mapping[int, int]) -> EncodedSample:
        """Name the rows that each imputed structure came from, relative to its own."""
        if not sample.row.imputed_share or not any(sample.row.has):
            return sample
        steps = [(0, 0)] * len(self._structures)
        for structure, link in self._links[index].items():
            number = self._structures.index(structure)
            if sample.row.has[number]:
                before, after = (rank[parent] - rank[index] for parent in link.parents)
                steps[number] = (before, after)
        return sample._replace(row=replace(sample.row, imputed_from=tuple(steps)))
