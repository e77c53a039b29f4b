"""Stores the studies of a dataset, made or copied; and what spans them: duplicates, splits, statistics, flags."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dicom_etl.checks.flags import label_flags
from dicom_etl.checks.review import LabelReview
from dicom_etl.config import IngestConfig
from dicom_etl.dataset import schema
from dicom_etl.dataset.digest import append_seal
from dicom_etl.dataset.schema import Ending, dataset_attributes
from dicom_etl.dataset.statistics import PixelStatistics
from dicom_etl.errors import OutputError, os_errors_as
from dicom_etl.pipeline.summary import Summary, in_order
from dicom_etl.records import Chunk, Decided, EncodedSample, Issue, StudyRecord, kept_together
from dicom_etl.splits import NO_FOLD, SplitAssignment

if TYPE_CHECKING:
    from dicom_etl.dataset.writer import HDF5Writer

_NOTHING = Chunk(b"")


class Assembly:
    """Stores rows by study (none without a ``writer``), counts them, and says what only all of them decide."""

    def __init__(
        self,
        spec: schema.DatasetSpec,
        config: IngestConfig,
        writer: HDF5Writer | None,
        summary: Summary,
        review: LabelReview | None = None,
    ) -> None:
        self._spec, self._config, self._writer = spec, config, writer
        self._review = review if review is not None else LabelReview(spec.structures)
        self._assignment = SplitAssignment(config.split, config.folds, config.split_seed)
        self._statistics = PixelStatistics(spec.dtype, spec.structures, spec.shape[0] * spec.shape[1])
        self._patients: list[str] = []
        self._has = {name: array("b") for name in spec.structures}
        self._studies: list[StudyRecord] = []
        self._origins: set[float] = set()
        self.summary = summary
        self.samples: list[EncodedSample] = []
        """The rows since the last study ended, without images, masks, outlines and pixels."""
        summary.samples = summary.drawn = summary.imputed = 0
        summary.structures = Counter(dict.fromkeys(spec.structures, 0))

    @property
    def rows(self) -> int:
        """How many rows the studies have that ended."""
        return len(self._patients)

    def append(self, sample: EncodedSample) -> None:
        """Store the next row, of which only columns and facts are kept: a study of 440 images has 5 MB of pixels."""
        if self._writer is not None:
            self._writer.append(sample)
        self._statistics.add(sample.row.image_mean, sample.row.image_std, sample.pixels)
        facts = sample.facts.kept()
        self.samples.append(
            sample._replace(
                image=_NOTHING,
                masks=(),
                rings=(),
                issues=(),
                facts=facts,
                pixels=(),
                label_digests=(),
            )
        )

    def end_study(
        self, study: StudyRecord, cardiac_phases: Mapping[int, str], issues: Iterable[Issue]
    ) -> None:
        """Close the rows of one study; ``issues`` count from its first row, and the summary gets them as decided on."""
        first, summary = self.rows, self.summary
        if self._writer is not None:
            self._writer.end_study(cardiac_phases)
        self._studies.append(study)
        for sample in self.samples:
            row = sample.row
            self._patients.append(str(row.patient_id))
            self._origins.update(origin for origin in row.pixel_origins if origin == origin)
            for has, drawn in zip(self._has.values(), row.has, strict=True):
                has.append(drawn)
            keys = [contour.key for contour in sample.facts.contours]
            self._assignment.add(row.patient_id, sample.facts.image_key, keys)
            imputed = row.origin == schema.IMPUTED
            summary.samples += 1
            summary.imputed += imputed
            summary.drawn += row.origin == schema.MANUAL
            counts = summary.imputed_structures if imputed else summary.structures
            for structure, drawn in zip(self._spec.structures, row.has, strict=True):
                counts[structure] += int(drawn)
            if word := cardiac_phases.get(row.phase_index):
                summary.cardiac_phases[word] += 1
        numbered = [
            issue._replace(
                sample=None if issue.sample is None else issue.sample + first,
                patient_id=study.patient_id,
                study=study.study,
            )
            for issue in issues
        ]
        summary.issues += self._review.add(self.samples, numbered)
        self.samples = []

    def findings(self, known: Sequence[Issue]) -> list[Issue]:
        """Return all that was found, as it stands after what was decided: ``known``, and copies among the rows."""
        return self._review.finish(known)

    def ending(
        self,
        issues: Sequence[Issue],
        key_fingerprint: str,
        further_attributes: Mapping[str, str | int | float],
        decisions: Sequence[Decided] = (),
    ) -> Ending:
        """Return what is known now that all studies were added; ``decisions`` are those of earlier runs."""
        found = in_order(issues)
        drawn = {name: np.frombuffer(has, np.int8).astype(np.bool_) for name, has in self._has.items()}
        structures = self._spec.structures
        # A part cannot know what its patients share with others; `merge` decides.
        splits = (
            [("", NO_FOLD)] * self.rows if self._spec.part else self._assignment.assign(kept_together(found))
        )
        return Ending(
            splits=splits,
            attributes=dataset_attributes(self._config, structures, found, key_fingerprint)
            | dict(further_attributes),
            studies=self._studies,
            issues=found,
            flags=label_flags(found, self._patients, drawn),
            decisions=sorted([*decisions, *self._review.ledger.decided]),
            statistics=self._statistics.rows(),
        )

    def seal(self, temporary: Path, output: Path) -> None:
        """Seal the finished file, and note what it is."""
        summary = self.summary
        with os_errors_as(OutputError, "cannot write the seal of the dataset"):
            summary.sha256 = append_seal(temporary, schema.FORMAT_VERSION)
            summary.output_bytes = temporary.stat().st_size
        summary.output, summary.shape, summary.dtype = output, self._spec.shape, self._spec.dtype
        # What was taken off all vertices; None where that differs, or nothing is drawn in pixels.
        summary.contour_origin = next(iter(self._origins)) if len(self._origins) == 1 else None
