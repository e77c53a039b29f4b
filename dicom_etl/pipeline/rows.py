"""The rows of a dataset: made by an executor or taken from earlier ones, stored in plan order, study by study."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from copy import deepcopy
from dataclasses import replace
from itertools import groupby
from typing import TYPE_CHECKING

from dicom_etl.checks.decisions import Ledger
from dicom_etl.checks.review import LabelReview, study_review
from dicom_etl.dataset import schema
from dicom_etl.errors import ItemError
from dicom_etl.pipeline.assembly import Assembly
from dicom_etl.pipeline.plan import Plan
from dicom_etl.pipeline.summary import Summary
from dicom_etl.records import Chunk, EncodedSample, Issue, SamplePlan, StudyPlan, StudyRecord
from dicom_etl.stages import parse, write
from dicom_etl.stages.outside import refused_stacks
from dicom_etl.stages.sample import SampleMaker, item_issue
from dicom_etl.stages.study_key import file_digest, hashed_files, study_key

if TYPE_CHECKING:
    from dicom_etl.dataset.writer import HDF5Writer
    from dicom_etl.pipeline.checkpoint import CheckpointWriter
    from dicom_etl.pipeline.earlier import Earlier, TakenStudy


class StackRefusedError(Exception):
    """So many labels leave the images of a stack that it is not theirs: studies are to be planned by outlines too."""


Made = tuple[SamplePlan, EncodedSample | ItemError]
_NOTHING = Chunk(b"")


class RowWriter:
    """Makes the rows of all studies of a plan, or takes them from ``earlier`` work, and stores them.

    Counts in the plan's summary become those of what is stored, issues are added. ``checkpoint`` stores what is made
    once more, for a run that is killed; ``review`` looks at the labels.
    """

    def __init__(
        self,
        plan: Plan,
        spec: schema.DatasetSpec,
        writer: HDF5Writer,
        *,
        earlier: Earlier | None = None,
        checkpoint: CheckpointWriter | None = None,
        review: LabelReview | None = None,
    ) -> None:
        self._plan, self._spec, self._writer = plan, spec, writer
        self._earlier, self._checkpoint = earlier, checkpoint
        self._done, self._total = 0, plan.summary.samples
        review = review if review is not None else LabelReview(spec.structures, plan.ledger)
        self._assembly = Assembly(spec, plan.config, review)

    def run(self) -> Assembly:
        """Store all rows; return what followed them."""
        summary = self._plan.summary
        summary.samples = summary.drawn = summary.imputed = 0
        summary.structures = Counter(dict.fromkeys(self._spec.structures, 0))
        earlier = self._earlier
        for taken, group in groupby(
            self._plan.studies(), key=lambda study: earlier is not None and earlier.has(study)
        ):
            if earlier is not None and taken:
                for study in group:
                    self._copy_study(earlier.take(study))
            else:
                for study, made in _by_study(group, self._make_rows):
                    self._make_study(study, made)
        return self._assembly

    def _make_rows(self, studies: Iterator[StudyPlan]) -> Iterator[Made]:
        """Make all rows, each on its own or, to impute, those of a study from one another."""
        plan = self._plan
        maker = SampleMaker(plan.roots, plan.config, self._spec)
        if plan.config.impute is None:
            # One flow of samples over all studies: no worker waits for the last sample of a study.
            samples = (sample for study in studies for sample in study.samples)
            yield from plan.executor.map(maker, samples)
            return
        from dicom_etl.stages.impute_study import make_study

        for study in studies:
            yield from make_study(study, plan.executor, maker)

    def _make_study(self, study: StudyPlan, made: Iterable[Made]) -> None:
        config = self._plan.config
        written: list[EncodedSample] = []
        issues: list[Issue] = []
        digests = hashed_files(study, config)
        for sample, result in made:
            self._step()
            if isinstance(result, ItemError):
                issues.append(
                    item_issue(result, parse.NAME, sample.image, sample.patient_id, frame=sample.header.frame)
                )
                continue
            digests[sample.image] = result.row.sha256_image_file
            digests.update(result.label_digests)
            issues += result.issues
            if any(result.row.has) or config.unlabeled:
                self._writer.append(result)
                if self._checkpoint is not None:
                    self._checkpoint.append(result)
                self._assembly.count(result)
                written.append(_without_chunks(result))
        for path, digest in digests.items():
            digests[path] = digest or file_digest(self._plan.roots.place(path))
        decided = self._plan.ledger.decisions.of(study.patient_id)
        key = study_key(study, digests, config, self._plan.key_fingerprint, decided)
        record = StudyRecord(study.patient_id, key, study.study)
        phases = write.study_phases([sample.row for sample in written], self._spec.structures)
        self._writer.end_study(phases)
        if (
            not self._plan.read_outlines
            and any(issue.code == parse.OUTSIDE for issue in issues)
            and refused_stacks(study.samples, self._plan.roots, config)
        ):
            raise StackRefusedError
        issues += study_review(written)
        if self._checkpoint is not None:
            self._checkpoint.end_study(record, phases, issues)
        self._end(record, written, [phases.get(sample.row.phase_index, "") for sample in written], issues)

    def _copy_study(self, taken: TakenStudy) -> None:
        study = taken.plan
        written, phases = copy_rows(taken.samples(), self._writer, self._assembly, self._step)
        record = StudyRecord(study.patient_id, taken.study.record.key, study.study)
        self._end(record, written, phases, taken.issues())
        self._plan.summary.reused_studies += 1
        self._plan.summary.reused_samples += len(written)

    def _end(
        self, record: StudyRecord, written: list[EncodedSample], phases: list[str], issues: list[Issue]
    ) -> None:
        summary = self._plan.summary
        summary.issues += self._assembly.add(record, written, issues)
        count_rows(summary, written, phases, self._spec.structures)

    def _step(self) -> None:
        self._done += 1
        self._plan.progress(write.NAME, self._done, self._total)


class _Nowhere:
    """A writer that stores nothing."""

    def append(self, sample: EncodedSample) -> None: ...

    def end_study(self, cardiac_phases: Mapping[int, str]) -> None: ...


def drop_doubted(plan: Plan, spec: schema.DatasetSpec) -> None:
    """Look at all labels, and have the plan leave out those that are to go by what was found on them.

    Makes every row and stores none: which labels are in doubt is known when all are looked at.
    """
    before = deepcopy(plan.summary)
    review = LabelReview(spec.structures, plan.ledger, drop_flagged=plan.config.drop_flagged)
    rows = RowWriter(plan, spec, _Nowhere(), review=review)  # type: ignore[arg-type]
    rows.run().findings(plan.summary.issues)
    plan.summary = before
    plan.ledger = Ledger(plan.ledger.decisions.resolved(review.doubted))


def copy_rows(
    rows: Iterable[tuple[EncodedSample, str]],
    writer: HDF5Writer,
    assembly: Assembly,
    step: Callable[[], None],
) -> tuple[list[EncodedSample], list[str]]:
    """Store the rows of one study that come with their cardiac phase; return them without chunks, and the phases."""
    written: list[EncodedSample] = []
    words: list[str] = []
    for sample, word in rows:
        writer.append(sample)
        assembly.count(sample)
        written.append(_without_chunks(sample))
        words.append(word)
        step()
    found = {sample.row.phase_index: word for sample, word in zip(written, words, strict=True) if word}
    writer.end_study(found)
    return written, words


def count_rows(
    summary: Summary, rows: Iterable[EncodedSample], phases: Iterable[str], structures: tuple[str, ...]
) -> None:
    """Count rows that were stored."""
    for row, phase in zip((sample.row for sample in rows), phases, strict=True):
        imputed = row.origin == schema.IMPUTED
        summary.samples += 1
        summary.imputed += imputed
        summary.drawn += row.origin == schema.MANUAL
        counts = summary.imputed_structures if imputed else summary.structures
        counts.update(dict(zip(structures, map(int, row.has), strict=True)))
        if phase:
            summary.cardiac_phases[phase] += 1


def _by_study(
    studies: Iterable[StudyPlan], make: Callable[[Iterator[StudyPlan]], Iterator[Made]]
) -> Iterator[tuple[StudyPlan, Iterable[Made]]]:
    """Yield each study with the rows that are made of it; none where nothing could be made."""
    pending: deque[StudyPlan] = deque()

    def noted() -> Iterator[StudyPlan]:
        for study in studies:
            pending.append(study)
            yield study

    for identity, made in groupby(make(noted()), key=lambda pair: (pair[0].patient_id, pair[0].study)):
        while (pending[0].patient_id, pending[0].study) != identity:
            yield pending.popleft(), ()
        yield pending.popleft(), made
    yield from ((study, ()) for study in pending)


def _without_chunks(sample: EncodedSample) -> EncodedSample:
    """Return a row without images, masks, outlines and pixels, so that memory stays flat."""
    facts = sample.facts.kept() if sample.facts is not None else None
    return replace(
        sample, image=_NOTHING, masks=(), rings=(), issues=(), facts=facts, pixels=(), label_digests=()
    )
