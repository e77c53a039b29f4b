"""The plan of a run: the studies in row order, and what their samples have in common."""

from __future__ import annotations

import tempfile
import weakref
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial

import numpy as np

from dicom_etl.checks.decisions import Decisions, Ledger
from dicom_etl.config import IngestConfig, RunOptions
from dicom_etl.contours import READERS
from dicom_etl.dataset import schema
from dicom_etl.dataset.digest import shard_of
from dicom_etl.errors import ConfigError, ItemError, SourceError
from dicom_etl.layouts import SourceRoots, layout_of
from dicom_etl.layouts.pseudonyms import Pseudonyms
from dicom_etl.pipeline.summary import Summary, in_order
from dicom_etl.records import Issue, StudyFolders, StudyPlan, kept_together
from dicom_etl.splits import check_groups, group_patients, join_marks
from dicom_etl.stages import discover
from dicom_etl.stages.link_folders import HeaderPatients, link_folders
from dicom_etl.stages.parse import Source
from dicom_etl.stages.sample import item_issue
from dicom_etl.stages.study import (
    PlannedStudy,
    find_header_patient,
    find_structures,
    learn_others,
    plan_study,
    unpack,
)
from dicom_etl.stages.uids import UidIndex
from dicom_etl.workers import Executor, InProcess, Progress, silent

_IN_MEMORY = 4 << 20
"""Bytes of packed plans kept in memory, about 9,000 samples; more go to an unnamed temporary file."""


