"""Which patients train, validate and test: whole groups of patients, sizes balanced by samples.

A patient is never in two splits, nor are two patients that share an image or a contour (a study delivered
twice, a contour copied to the wrong patient): such patients form one group, and groups are what is assigned.
The result is a pure function of the patients, their samples and the seed; the order of the samples does not
matter.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from dicom_etl.errors import ConfigError, check_option

SPLITS = ("train", "val", "test")
NO_FOLD = -1
_SPLIT_STREAM, _FOLD_STREAM = 0, 1
_JOINED_SHOWN = 5
_TRIES = 64
_STEPS = 200_000
"""Random orders tried, and groups placed in all: few groups need many tries, thousands balance themselves."""


def check_fractions(fractions: Sequence[float]) -> None:
    """Refuse shares that are negative, not finite, too many, or do not add up to 1."""
    if not 1 <= len(fractions) <= len(SPLITS):
        raise ConfigError(f"a split has 1 to 3 shares (train, val, test), not {len(fractions)}")
    if not all(math.isfinite(share) and share >= 0 for share in fractions):
        raise ConfigError(f"shares of a split must be 0 or more, not {'/'.join(map(str, fractions))}")
    if abs(sum(fractions) - 1) > 1e-6:
        raise ConfigError(f"the shares of a split must add up to 1; these add up to {sum(fractions):.6g}")


def group_patients(patient_ids: Sequence[str], marks: Sequence[Iterable[Hashable]]) -> dict[str, str]:
    """Find the patients that must stay together: every patient, and the first patient of its group in order of text.

    Each sample has a patient and marks that it is recognised by: the digests of its pixels and of its contours.
    Patients with a mark in common, directly or through others, are one group.
    """
    parent = {patient: patient for patient in patient_ids}

    def root(patient: str) -> str:
        while parent[patient] != patient:
            parent[patient] = parent[parent[patient]]
            patient = parent[patient]
        return patient

    owner: dict[Hashable, str] = {}
    for patient, sample_marks in zip(patient_ids, marks, strict=True):
        for mark in sample_marks:
            one, other = root(patient), root(owner.setdefault(mark, patient))
            parent[max(one, other)] = min(one, other)
    return {patient: root(patient) for patient in parent}


def join_marks(
    patient_ids: Iterable[str], marks: Iterable[Iterable[Hashable]], together: Mapping[str, str]
) -> list[tuple[Hashable, ...]]:
    """Return marks with that of folders that one PatientID keeps together; see `records.kept_together`."""
    return [
        (*sample_marks, ("folders", together[patient])) if patient in together else tuple(sample_marks)
        for patient, sample_marks in zip(patient_ids, marks, strict=True)
    ]


def assign_splits(
    patient_ids: Sequence[str], marks: Sequence[Iterable[Hashable]], fractions: Sequence[float], seed: int
) -> list[str]:
    """Assign every sample to "train", "val" or "test"; patients and marks as in `group_patients`, one a sample.

    ``fractions`` are the shares of the samples that the splits should get; a share of 0 leaves the split out.
    """
    check_fractions(fractions)
    group_of = group_patients(patient_ids, marks)
    check_groups(group_of, sum(share > 0 for share in fractions), "split")
    chosen = _assign([group_of[patient] for patient in patient_ids], fractions, seed, _SPLIT_STREAM)
    return [SPLITS[split] for split in chosen]


def assign_folds(
    patient_ids: Sequence[str],
    marks: Sequence[Iterable[Hashable]],
    folds: int,
    seed: int,
    splits: Sequence[str] | None = None,
) -> list[int]:
    """Give every sample a cross-validation fold, 0 .. folds - 1, of equal size as far as whole groups allow.

    Where there are splits, as from `assign_splits`, test samples are kept out of cross-validation and get `NO_FOLD`.
    """
    group_of = group_patients(patient_ids, marks)
    inside = [row for row in range(len(patient_ids)) if splits is None or splits[row] != "test"]
    groups = [group_of[patient_ids[row]] for row in inside]
    taken = set(groups)
    check_groups({patient: group for patient, group in group_of.items() if group in taken}, folds, "fold")
    found = [NO_FOLD] * len(patient_ids)
    for row, fold in zip(inside, _assign(groups, [1 / folds] * folds, seed, _FOLD_STREAM), strict=True):
        found[row] = fold
    return found


def check_groups(group_of: Mapping[str, str], needed: int, what: str) -> None:
    """Refuse fewer groups of patients than are needed for that many splits or folds; say who stays together."""
    members: dict[str, list[str]] = {}
    for patient, group in sorted(group_of.items()):
        members.setdefault(group, []).append(patient)
    if len(members) >= needed:
        return
    joined = [" and ".join(patients) for patients in members.values() if len(patients) > 1]
    more = len(joined) - _JOINED_SHOWN
    shown = "; ".join([*joined[:_JOINED_SHOWN], *([f"and {more} more"] if more > 0 else [])])
    why = f", for these share an image, a contour or a PatientID and stay together: {shown}" if joined else ""
    wanted = f"{needed} {what}s need at least {needed} patients that share no image or contour"
    raise ConfigError(f"{wanted}; there are {len(members)}{why}")


class SplitAssignment:
    """Follows the rows of a dataset, and assigns each a subset and a fold at the end, where either is asked for."""

    def __init__(self, split: Sequence[float] | None, folds: int | None, seed: int) -> None:
        self._split, self._folds, self._seed = split, folds, seed
        self._wanted = split is not None or folds is not None
        self._patients: list[str] = []
        self._marks: list[tuple[tuple[str, int], ...]] = []

    def add(self, patient_id: str, image_key: int, contour_keys: Sequence[int]) -> None:
        """Take the next row: its patient, and the keys that copies of its image and of its contours share."""
        self._patients.append(str(patient_id))
        if self._wanted:
            self._marks.append((("image", image_key), *(("contour", key) for key in contour_keys)))

    def assign(self, together: Mapping[str, str]) -> list[tuple[str, int]]:
        """Return (split, fold) of every row; `records.kept_together` says who stays together for a PatientID."""
        if not self._wanted:
            return [("", NO_FOLD)] * len(self._patients)
        marks = join_marks(self._patients, self._marks, together)
        splits: list[str] | None = None
        folds = [NO_FOLD] * len(self._patients)
        if self._split is not None:
            splits = assign_splits(self._patients, marks, self._split, self._seed)
        if self._folds is not None:
            folds = assign_folds(self._patients, marks, self._folds, self._seed, splits)
        return list(zip(splits or [""] * len(folds), folds, strict=True))


def _assign(groups: Sequence[str], fractions: Sequence[float], seed: int, purpose: int) -> list[int]:
    """Return the split of each sample: the best balanced of some random assignments of its group."""
    check_option(seed >= 0, "split_seed", seed, "0 or more")
    names, group_of_sample, sizes = np.unique(
        np.array(groups, dtype=np.str_), return_inverse=True, return_counts=True
    )
    wanted = np.array(fractions) * len(groups)

    def attempted(attempt: int) -> NDArray[np.int64]:
        words = np.random.PCG64(np.random.SeedSequence(seed, spawn_key=(purpose, attempt)))
        return _fill_up(sizes, wanted, np.argsort(words.random_raw(len(names)), kind="stable"))

    def imbalance(chosen: NDArray[np.int64]) -> float:
        got = np.bincount(chosen, weights=sizes, minlength=len(wanted))
        return float(((got - wanted) ** 2).sum())

    best = min(map(attempted, range(max(1, min(_TRIES, _STEPS // len(names))))), key=imbalance)
    return [int(split) for split in best[group_of_sample]]


def _fill_up(
    sizes: NDArray[np.int64], wanted: NDArray[np.float64], order: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Put each group in turn into the split that lacks most samples; leave no wanted split empty."""
    lacking = np.where(wanted > 0, wanted, -np.inf)
    empty = wanted > 0
    chosen = np.empty(len(sizes), dtype=np.int64)
    for placed, group in enumerate(order):
        must_fill = len(order) - placed <= np.count_nonzero(empty)
        split = int(np.where(empty, lacking, -np.inf).argmax() if must_fill else lacking.argmax())
        chosen[group] = split
        lacking[split] -= sizes[group]
        empty[split] = False
    return chosen
