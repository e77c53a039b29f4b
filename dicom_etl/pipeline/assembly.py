"""What spans the studies of a dataset, made or copied: duplicates, splits and folds, statistics, flags."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from dicom_etl.checks.flags import label_flags
from dicom_etl.checks.review import LabelReview
from dicom_etl.config import IngestConfig
from dicom_etl.dataset import schema
from dicom_etl.dataset.digest import append_seal
from dicom_etl.dataset.ending import Ending, dataset_attributes
from dicom_etl.dataset.statistics import PixelStatistics
from dicom_etl.errors import OutputError
from dicom_etl.pipeline.summary import Summary, in_order
from dicom_etl.records import Decided, EncodedSample, Issue, StudyRecord, kept_together
from dicom_etl.splits import NO_FOLD, SplitAssignment


class Assembly:
    """Follows the rows of a dataset, study by study, and says at the end what only all of them decide."""

    def __init__(
        self, spec: schema.DatasetSpec, config: IngestConfig, review: LabelReview | None = None
    ) -> None:
        self._spec, self._config = spec, config
        self._review = review if review is not None else LabelReview(spec.structures)
        self._assignment = SplitAssignment(config.split, config.folds, config.split_seed)
        self._statistics = PixelStatistics(spec.dtype, spec.structures, spec.shape[0] * spec.shape[1])
        self._patients: list[str] = []
        self._has = {name: array("b") for name in spec.structures}
        self._studies: list[StudyRecord] = []
        self._origins: set[float] = set()

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return len(self._patients)

    def count(self, sample: EncodedSample) -> None:
        """Count the pixels of the next row, which need not be kept then: 5 MB for a study of 440 images."""
        self._statistics.add(sample.row.image_mean, sample.row.image_std, sample.pixels)

    def add(
        self, study: StudyRecord, samples: Sequence[EncodedSample], issues: Iterable[Issue]
    ) -> list[Issue]:
        """Take the next study: its rows, of which only columns and facts are looked at, and what was found on it.

        Return the ``issues``, whose ``sample`` counts from the first of its rows, as they stand after what was
        decided, with the rows of the dataset.
        """
        first = self.rows
        self._studies.append(study)
        for sample in samples:
            row = sample.row
            self._patients.append(str(row.patient_id))
            self._origins.update(origin for origin in row.pixel_origins if origin == origin)
            for has, drawn in zip(self._has.values(), row.has, strict=True):
                has.append(drawn)
            contours = sample.facts.contours if sample.facts is not None else ()
            self._assignment.add(row.patient_id, sample.image_key, [contour.key for contour in contours])
        numbered = [
            replace(
                issue,
                sample=None if issue.sample is None else issue.sample + first,
                patient_id=study.patient_id,
                study=study.study,
            )
            for issue in issues
        ]
        return self._review.add(samples, numbered)

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

    def seal(self, temporary: Path, output: Path, summary: Summary) -> None:
        """Seal the finished file, and note what it is."""
        try:
            summary.sha256 = append_seal(temporary, schema.FORMAT_VERSION)
            summary.output_bytes = temporary.stat().st_size
        except OSError as error:
            raise OutputError(f"cannot write the seal of the dataset: {error.strerror}") from None
        summary.output, summary.shape, summary.dtype = output, self._spec.shape, self._spec.dtype
        # What was taken off all vertices; None where that differs, or nothing is drawn in pixels.
        summary.contour_origin = next(iter(self._origins)) if len(self._origins) == 1 else None
