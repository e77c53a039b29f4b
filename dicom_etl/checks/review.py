"""The label checks as ingest runs them: on each sample where it is made, on each study, on all at the end."""

from __future__ import annotations

import pickle
import zlib
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Any

from numpy.typing import NDArray

from dicom_etl.checks.decisions import Decision, Ledger, RowLabels, drop_of
from dicom_etl.checks.duplicates import Duplicates, RowNames
from dicom_etl.checks.flags import clear_partners, doubts
from dicom_etl.checks.limits import LabelLimits
from dicom_etl.checks.measurements import gather
from dicom_etl.checks.sample_checks import sample_issues
from dicom_etl.checks.study import number_samples, study_issues
from dicom_etl.dataset import schema
from dicom_etl.dataset.digest import text_key
from dicom_etl.records import EncodedSample, ImageHeader, Issue, SampleFacts

_LIMITS = LabelLimits()


def review_sample(
    sample: EncodedSample,
    pixels: NDArray[Any],
    structures: Sequence[str],
    header: ImageHeader,
    *,
    known_simple: bool,
) -> EncodedSample:
    """Return a sample with what the label checks find on it and keep of it.

    Parameters
    ----------
    sample : EncodedSample
        The sample.
    pixels : (y, x) array
        Its image on the dataset's grid.
    structures : sequence of str
        Those of the dataset.
    header : ImageHeader
        What its file says.
    known_simple : bool
        Its outlines are known not to cross themselves.
    """
    row = sample.row
    drawn_by_hand = row.origin == schema.MANUAL
    drawn = gather(
        patient_id=row.patient_id,
        image=row.source_image,
        location_index=row.location_index,
        phase_index=row.phase_index,
        trigger_time_ms=row.trigger_time_ms,
        pixel_spacing_mm=row.pixel_spacing_mm,
        pixels=pixels,
        rings={
            name: rings if drawn_by_hand else () for name, rings in zip(structures, sample.rings, strict=True)
        },
        paths=dict(zip(structures, row.sources, strict=True)),
        areas_px=dict(zip(structures, row.areas_px, strict=True)),
        image_key=sample.image_key,
        # Frames of one file share its UID.
        instance_key=text_key(f"{header.instance_uid}/{header.frame}") if header.instance_uid else 0,
    )
    issues = sample_issues(drawn, _LIMITS, known_simple=known_simple)
    return EncodedSample(
        row,
        sample.image,
        sample.masks,
        sample.rings,
        sample.issues,
        sample.image_key,
        label_issues=issues,
        facts=drawn.facts,
    )


class LabelReview:
    """Follows the rows of a dataset while they are written, and says which labels are worth a look.

    Parameters
    ----------
    structures : sequence of str
        Those of the dataset, in its order.
    ledger : Ledger, optional
        Applies what a person decided.
    drop_flagged : bool
        Every label that is in doubt is to go.

    Attributes
    ----------
    doubted : list of Decision
        What drops the labels that are to go by what was found on them.
    """

    def __init__(
        self, structures: Sequence[str], ledger: Ledger | None = None, *, drop_flagged: bool = False
    ) -> None:
        self._structures = tuple(structures)
        self._ledger = ledger if ledger is not None else Ledger()
        self._drop_flagged = drop_flagged
        self._labels: dict[int, RowLabels] = {}
        self.doubted: list[Decision] = []
        self._duplicates = Duplicates()
        self._names: list[bytes] = []
        self._starts: list[int] = []
        self._rows = 0

    def study(self, samples: Sequence[EncodedSample], found: Sequence[Issue] | None = None) -> list[Issue]:
        """Take the rows of the next study, all that are written, in their order; return what is odd about them.

        ``found`` is what an earlier run found on these rows; without it they are looked at here.
        """
        study: list[SampleFacts] = []
        issues: list[Issue] = []
        for sample in samples:
            if sample.facts is not None:
                study.append(sample.facts)
                issues += sample.label_issues
        for row, facts in enumerate(study, start=self._rows):
            self._duplicates.add(facts, row)
        if found is None:
            drawn = [facts for facts in study if facts.contours]
            found = clear_partners([*issues, *study_issues(drawn, _LIMITS)])
        numbered = self._decide(number_samples(found, study, self._rows), samples)
        self._remember_names(samples)
        self._rows += len(samples)
        return numbered

    def finish(self, known: Sequence[Issue]) -> list[Issue]:
        """Return what appears twice among all rows; ``known`` is what was found on them so far."""
        found = [
            *self._duplicates.check_images_differ(self._names_of),
            *self._duplicates.check_contours_differ(self._names_of),
        ]
        return self._decide(clear_partners(found, known), ())

    def _decide(self, issues: list[Issue], samples: Sequence[EncodedSample]) -> list[Issue]:
        """Apply what was decided to what was found; ``samples`` are the rows that follow."""
        wanted = self._drop_flagged or (samples and self._ledger.about(samples[0].row.patient_id))
        for number, sample in enumerate(samples if wanted else (), start=self._rows):
            contours = sample.facts.contours if sample.facts is not None else ()
            keys = {contour.structure: contour.key for contour in contours}
            label = self._labels[number] = RowLabels(sample.row.source_image, sample.row.frame, keys)
            self._ledger.look(sample.row.patient_id, label)
        settled = self._ledger.settle(issues, self._labels)
        if self._drop_flagged:
            self.doubted += [drop_of(issue, self._labels) for issue in settled if doubts(issue)]
        else:
            self.doubted += self._ledger.flagged(settled, self._labels)
        return settled

    def _remember_names(self, samples: Sequence[EncodedSample]) -> None:
        # Names of one study are much alike, so packed they take a few bytes a row.
        names = [(s.row.patient_id, s.row.source_image, s.row.sources) for s in samples]
        self._names.append(zlib.compress(pickle.dumps(names), 1))
        self._starts.append(self._rows)

    def _names_of(self, rows: Iterable[int]) -> dict[int, RowNames]:
        found: dict[int, RowNames] = {}
        by_study = groupby(sorted(rows), key=lambda row: bisect_right(self._starts, row) - 1)
        for study, members in by_study:
            names = pickle.loads(zlib.decompress(self._names[study]))
            for row in members:
                patient, image, sources = names[row - self._starts[study]]
                found[row] = RowNames(patient, image, dict(zip(self._structures, sources, strict=True)))
        return found
