"""Studies of earlier datasets that need not be made again: those whose key stands there. Stored chunks are copied.

An earlier dataset is one that `reuse` names, or a part that a killed run has kept. Whatever the key covers is not
compared again (see `dicom_etl.stages.study_key`); what lies between studies (duplicates, splits and folds, the order of
issues) is decided from all rows in any case. So the bytes are those of one fresh run.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from dicom_etl.checks.decisions import STALE
from dicom_etl.checks.review import stored_facts
from dicom_etl.checks.sample_checks import DATASET_STAGE
from dicom_etl.dataset import schema
from dicom_etl.dataset.digest import instance_key
from dicom_etl.dataset.reading import DatasetReader, Study, open_reader
from dicom_etl.dataset.statistics import pixels_to_count
from dicom_etl.errors import DatasetError, ItemError
from dicom_etl.pipeline.plan import Plan
from dicom_etl.records import EncodedSample, Issue, StudyPlan, StudyRecord
from dicom_etl.stages import discover, link
from dicom_etl.stages.study_key import study_key

NAME = "compare"
_MOST_OPEN = 16
"""Files that are open at once: a part of 200 each would not go with ``ulimit -n 64``."""
_FOUND_ANEW = frozenset({discover.NAME, link.NAME, DATASET_STAGE})
"""Stages whose findings every run makes again."""


class OpenFiles:
    """Datasets by path, the last few open; checked whole when first opened, and expected to stay as they are."""

    def __init__(self) -> None:
        self._open: dict[Path, DatasetReader] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        while self._open:
            self._open.popitem()[1].close()

    def get(self, path: Path, *, hashed: bool = False) -> DatasetReader:
        """Return an open dataset, which is closed when others are needed."""
        found = self._open.pop(path, None)
        if found is None:
            while len(self._open) >= _MOST_OPEN:
                self._open.pop(next(iter(self._open))).close()
            found = open_reader(path, hashed=hashed)
        self._open[path] = found
        return found


class Earlier:
    """What can be taken from earlier datasets."""

    def __init__(self, files: OpenFiles, spec: schema.DatasetSpec) -> None:
        self._files, self._spec = files, spec
        self._by_key: dict[str, tuple[Path, Study]] = {}
        self._patients: set[str] = set()
        self._means: list[NDArray[np.float64]] = []
        self._all = True
        self._keys: dict[tuple[str, int], str] = {}

    def open(self, named: Path | None, kept: Sequence[Path], notices: list[str]) -> None:
        """Look into a dataset that a person named and parts that a killed run kept; ``notices`` says what is no use."""
        refused: Counter[str] = Counter()
        for path in (*([] if named is None else [named]), *kept):
            try:
                reason = self._add(path)
            except DatasetError as error:
                reason = str(error) if path is named else "damaged"
            if reason and path is named:
                notices.append(f"`reuse` takes nothing, all is made anew: {reason}")
            elif reason:
                path.unlink(missing_ok=True)
                refused[reason] += 1
        for reason, count in refused.items():
            notices.append(f"`resume`: {count} of the kept parts cannot be used and were removed: {reason}")

    def compare(self, plan: Plan) -> None:
        """Find the studies of a plan whose key stands in an earlier dataset."""
        if not self._by_key:
            return
        key = partial(study_key, source=plan.source, key_fingerprint=plan.key_fingerprint)
        total = len(self._patients)
        for number, ((study, _), result) in enumerate(plan.executor.map(key, self._known(plan)), start=1):
            if not isinstance(result, ItemError) and result in self._by_key:
                self._keys[study.patient_id, study.study] = result
            else:
                self._all = False
            plan.progress(NAME, min(number, total), total)
        plan.progress(NAME, total, total)
        if not self._keys:
            plan.summary.notices.append(
                "all is made anew: no study of the earlier work was made of these inputs, with these options, by this "
                "version"
            )

    def _known(self, plan: Plan) -> Iterator[tuple[StudyPlan, str]]:
        for study in plan.studies():
            if study.patient_id in self._patients:
                yield study, plan.ledger.decisions.of(study.patient_id)
            else:
                self._all = False

    @cached_property
    def _shared(self) -> frozenset[float] | None:
        return shared_means(self._means, self._spec.dtype) if self._all else None

    def __contains__(self, study: StudyPlan) -> bool:
        return (study.patient_id, study.study) in self._keys

    def take(
        self, study: StudyPlan
    ) -> tuple[StudyRecord, Iterator[EncodedSample], dict[int, str], list[Issue]]:
        """Return a study that is there: rows, the words of its phases, and issues, which count from its first row."""
        key = self._keys[study.patient_id, study.study]
        path, stored = self._by_key[key]
        reader = self._files.get(path)
        issues = [
            issue if issue.sample is None else issue._replace(sample=issue.sample - stored.start)
            for issue in reader.issues_by_study.get((stored.record.patient_id, stored.record.study), [])
            if issue.stage not in _FOUND_ANEW and issue.code != STALE
        ]
        record = StudyRecord(study.patient_id, key, study.study)
        samples = stored_samples(reader, stored.rows, self._shared)
        return record, _with_uids(samples, study), stored_phases(reader, stored.rows), issues

    def _add(self, path: Path) -> str:
        """Take the studies of a file; or say why it can have none for this run."""
        rows, spec = self._files.get(path, hashed=True), self._spec
        for words, mine, wanted in (
            ("its structures are others", rows.structures, spec.structures),
            ("its images have another size", rows.shape, spec.shape),
            ("its images have another type", rows.dtype.str, spec.dtype),
        ):
            if mine != wanted:
                return words
        self._means.append(rows.column("image_mean"))
        for study in rows.studies():
            self._by_key[study.record.key] = path, study
            self._patients.add(study.record.patient_id)
        return ""


def _with_uids(samples: Iterable[EncodedSample], plan: StudyPlan) -> Iterator[EncodedSample]:
    uids = {(each.image, each.header.frame): each.header.instance_uid for each in plan.samples}
    for sample in samples:
        frame = sample.row.frame
        uid = uids[sample.row.source_image, frame]
        facts = sample.facts._replace(instance_key=instance_key(uid, frame))
        yield sample._replace(facts=facts)


def shared_means(means: Sequence[NDArray[np.float64]], dtype: str) -> frozenset[float] | None:
    """Return the means that several images of one dataset to be have: any other is of an image like no other.

    None where means are rounded, so that equal images may differ in them: `dicom_etl.stages.write.image_statistics`.
    """
    if np.dtype(dtype).kind not in "iu" or np.dtype(dtype).itemsize > 2:
        return None
    values, counts = np.unique(np.concatenate(means), return_counts=True)
    return frozenset(values[counts > 1].tolist())


def stored_samples(
    reader: DatasetReader, rows: range, shared: frozenset[float] | None
) -> Iterator[EncodedSample]:
    """Yield rows ready to be stored again, with what tells copies and pixels that count, as rows have that are made.

    ``shared`` are `shared_means` of all rows there will be, where they are known: to hash an image takes 70 us.
    """
    for number, sample in zip(rows, reader.encoded(rows), strict=True):
        pixels, masks = reader.image(number), reader.masks(number)
        drawn = [(pixels, mask) if has else None for mask, has in zip(masks, sample.row.has, strict=True)]
        counted = pixels_to_count(pixels, drawn, reader.full_mask)
        alike = shared is None or sample.row.image_mean in shared
        facts = stored_facts(sample, pixels if alike else None, reader.structures)
        yield sample._replace(facts=facts, pixels=counted)


def stored_phases(reader: DatasetReader, rows: range) -> dict[int, str]:
    """Return the words of the cardiac phases of one study, by phase index, as `HDF5Writer.end_study` takes them."""
    block = reader.block(rows.start, rows.stop)
    words = zip(block["phase_index"].tolist(), block["cardiac_phase"].tolist(), strict=True)
    return {phase: word for phase, word in words if word}
