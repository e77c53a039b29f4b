"""The label checks as ingest runs them: on each sample where it is made, on each study, on all at the end.

Images and contours that appear twice in a dataset are found with a few bytes a sample.
"""

from __future__ import annotations

import pickle
import zlib
from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain, groupby
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dicom_etl.checks.decisions import Decision, Ledger, RowLabels, drop_of
from dicom_etl.checks.flags import clear_partners, doubts
from dicom_etl.checks.limits import LabelLimits
from dicom_etl.checks.sample_checks import DATASET_STAGE, gather, sample_issues
from dicom_etl.checks.study import number_samples, study_issues
from dicom_etl.dataset import schema
from dicom_etl.dataset.digest import contour_key, image_key
from dicom_etl.records import ContourFacts, EncodedSample, Issue, Outline, SampleFacts

_LIMITS = LabelLimits()


def review_sample(
    sample: EncodedSample,
    pixels: NDArray[Any],
    outlines: Mapping[str, Outline | None],
    *,
    known_simple: bool,
) -> EncodedSample:
    """Return a sample with what the label checks find on it and keep of it.

    ``pixels`` and ``outlines``, in the dataset's order of structures, are as in `dicom_etl.checks.sample_checks.Drawn`.
    """
    drawn = gather(sample.facts, pixels, outlines, dict(zip(outlines, sample.row.sources, strict=True)))
    issues = sample_issues(drawn, _LIMITS, known_simple=known_simple)
    return sample._replace(label_issues=issues, facts=drawn.facts)


def stored_facts(
    sample: EncodedSample, pixels: NDArray[Any] | None, structures: Sequence[str]
) -> SampleFacts:
    """Return what tells copies of a row that was stored with some pixels (y, x): keys of them and of what was drawn.

    None are an image that is known to be like no other: the row's own digest serves.
    """
    row, nowhere = sample.row, (0.0, 0.0, 0.0, 0.0)
    contours = [
        ContourFacts(name, source, 0, nowhere, contour_key(rings), rings[0])
        for name, source, rings in zip(structures, row.sources, sample.rings, strict=True)
        if rings and row.origin == schema.MANUAL
    ]
    by_structure = tuple(sorted(contours, key=lambda contour: contour.structure))
    key = int(row.sha256[:16], 16) if pixels is None else image_key(pixels, len(structures))
    return SampleFacts.of(row, by_structure, key)


def study_review(samples: Sequence[EncodedSample]) -> list[Issue]:
    """Return what the label checks find on the rows of one study; ``sample`` counts from the first."""
    facts = [sample.facts for sample in samples]
    issues = [issue for sample in samples for issue in sample.label_issues]
    issues += study_issues([each for each in facts if each.contours], _LIMITS)
    return number_samples(clear_partners(issues), facts, 0)


class RowNames(NamedTuple):
    """What a person calls a row: its patient, its image file and frame, and its label of each structure."""

    patient_id: str
    image: str
    frame: int
    contours: tuple[str, ...]


NamesOf = Callable[[Iterable[int]], Mapping[int, RowNames]]
"""Gives the names of the rows asked for, which are few."""


class Keys:
    """The keys of one kind of thing, and the rows that have them: 12 bytes an entry."""

    def __init__(self) -> None:
        self._keys = array("Q")
        self._rows = array("I")

    def add(self, key: int, row: int) -> None:
        """Note that a row has a key; rows come in rising order."""
        self._keys.append(key)
        self._rows.append(row)

    def repeats(self) -> list[tuple[int, int]]:
        """Return (entry, first) for every entry whose key an earlier one has: their rows, by rising row."""
        keys = np.frombuffer(self._keys, dtype=np.uint64)
        rows = np.frombuffer(self._rows, dtype=np.uint32)
        _, index, inverse = np.unique(keys, return_index=True, return_inverse=True)
        first = index[inverse]
        again = np.flatnonzero(first != np.arange(len(keys)))
        return list(zip(rows[again].tolist(), rows[first[again]].tolist(), strict=True))


