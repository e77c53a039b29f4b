"""The rows of a dataset: made by an executor, stored by one writer in plan order, closed study by study."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from copy import deepcopy
from functools import partial
from itertools import groupby
from typing import TYPE_CHECKING, Protocol

from dicom_etl.checks.decisions import Ledger
from dicom_etl.checks.review import LabelReview
from dicom_etl.config import IngestConfig
from dicom_etl.dataset import schema
from dicom_etl.errors import ItemError
from dicom_etl.layouts import SourceRoots
from dicom_etl.pipeline.plan import Plan
from dicom_etl.pipeline.split_assignment import Sides
from dicom_etl.pipeline.summary import Progress, Summary
from dicom_etl.records import Chunk, EncodedSample, Issue, SamplePlan, SampleRow, StudyPlan
from dicom_etl.splits import NO_FOLD
from dicom_etl.stages import parse, write
from dicom_etl.stages.sample import item_issue, make_imputed, make_parent, make_sample
from dicom_etl.workers import Executor

if TYPE_CHECKING:
    from dicom_etl.dataset.writer import HDF5Writer
    from dicom_etl.pipeline.reuse import Reuse

Made = tuple[SamplePlan, EncodedSample | ItemError]


class Watcher(Protocol):
    """Is told of each row that this run makes, so that the next one need not make it."""

    def append(self, plan: SamplePlan, made: EncodedSample) -> None:
        """Take the next row, and the image that it was made of."""

    def end_study(self, cardiac_phases: Mapping[int, str], issues: Sequence[Issue]) -> None:
        """Close the rows of one study; ``issues`` is what the label checks found on it."""


_NOTHING = Chunk(b"")


def write_rows(
    plan: Plan,
    spec: schema.DatasetSpec,
    writer: HDF5Writer,
    *,
    progress: Progress,
    reuse: Reuse | None = None,
    watchers: Sequence[Watcher] = (),
    review: LabelReview | None = None,
) -> list[tuple[str, int]]:
    """Make and store all rows; counts in the plan's summary become those of what was stored.

    Parameters
    ----------
    plan, spec
        What to make, of what, and where.
    writer : HDF5Writer
        Takes the rows.
    progress : Progress
        Is told how far it is.
    reuse : Reuse, optional
        Studies that need not be made.
    watchers : sequence of Watcher
        Are told of those that are made.
    review : LabelReview, optional
        Looks at the labels; one that applies what the plan's ledger holds by default.

    Returns
    -------
    list of (str, int)
        Split and fold of each row.
    """
    summary, config = plan.summary, plan.config
    total = summary.samples
    summary.samples = summary.drawn = summary.imputed = 0
    summary.structures = dict.fromkeys(spec.structures, 0)
    made = _counted(
        _all_rows(
            plan.studies(),
            reuse,
            partial(_make_rows, executor=plan.executor, roots=plan.roots, config=config, spec=spec),
        ),
        partial(progress, write.NAME, total=total),
    )
    review = review if review is not None else LabelReview(spec.structures, plan.ledger)
    sides = Sides(config)
    for patient, study in groupby(made, key=lambda pair: pair[0].patient_id):
        taken = reuse is not None and reuse.has(patient)
        told = () if taken else watchers
        written = _write_study(study, writer, summary, config, told)
        phases = _end_study([sample.row for sample in written], writer, summary, spec.structures)
        found = review.study(written, reuse.found_on(patient) if reuse is not None else None)
        summary.issues += found
        summary.reused_studies += taken
        summary.reused_samples += taken * len(written)
        for watcher in told:
            watcher.end_study(phases, found)
        for sample in written:
            contours = sample.facts.contours if sample.facts is not None else ()
            sides.add(sample.row.patient_id, sample.image_key, [contour.key for contour in contours])
    summary.issues += review.finish(summary.issues)
    summary.issues = plan.ledger.settle(summary.issues, {})
    # A part cannot know what its patients share with others; `merge` decides.
    return [("", NO_FOLD)] * summary.samples if spec.part else sides.assign()


class _Nowhere:
    """A writer that stores nothing."""

    def append(self, sample: EncodedSample) -> None:
        """Store nothing."""

    def end_study(self, cardiac_phases: Mapping[int, str]) -> None:
        """Close nothing."""


def drop_doubted(plan: Plan, spec: schema.DatasetSpec, *, progress: Progress) -> None:
    """Look at all labels, and have the plan leave out those that are to go by what was found on them.

    Makes every row and stores none: which labels are in doubt is known when all are looked at.
    """
    before = deepcopy(plan.summary)
    review = LabelReview(spec.structures, plan.ledger, drop_flagged=plan.config.drop_flagged)
    write_rows(plan, spec, _Nowhere(), progress=progress, review=review)  # type: ignore[arg-type]
    plan.summary = before
    plan.ledger = Ledger(plan.ledger.decisions.resolved(review.doubted))


def _all_rows(
    studies: Iterator[StudyPlan], reuse: Reuse | None, make: Callable[[Iterator[StudyPlan]], Iterator[Made]]
) -> Iterator[Made]:
    """Make rows, or take them from earlier datasets: in the order of the plan."""
    if reuse is None:
        yield from make(studies)
        return
    for taken, group in groupby(studies, key=lambda study: reuse.has(study.patient_id)):
        if taken:
            for study in group:
                yield from reuse.rows(study)
        else:
            yield from make(group)


def _make_rows(
    studies: Iterator[StudyPlan],
    executor: Executor,
    roots: SourceRoots,
    config: IngestConfig,
    spec: schema.DatasetSpec,
) -> Iterator[Made]:
    """Make all rows, each on its own or, to impute, those of a study from one another."""
    if config.impute is None:
        # One flow of samples over all studies: no worker waits for the last sample of a study.
        samples = (sample for study in studies for sample in study.samples)
        yield from executor.map(partial(make_sample, roots=roots, config=config, spec=spec), samples)
        return
    from dicom_etl.stages.impute_study import make_study

    for study in studies:
        yield from make_study(
            study,
            executor=executor,
            make=partial(make_parent, roots=roots, config=config, spec=spec),
            make_imputed=partial(make_imputed, roots=roots, config=config, spec=spec),
            structures=spec.structures,
            config=config,
        )


def _counted(made: Iterable[Made], progress: Callable[[int], None]) -> Iterator[Made]:
    for done, pair in enumerate(made, start=1):
        progress(done)
        yield pair


def _write_study(
    made: Iterable[Made],
    writer: HDF5Writer,
    summary: Summary,
    config: IngestConfig,
    watchers: Sequence[Watcher],
) -> list[EncodedSample]:
    """Store images and masks of one study; return its rows without them, so that memory stays flat."""
    written: list[EncodedSample] = []
    for sample, result in made:
        if isinstance(result, ItemError):
            summary.issues.append(item_issue(result, parse.NAME, sample.image, sample.patient_id))
            continue
        summary.issues += result.issues
        if any(result.row.has) or config.unlabeled:
            writer.append(result)
            for watcher in watchers:
                watcher.append(sample, result)
            written.append(_without_pixels(result))
    return written


def _without_pixels(sample: EncodedSample) -> EncodedSample:
    facts = sample.facts.kept() if sample.facts is not None else None
    return EncodedSample(
        sample.row,
        _NOTHING,
        (),
        (),
        image_key=sample.image_key,
        label_issues=sample.label_issues,
        facts=facts,
    )


def _end_study(
    rows: list[SampleRow], writer: HDF5Writer, summary: Summary, structures: tuple[str, ...]
) -> dict[int, str]:
    """Close the rows of one study and count them; return ED / ES by phase."""
    phases = write.study_phases(rows, structures)
    writer.end_study(phases)
    summary.samples += len(rows)
    for row in rows:
        imputed = row.origin == schema.IMPUTED
        summary.imputed += imputed
        summary.drawn += row.origin == schema.MANUAL
        counts = summary.imputed_structures if imputed else summary.structures
        for structure, has in zip(structures, row.has, strict=True):
            counts[structure] = counts.get(structure, 0) + has
        word = phases.get(row.phase_index)
        if word:
            summary.cardiac_phases[word] += 1
    return phases