class Plan:
    """What would be done with a SOURCE: studies in row order, and what they have in common.

    Of a shard only the studies of this part are taken (see `RunOptions.shard`); with ``read_outlines`` outlines
    are read too, to know the stacks that they leave (see `dicom_etl.stages.outside`). ``key_fingerprint`` is "" without
    pseudonyms. The samples are kept packed, and beyond some megabytes on disk, so that memory stays flat.
    """

    def __init__(
        self,
        roots: SourceRoots,
        config: IngestConfig,
        options: RunOptions | None = None,
        *,
        executor: Executor | None = None,
        progress: Progress = silent,
        pseudonyms: Pseudonyms | None = None,
        decisions: Decisions | None = None,
        read_outlines: bool = False,
    ) -> None:
        if config.pseudonymize != (pseudonyms is not None):
            raise ConfigError("`pseudonymize` needs its key, and the key needs the option")
        if config.pseudonymize and not {reader.name for reader in READERS}.issuperset(config.labels):
            raise ConfigError(
                "`labels`: a pattern of paths is recorded, so with `pseudonymize` name a format"
            )
        self.source, self.config, self.options = Source(roots, config), config, options or RunOptions()
        self._shard, self.read_outlines = self.options.shard, read_outlines
        self.ledger = Ledger((decisions or Decisions()).excluding(config.exclude))
        self.key_fingerprint = "" if pseudonyms is None else pseudonyms.fingerprint()
        self.executor, self.progress = executor or InProcess(), progress
        self._structures: set[str] = set()
        self._begin([])
        listening = discover.listener.set(progress)
        try:
            self._plan_studies(roots, pseudonyms)
        finally:
            discover.listener.reset(listening)
        if unknown := self._without_labels():
            self.summary.notices.append(unknown)
        self.summary.issues = in_order(self.summary.issues)

    def _begin(self, issues: list[Issue]) -> None:
        """Forget what was planned, but for what is known before any study is looked at."""
        self.summary = Summary(issues=issues)
        self._packed = tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY)  # noqa: SIM115  - lives as long as the plan
        weakref.finalize(self, self._packed.close)
        self._sizes: Counter[tuple[int, int]] = Counter()
        self._dtypes: set[str] = set()
        self._widths: Counter[str] = Counter()
        self._patients: set[str] = set()

    def studies(self) -> Iterator[StudyPlan]:
        """Unpack the studies in row order, one at a time."""
        self._packed.seek(0)
        with suppress(EOFError):  # after the last
            while True:
                study = unpack(self._packed)
                yield self._with_drops(study) if self.ledger.about(study.patient_id) else study

    def _with_drops(self, study: StudyPlan) -> StudyPlan:
        samples = (
            sample._replace(drops=self.ledger.drops(sample.patient_id, sample.image, sample.header.frame))
            for sample in study.samples
        )
        return replace(study, samples=tuple(samples))

    def stale_decisions(self) -> list[Issue]:
        """Return what decisions hold for nothing, of the patients of this part; asked when all rows are made."""
        return [issue for issue in self.ledger.finish() if self._is_ours(issue)]

    def spec(self) -> schema.DatasetSpec:
        """Decide shape, dtype and text widths of the dataset."""
        if not self._sizes and self._shard is not None:
            # A part without a study is still one of the parts that merge asks for.
            self._sizes[1, 1], self._dtypes = 0, {"|u1"}
        if not self._sizes:
            reason = f"no sample can be made of this SOURCE: {self._nothing()}"
            raise SourceError(reason, self.summary.issues)
        if len(self._sizes) > 1 and self.config.size is None:
            sizes = ", ".join(
                f"{count} of {rows}x{cols}" for (rows, cols), count in self._sizes.most_common()
            )
            raise SourceError(
                f"images of different sizes: {sizes}. `size` ROWSxCOLUMNS brings all to one size; "
                "`expect_size` ROWSxCOLUMNS leaves the others out"
            )
        if self._shard is None:
            self._check_split_possible()
        return spec_of(
            self.config,
            next(iter(self._sizes)),
            self._dtypes,
            self.config.structures or tuple(sorted(self._structures)),
            self._widths,
            part=self._shard is not None,
        )

    def _check_split_possible(self) -> None:
        """Refuse splits and folds for which even patients that share no data, PatientIDs apart, would be too few."""
        names = sorted(self._patients)
        kept = kept_together(self.summary.issues)
        each = group_patients(names, join_marks(names, [()] * len(names), kept))
        if self.config.split is not None:
            check_groups(each, sum(share > 0 for share in self.config.split), "split")
        if self.config.folds is not None:
            check_groups(each, self.config.folds, "fold")

    def _plan_studies(self, roots: SourceRoots, pseudonyms: Pseudonyms | None) -> None:
        folders = discover.find_folders(layout_of(roots), roots, pseudonyms)
        studies, issues = link_folders(folders)
        self.summary.issues += filter(self._is_ours, (*folders.issues, *issues))
        others, studies = studies, self._of_shard(studies)
        out = {study.patient_id: self.ledger.excluded(study.patient_id) for study in studies}
        self.summary.issues += filter(None, out.values())
        studies = tuple(study for study in studies if out[study.patient_id] is None)
        known = list(self.summary.issues)
        uids, headers = self._plan_each(studies)
        if changed := self._placed(uids, [each for each in others if each not in headers]):
            self._begin(known)
            studies = tuple(changed.get((each.patient_id, each.study), each) for each in studies)
            _, headers = self._plan_each(studies)
        if self.config.group_by != "folder":
            self._look_elsewhere(headers, others)
            self.summary.issues += filter(self._is_ours, headers.issues())

    def _plan_each(self, studies: Sequence[StudyFolders]) -> tuple[UidIndex, HeaderPatients]:
        self.summary.studies = len(studies)
        plan = partial(
            plan_study,
            source=self.source,
            list_unlabeled=self.options.list_unlabeled,
            read_outlines=self.read_outlines,
        )
        uids, headers = UidIndex(), HeaderPatients(self.config)
        for number, (study, result) in enumerate(self.executor.map(plan, studies), start=1):
            if isinstance(result, ItemError):
                self.summary.issues.append(item_issue(result, discover.NAME, study.images, study.patient_id))
            else:
                self._add(result)
                self._patients.update([study.patient_id] if result.rows else [])
                headers.add(study, result.linked.header_patient)
                uids.add(study, result.linked.uids)
            self.progress(discover.NAME, number, len(studies))
        return uids, headers

    def _placed(self, uids: UidIndex, others: Sequence[StudyFolders]) -> dict[tuple[str, int], StudyFolders]:
        """Return the studies with labels that name images of other studies, of whatever part these are."""
        if self._shard is not None:
            kept = [each for each in others if not self.ledger.excluded(each.patient_id)]
            learn_others(uids, kept, self.executor, self.source)
        return uids.placed()

    def _look_elsewhere(self, headers: HeaderPatients, studies: Iterable[StudyFolders]) -> None:
        """Ask for the PatientIDs of studies that another part makes or that are left out, as a whole ingest must."""
        find = partial(find_header_patient, source=self.source)
        for study, result in self.executor.map(find, [each for each in studies if each not in headers]):
            headers.add(study, "" if isinstance(result, ItemError) else result)

    def _is_ours(self, issue: Issue) -> bool:
        """Whether this run reports an issue that was found before any study was looked at: one part of several does."""
        if self._shard is None:
            return True
        number, shards = self._shard
        return number == (shard_of(issue.patient_id, shards) if issue.patient_id else 1)

    def _of_shard(self, studies: tuple[StudyFolders, ...]) -> tuple[StudyFolders, ...]:
        """Return the studies of this part. Its structures are those of all parts, so that parts are alike."""
        if self._shard is None:
            return studies
        number, shards = self._shard
        if self.config.structures is None:
            find = partial(find_structures, source=self.source)
            for _, result in self.executor.map(find, studies):
                if not isinstance(result, ItemError):
                    self._structures.update(result[0])
        return tuple(study for study in studies if shard_of(study.patient_id, shards) == number)

    def _add(self, study: PlannedStudy) -> None:
        summary, plan = self.summary, study.linked.plan
        summary.images += plan.image_count
        summary.contours += plan.contour_count
        summary.unlabeled += plan.unlabeled_count
        summary.samples += study.rows
        summary.drawn += plan.image_count - plan.unlabeled_count
        summary.imputed += study.imputed
        summary.issues += (each._replace(study=plan.study) if plan.study else each for each in plan.issues)
        summary.not_imputed.update(study.not_imputed)
        summary.series.add(plan)
        summary.names.update(study.linked.names)
        summary.structures.update(study.drawn)
        self._sizes.update(study.sizes)
        self._dtypes.update(study.dtypes)
        self._structures.update(study.linked.structures)
        for column, width in study.widths.items():
            self._widths[column] = max(self._widths[column], width)
        self._packed.write(study.packed)

    def _without_labels(self) -> str:
        """Name the structures that were asked for and no label is of, and those that there are; "" for none."""
        missing = sorted(set(self.config.structures or ()) - self._structures)
        if not missing or self._shard is not None:  # a part knows its own labels alone
            return ""
        there = (
            f"there are {', '.join(sorted(self._structures))}" if self._structures else "there are no labels"
        )
        return f"`structures`: no label is of {', '.join(missing)}; {there}"

    def _nothing(self) -> str:
        summary = self.summary
        if (unknown := self._without_labels()) and self._structures:
            return unknown
        found = (
            f"{summary.studies} linked studies, {summary.images} readable images, {summary.contours} contours"
        )
        kinds = Counter(issue.code for issue in summary.issues if issue.severity == "error")
        reasons = "; ".join(f"{count} {code}" for code, count in kinds.most_common())
        return f"{found}; {reasons}" if reasons else f"{found}; `unlabeled` keeps images without contours"


def spec_of(
    config: IngestConfig,
    shape: tuple[int, int],
    dtypes: Iterable[str],
    structures: tuple[str, ...],
    widths: Mapping[str, int],
    *,
    part: bool = False,
) -> schema.DatasetSpec:
    """Return what all rows have in common. Their dtype is the least that holds all; with any fraction it is float32."""
    common = np.result_type(*map(np.dtype, dtypes))
    return schema.DatasetSpec(
        shape,
        "<f4" if common.kind == "f" else common.newbyteorder("<").str,
        structures,
        tuple(sorted(widths.items())),
        config.compression,
        config.fletcher32,
        config.mask_values,
        part,
    )
