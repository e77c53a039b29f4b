"""The rows of a dataset: made by an executor or taken from earlier ones, stored in plan order, study by study."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from copy import deepcopy
from itertools import groupby
from typing import TYPE_CHECKING

from dicom_etl.checks.decisions import Ledger
from dicom_etl.checks.review import LabelReview, study_review
from dicom_etl.dataset import schema
from dicom_etl.errors import ItemError
from dicom_etl.pipeline.assembly import Assembly
from dicom_etl.pipeline.plan import Plan
from dicom_etl.records import EncodedSample, Issue, SamplePlan, StudyPlan, StudyRecord
from dicom_etl.stages import parse, write
from dicom_etl.stages.outside import refused_stacks
from dicom_etl.stages.sample import SampleMaker, item_issue
from dicom_etl.stages.study_key import study_key

if TYPE_CHECKING:
    from dicom_etl.dataset.writer import HDF5Writer
    from dicom_etl.pipeline.checkpoint import CheckpointWriter
    from dicom_etl.pipeline.earlier import Earlier


class StackRefusedError(Exception):
    """So many labels leave the images of a stack that it is not theirs: studies are to be planned by outlines too."""


Made = tuple[SamplePlan, EncodedSample | ItemError]


class RowWriter:
    """Makes the rows of all studies of a plan, or takes them from ``earlier`` work, and stores them.

    Counts in the plan's summary become those of what is stored, issues are added. ``checkpoint`` stores what is made
    once more, for a run that is killed; ``review`` looks at the labels. Without a ``writer`` nothing is stored.
    """

    def __init__(
        self,
        plan: Plan,
        spec: schema.DatasetSpec,
        writer: HDF5Writer | None,
        *,
        earlier: Earlier | None = None,
        checkpoint: CheckpointWriter | None = None,
        review: LabelReview | None = None,
    ) -> None:
        self._plan, self._spec = plan, spec
        self._earlier, self._checkpoint = earlier, checkpoint
        self._done, self._total = 0, plan.summary.samples
        review = review if review is not None else LabelReview(spec.structures, plan.ledger)
        self._assembly = Assembly(spec, plan.config, writer, plan.summary, review)

    def run(self) -> Assembly:
        """Store all rows; return what followed them."""
        for taken, group in groupby(self._plan.studies(), key=self._is_taken):
            if taken:
                for study in group:
                    self._copy_study(study)
            else:
                begun: deque[StudyPlan] = deque()  # `itertools.tee` would keep the last 57
                rows = self._make_rows(_noted(group, begun))
                for _, made in groupby(rows, key=lambda pair: (pair[0].patient_id, pair[0].study)):
                    self._make_study(begun.popleft(), made)  # every study has a row to be made
        return self._assembly

    def _is_taken(self, study: StudyPlan) -> bool:
        return self._earlier is not None and study in self._earlier

    def _make_rows(self, studies: Iterator[StudyPlan]) -> Iterator[Made]:
        """Make all rows, each on its own or, to impute, those of a study from one another."""
        plan = self._plan
        maker = SampleMaker(plan.source, self._spec)
        if plan.config.impute is None:
            # One flow of samples over all studies: no worker waits for the last sample of a study.
            samples = (sample for study in studies for sample in study.samples)
            yield from plan.executor.map(maker, samples)
            return
        from dicom_etl.stages.impute import make_study

        for study in studies:
            yield from make_study(study, plan.executor, maker)

    def _make_study(self, study: StudyPlan, made: Iterable[Made]) -> None:
        config, assembly = self._plan.config, self._assembly
        issues: list[Issue] = []
        digests: dict[str, str] = {}
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
                assembly.append(result)
                if self._checkpoint is not None:
                    self._checkpoint.append(result)
        if (
            not self._plan.read_outlines
            and any(issue.code == parse.OUTSIDE for issue in issues)
            and refused_stacks(study.samples, self._plan.source)
        ):
            raise StackRefusedError
        key = study_key(
            (study, self._plan.ledger.decisions.of(study.patient_id)),
            source=self._plan.source,
            key_fingerprint=self._plan.key_fingerprint,
            known=digests,
        )
        record = StudyRecord(study.patient_id, key, study.study)
        phases = write.study_phases([sample.row for sample in assembly.samples], self._spec.structures)
        issues += study_review(assembly.samples)
        if self._checkpoint is not None:
            self._checkpoint.end_study(record, phases, issues)
        assembly.end_study(record, phases, issues)

    def _copy_study(self, study: StudyPlan) -> None:
        assert self._earlier is not None
        record, samples, phases, issues = self._earlier.take(study)
        for sample in samples:
            self._assembly.append(sample)
            self._step()
        summary = self._plan.summary
        summary.reused_studies += 1
        summary.reused_samples += len(self._assembly.samples)
        self._assembly.end_study(record, phases, issues)

    def _step(self) -> None:
        self._done += 1
        self._plan.progress(write.NAME, self._done, self._total)


def _noted(studies: Iterable[StudyPlan], begun: deque[StudyPlan]) -> Iterator[StudyPlan]:
    for study in studies:
        begun.append(study)
        yield study


def drop_doubted(plan: Plan, spec: schema.DatasetSpec) -> None:
    """Make every row and store none, to know all labels that are in doubt; have the plan leave these out."""
    before = deepcopy(plan.summary)
    review = LabelReview(spec.structures, plan.ledger, drop_flagged=plan.config.drop_flagged)
    rows = RowWriter(plan, spec, None, review=review)
    rows.run().findings(plan.summary.issues)
    plan.summary = before
    plan.ledger = Ledger(plan.ledger.decisions.resolved(review.doubted))
