"""Images and contours that appear twice in a dataset, found with a few bytes a sample."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import NamedTuple

import numpy as np

from dicom_etl.checks.sample_checks import DATASET_STAGE
from dicom_etl.records import Issue, SampleFacts


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
