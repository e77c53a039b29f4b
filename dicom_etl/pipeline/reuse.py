"""Rows of earlier datasets that need not be made again: their stored chunks are copied.

An earlier dataset is one that ``--reuse`` names, or a part that a killed run has kept. Its seal is checked first, then
that it was made by this version with the options (and key) of this run; after that each study of it is compared with
its inputs, see `dicom_etl.pipeline.staleness`. What does not fit is made again. What lies between studies (duplicates,
splits and folds, the order of issues) is decided from all rows in any case, so the bytes are those of one fresh run.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from dicom_etl.checks.sample_checks import STAGE
from dicom_etl.config import IngestConfig
from dicom_etl.dataset import schema
from dicom_etl.dataset.digest import text_key
from dicom_etl.dataset.stored import StoredRows, StoredSample
from dicom_etl.errors import DatasetError, ItemError
from dicom_etl.geometry.polygons import polygon_area
from dicom_etl.pipeline.labels import facts_of
from dicom_etl.pipeline.plan import Plan
from dicom_etl.pipeline.staleness import Candidate, Unchanged, check_study
from dicom_etl.pipeline.summary import Progress
from dicom_etl.records import EncodedSample, Issue, SamplePlan, SampleRow, StudyPlan
from dicom_etl.stages import write

NAME = "compare"


@dataclass(frozen=True, slots=True)
class _Kept:
    """A study that is taken from an earlier dataset: its rows there, their images in the plan, what is left out."""

    earlier: _Earlier
    rows: range
    samples: array[int]
    issues: tuple[Issue, ...]


class Reuse:
    """Earlier datasets, and which studies can be taken from them.

    Parameters
    ----------
    earlier : sequence of StoredRows
        Open, of the options of this run; of a patient who is in several of them the last one counts.
    spec : DatasetSpec
        What all rows of this run have in common.
    config : IngestConfig
        Options that shape the data.
    """

    def __init__(self, earlier: Sequence[StoredRows], spec: schema.DatasetSpec, config: IngestConfig) -> None:
        self._structures, self._config = spec.structures, config
        self._known: dict[str, tuple[_Earlier, range]] = {}
        self._kept: dict[str, _Kept] = {}
        self._inputs: dict[str, dict[str, str]] = {}
        for each in map(_Earlier, earlier):
            self._known |= {patient: (each, rows) for patient, rows in each.file.studies()}

    def compare(self, plan: Plan, *, progress: Progress) -> None:
        """Find the studies whose inputs are still what their earlier rows were made of."""
        check = partial(check_study, roots=plan.roots, config=self._config, structures=self._structures)
        found = plan.executor.map(check, self._candidates(plan.studies()))
        for number, (candidate, result) in enumerate(found, start=1):
            if isinstance(result, Unchanged):
                patient = candidate.study.patient_id
                self._kept[patient] = _Kept(*self._known[patient], array("L", result.samples), result.issues)
            progress(NAME, number, len(self._known))
        progress(NAME, len(self._known), len(self._known))

    def has(self, patient_id: str) -> bool:
        """Whether the rows of a patient are taken from an earlier dataset."""
        return patient_id in self._kept

    def rows(self, study: StudyPlan) -> Iterator[tuple[SamplePlan, EncodedSample | ItemError]]:
        """Yield the rows of a study that is taken, with the images they were made of."""
        kept = self._kept[study.patient_id]
        issues = kept.issues
        inputs = self._inputs[study.patient_id] = {}
        for index, stored in zip(kept.samples, kept.earlier.file.read(kept.rows), strict=True):
            sample = study.samples[index]
            inputs |= _inputs_of(stored.sample.row, self._structures)
            yield sample, replace(self._row(sample, stored), issues=issues)
            issues = ()

    def found_on(self, patient_id: str) -> list[Issue] | None:
        """Return what the label checks found across the rows of a study that is taken; None for one that is not.

        Asked once for each study, after its `rows`.
        """
        kept = self._kept.get(patient_id)
        if kept is None:
            return None
        return [
            replace(issue, patient_id=patient_id, structure=structure)
            for path, structure in self._inputs.pop(patient_id).items()
            for issue in kept.earlier.findings.get(path, ())
        ]

    def _candidates(self, studies: Iterable[StudyPlan]) -> Iterator[Candidate]:
        for study in studies:
            known = self._known.get(study.patient_id)
            if known is not None:
                earlier, rows = known
                yield Candidate(
                    study, tuple(earlier.file.read_rows(rows)), tuple(earlier.file.outlines(rows))
                )

    def _row(self, sample: SamplePlan, stored: StoredSample) -> EncodedSample:
        uid, frame = sample.header.instance_uid, sample.header.frame
        facts = facts_of(stored, self._structures, text_key(f"{uid}/{frame}") if uid else 0)
        # ED and ES are decided by the area of one structure.
        areas = tuple(
            polygon_area(outline) if outline and structure == write.INNER else 0.0
            for structure, outline in zip(self._structures, stored.sample.rings, strict=True)
        )
        return replace(
            stored.sample,
            row=replace(stored.sample.row, areas_px=areas),
            image_key=facts.image_key,
            facts=facts,
        )


class _Earlier:
    """An earlier dataset, and what the label checks found on single studies of it, by the input that it is about."""

    def __init__(self, file: StoredRows) -> None:
        self.file = file
        self.findings: dict[str, list[Issue]] = {}
        for issue in file.issues():
            if issue.stage == STAGE:
                self.findings.setdefault(issue.path, []).append(issue)


def _inputs_of(row: SampleRow, structures: Sequence[str]) -> dict[str, str]:
    """Return what findings on a row can be about, with the structure: image, contours, the folder of the contours."""
    inputs = {row.source_image: ""}
    for structure, path in zip(structures, row.sources, strict=True):
        if path:
            inputs |= {path: structure, "/".join(path.split("/")[:2]): ""}
    return inputs


@contextmanager
def open_reuse(
    named: Path | None,
    kept: Sequence[Path],
    spec: schema.DatasetSpec,
    config: IngestConfig,
    key_fingerprint: str,
    notices: list[str],
) -> Iterator[Reuse]:
    """Yield what can be taken from earlier datasets; why one cannot be used is added to ``notices``.

    Parameters
    ----------
    named : Path, optional
        A dataset that a person named.
    kept : sequence of Path
        Parts that a killed run kept; those that cannot be used are removed.
    spec, config, key_fingerprint
        Of this run.
    notices : list of str
        Gets a line for each kind of earlier dataset that cannot be used.
    """
    wanted = _made_by_this_run(spec, config, key_fingerprint)
    with ExitStack() as stack:
        earlier: list[StoredRows] = []
        refused: Counter[str] = Counter()
        for path in (*([] if named is None else [named]), *kept):
            try:
                file = stack.enter_context(StoredRows(path))
                reason = _difference(file, wanted)
            except DatasetError as error:
                reason = str(error) if path is named else "damaged"
            if not reason:
                earlier.append(file)
            elif path is named:
                notices.append(f"`reuse` takes nothing, all is made anew: {reason}")
            else:
                path.unlink(missing_ok=True)
                refused[reason] += 1
        for reason, count in refused.items():
            notices.append(f"`resume`: {count} of the kept parts cannot be used and were removed: {reason}")
        yield Reuse(earlier, spec, config)


def _made_by_this_run(spec: schema.DatasetSpec, config: IngestConfig, key_fingerprint: str) -> dict[str, Any]:
    """Return what must be equal for a stored row to be one of this run, under the words for a difference."""
    attributes = write.dataset_attributes(config, spec.structures, (), key_fingerprint)
    return {
        "made by another version of dicom-etl": attributes["software_version"],
        "made with other options": attributes["config"],
        "made with another key for pseudonyms": key_fingerprint,
        "its structures are others": attributes["structures"],
        "its images have another size": spec.shape,
        "its images have another type": spec.dtype,
    }


def _difference(file: StoredRows, wanted: dict[str, Any]) -> str:
    """Say why no row of an earlier dataset is one of this run; "" when they can be."""
    alike = file.alike
    found = (
        alike["software_version"],
        alike["config"],
        file.key_fingerprint,
        alike["structures"],
        file.shape,
        file.dtype,
    )
    return next(
        (words for (words, value), mine in zip(wanted.items(), found, strict=True) if value != mine), ""
    )