class Duplicates:
    """Remembers what every row of a dataset shows, and says what appears twice.

    Rows are added in rising order; what is kept of one is 12 bytes for its image and for each contour.
    """

    def __init__(self, structures: Sequence[str], names_of: NamesOf) -> None:
        self._names_of = names_of
        self._images, self._instances = Keys(), Keys()
        self._contours = {structure: Keys() for structure in structures}

    def add(self, facts: SampleFacts, row: int) -> None:
        """Remember the image and the contours of a row."""
        self._images.add(facts.image_key, row)
        if facts.instance_key:
            self._instances.add(facts.instance_key, row)
        for contour in facts.contours:
            self._contours[contour.structure].add(contour.key, row)

    def check_images_differ(self) -> list[Issue]:
        """duplicate-image: no two rows have the same pixels, and no two files the same SOPInstanceUID.

        An error between two patients, a warning within one.
        """
        pixels = dict(self._images.repeats())
        same_uid = {row: first for row, first in self._instances.repeats() if row not in pixels}
        return [*self._issues(pixels, "pixels"), *self._issues(same_uid, "SOPInstanceUID")]

    def check_contours_differ(self) -> list[Issue]:
        """duplicate-contour: no contours of two patients have the same points, in whatever order or direction.

        An error. Each contour has a finding; `dicom_etl.checks.study` looks for copies within a patient.
        """
        found = (self._issues(dict(keys.repeats()), "points", name) for name, keys in self._contours.items())
        return list(chain.from_iterable(found))

    def _issues(self, pairs: dict[int, int], what: str, structure: str = "") -> Iterator[Issue]:
        """Yield a finding about each row and the first like it, then about each such first row."""
        names = self._names_of({*pairs, *pairs.values()})
        if structure:
            number = list(self._contours).index(structure)
            pairs = {
                row: first for row, first in pairs.items() if names[row].patient_id != names[first].patient_id
            }
        repeats: dict[int, int] = {}
        for row, first in pairs.items():
            repeats.setdefault(first, row)
        for row, first in (*pairs.items(), *repeats.items()):
            mine, other = names[row], names[first]
            if structure:
                code, more = "duplicate-contour", "; one of them is on the wrong image"
                path, other_path = mine.contours[number], other.contours[number]
            else:
                code, more = "duplicate-image", ""
                path = mine.image
                other_path = f"{other.image}#frame {other.frame}" if other.frame else other.image
            within = mine.patient_id == other.patient_id
            patient = "the same patient" if within else f"patient {other.patient_id}"
            message = f"the same {what} as {other_path} of {patient} (sample {first}){more}"
            place = (path, mine.patient_id, structure, row, other_path, mine.frame)
            yield Issue("warning" if within else "error", code, message, DATASET_STAGE, *place)


class LabelReview:
    """Follows the rows of a dataset while they are stored: what appears twice, and what a person decided.

    With ``drop_flagged`` every label that is in doubt is to go; ``doubted`` is what drops the labels that are to go by
    what was found on them.
    """

    def __init__(
        self, structures: Sequence[str], ledger: Ledger | None = None, *, drop_flagged: bool = False
    ) -> None:
        self.ledger = ledger if ledger is not None else Ledger()
        self._drop_flagged = drop_flagged
        self._labels: dict[int, RowLabels] = {}
        self.doubted: list[Decision] = []
        self._duplicates = Duplicates(structures, self._names_of)
        self._names: list[bytes] = []
        self._starts: list[int] = []
        self._rows = 0

    def add(self, samples: Sequence[EncodedSample], issues: list[Issue]) -> list[Issue]:
        """Take the rows of the next study, in their order, and what was found on them; return that as decided."""
        for row, sample in enumerate(samples, start=self._rows):
            self._duplicates.add(sample.facts, row)
        settled = self._decide(issues, samples)
        # Names of one study are much alike, so packed they take a few bytes a row.
        names = [(s.row.patient_id, s.row.source_image, s.row.frame, s.row.sources) for s in samples]
        self._names.append(zlib.compress(pickle.dumps(names), 1))
        self._starts.append(self._rows)
        self._rows += len(samples)
        return settled

    def finish(self, known: Sequence[Issue]) -> list[Issue]:
        """Return all that was found, as decided: ``known``, and what appears twice among all rows."""
        found = self._duplicates.check_images_differ() + self._duplicates.check_contours_differ()
        return self.ledger.settle([*known, *self._decide(clear_partners(found, known), ())], {})

    def _decide(self, issues: list[Issue], samples: Sequence[EncodedSample]) -> list[Issue]:
        wanted = self._drop_flagged or (samples and self.ledger.about(samples[0].row.patient_id))
        for number, sample in enumerate(samples if wanted else (), start=self._rows):
            keys = {contour.structure: contour.key for contour in sample.facts.contours}
            label = self._labels[number] = RowLabels(sample.row.source_image, sample.row.frame, keys)
            self.ledger.look(sample.row.patient_id, label)
        settled = self.ledger.settle(issues, self._labels)
        if self._drop_flagged:
            self.doubted += [drop_of(issue, self._labels) for issue in settled if doubts(issue)]
        else:
            self.doubted += self.ledger.flagged(settled, self._labels)
        return settled

    def _names_of(self, rows: Iterable[int]) -> dict[int, RowNames]:
        found: dict[int, RowNames] = {}
        by_study = groupby(sorted(rows), key=lambda row: bisect_right(self._starts, row) - 1)
        for study, members in by_study:
            names = pickle.loads(zlib.decompress(self._names[study]))
            for row in members:
                found[row] = RowNames(*names[row - self._starts[study]])
        return found
