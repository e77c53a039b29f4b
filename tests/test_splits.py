from __future__ import annotations

import os
from collections import Counter, defaultdict
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dicom_etl.config.kinds import SHARES
from dicom_etl.errors import ConfigError
from dicom_etl.splits import (
    NO_FOLD,
    assign_folds,
    assign_splits,
    check_fractions,
    group_patients,
)

WHOLE = bool(os.environ.get("DICOM_ETL_WHOLE_COUNTS"))
Samples = tuple[list[str], list[list[str]]]


@st.composite
def sample_sets(draw: st.DrawFn) -> Samples:
    """Samples of some patients; a few images and contours occur more than once."""
    patients = draw(st.integers(1, 25))
    rows = draw(st.lists(st.integers(0, patients - 1), min_size=patients, max_size=120))
    patient_ids = [f"P{row}" for row in rows]
    shared = st.one_of(st.none(), st.none(), st.none(), st.integers(0, 9))
    marks = [
        [
            f"{kind}{draw(shared)}" if draw(st.integers(0, 9)) == 0 else f"{kind}-own-{index}"
            for kind in ("image", "contour")
        ]
        for index in range(len(rows))
    ]
    return patient_ids, marks


def subsets_of_each(
    patient_ids: list[str], marks: list[list[str]], subsets: list[str] | list[int]
) -> dict[str, set[str]]:
    found: dict[str, set[str]] = defaultdict(set)
    for patient, sample_marks, side in zip(patient_ids, marks, subsets, strict=True):
        for name in (patient, *sample_marks):
            found[name].add(str(side))
    return found


@settings(max_examples=500 if WHOLE else 100)
@given(
    sample_sets(),
    st.integers(0, 2**40),
    st.sampled_from([(0.7, 0.15, 0.15), (0.8, 0.0, 0.2), (0.5, 0.5), (1.0,)]),
)
def test_no_patient_image_or_contour_is_on_two_subsets(
    samples: Samples, seed: int, fractions: tuple[float, ...]
) -> None:
    patient_ids, marks = samples
    groups = len(set(group_patients(patient_ids, marks).values()))
    needed = sum(share > 0 for share in fractions)
    if groups < needed:
        with pytest.raises(ConfigError, match=f"there are {groups}"):
            assign_splits(patient_ids, marks, fractions, seed)
        return
    splits = assign_splits(patient_ids, marks, fractions, seed)
    assert all(len(subsets) == 1 for subsets in subsets_of_each(patient_ids, marks, splits).values())
    assert {name for name, share in zip(("train", "val", "test"), fractions, strict=False) if share} == set(
        splits
    )


@settings(max_examples=200 if WHOLE else 60)
@given(sample_sets(), st.integers(0, 1000), st.integers(2, 6))
def test_folds_keep_groups_whole_and_leave_test_out(samples: Samples, seed: int, folds: int) -> None:
    patient_ids, marks = samples
    group_of = group_patients(patient_ids, marks)
    splits = (
        assign_splits(patient_ids, marks, (0.8, 0.1, 0.1), seed) if len(set(group_of.values())) > 6 else None
    )
    inside = [patient for row, patient in enumerate(patient_ids) if splits is None or splits[row] != "test"]
    if len({group_of[patient] for patient in inside}) < folds:
        return
    assigned = assign_folds(patient_ids, marks, folds, seed, splits)
    assert all(len(subsets) == 1 for subsets in subsets_of_each(patient_ids, marks, assigned).values())
    outside = {row for row, fold in enumerate(assigned) if fold == NO_FOLD}
    assert outside == {row for row, side in enumerate(splits or []) if side == "test"}
    assert set(assigned) - {NO_FOLD} == set(range(folds))


@settings(max_examples=100 if WHOLE else 40)
@given(sample_sets(), st.integers(0, 1000), st.randoms(use_true_random=False))
def test_the_order_of_samples_does_not_matter(samples: Samples, seed: int, random: Random) -> None:
    patient_ids, marks = samples
    if len(set(group_patients(patient_ids, marks).values())) < 3:
        return
    splits = assign_splits(patient_ids, marks, (0.6, 0.2, 0.2), seed)
    turned = list(range(len(patient_ids)))
    random.shuffle(turned)
    again = assign_splits(
        [patient_ids[row] for row in turned], [marks[row] for row in turned], (0.6, 0.2, 0.2), seed
    )
    assert again == [splits[row] for row in turned]


def test_marks_join_patients_through_others() -> None:
    groups = group_patients(["a", "b", "c", "d"], [["1"], ["1", "2"], ["2"], ["3"]])
    assert groups == {"a": "a", "b": "a", "c": "a", "d": "d"}


def test_sizes_come_close_to_the_shares() -> None:
    """60 patients of 5 to 40 samples: within 1% of the samples, whatever the seed."""
    sizes = np.random.default_rng(5).integers(5, 41, 60)
    patient_ids = [f"P{patient:02}" for patient, size in enumerate(sizes) for _ in range(size)]
    marks: list[list[str]] = [[] for _ in patient_ids]
    for seed in range(20):
        counts = Counter(assign_splits(patient_ids, marks, (0.7, 0.15, 0.15), seed))
        for name, share in (("train", 0.7), ("val", 0.15), ("test", 0.15)):
            assert abs(counts[name] / len(patient_ids) - share) < 0.01
        folds = Counter(assign_folds(patient_ids, marks, 5, seed))
        assert all(abs(count / len(patient_ids) - 0.2) < 0.01 for count in folds.values())


def test_three_equal_patients_fill_three_subsets() -> None:
    assert sorted(assign_splits(["a", "b", "c"], [[], [], []], (0.7, 0.15, 0.15), 0)) == [
        "test",
        "train",
        "val",
    ]


def test_every_patient_can_land_anywhere() -> None:
    """A large patient is not always in train, so that test sets of different seeds differ."""
    patient_ids = [f"P{patient}" for patient in range(10) for _ in range(patient + 5)]
    landed = defaultdict(set)
    for seed in range(200):
        for patient, side in zip(
            patient_ids,
            assign_splits(patient_ids, [()] * len(patient_ids), (0.6, 0.2, 0.2), seed),
            strict=True,
        ):
            landed[patient].add(side)
    assert all(subsets == {"train", "val", "test"} for subsets in landed.values())


def test_one_assignment_is_pinned_for_good() -> None:
    patient_ids = [f"P{patient}" for patient in range(8) for _ in range(patient % 3 + 1)]
    splits = assign_splits(patient_ids, [()] * len(patient_ids), (0.5, 0.25, 0.25), 3)
    folds = assign_folds(patient_ids, [()] * len(patient_ids), 3, 3)
    assert dict(zip(patient_ids, splits, strict=True)) == PINNED_SPLITS
    assert dict(zip(patient_ids, folds, strict=True)) == PINNED_FOLDS


def test_ten_thousand_patients_take_a_moment() -> None:
    patient_ids = [f"P{patient}" for patient in range(10_000)]
    counts = Counter(assign_splits(patient_ids, [()] * len(patient_ids), (0.7, 0.15, 0.15), 0))
    assert counts == {"train": 7000, "val": 1500, "test": 1500}


def test_shares_are_read_from_text() -> None:
    assert SHARES.read("split", "0.7/0.15/0.15") == (0.7, 0.15, 0.15)
    assert SHARES.read("split", "1") == (1.0,)


@pytest.mark.parametrize(
    "text", ["", "a/b", "0.5/0.4", "0.5/0.6", "-0.5/1.5", "nan/1", "0.25/0.25/0.25/0.25", "inf/0"]
)
def test_shares_that_make_no_sense_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="split"):
        SHARES.read("split", text)


@pytest.mark.parametrize("fractions", [(), (0.5, 0.4), (float("nan"), 1.0)])
def test_bad_shares_are_refused(fractions: tuple[float, ...]) -> None:
    with pytest.raises(ConfigError):
        check_fractions(fractions)


def test_too_few_folds_and_bad_seeds_are_refused() -> None:
    with pytest.raises(ConfigError, match="there are 1"):
        assign_folds(["a", "b"], [("x",), ("x",)], 2, 0)
    with pytest.raises(ConfigError, match="split_seed is -1"):
        assign_splits(["a"], [()], (1.0,), -1)


PINNED_SPLITS = {
    "P0": "val",
    "P1": "test",
    "P2": "train",
    "P3": "train",
    "P4": "test",
    "P5": "val",
    "P6": "train",
    "P7": "train",
}
PINNED_FOLDS = {"P0": 0, "P1": 2, "P2": 2, "P3": 1, "P4": 1, "P5": 0, "P6": 0, "P7": 1}


def test_too_few_groups_name_the_patients_that_were_joined() -> None:
    marks = [["a"], ["a"], ["b"]]
    with pytest.raises(
        ConfigError, match=r"there are 2, for these share an image, a contour or a PatientID .*: A and B$"
    ):
        assign_splits(["A", "B", "C"], marks, (0.5, 0.25, 0.25), 0)
    with pytest.raises(ConfigError, match=r"3 folds need at least 3 patients .*; there are 2, .*: A and B$"):
        assign_folds(["A", "B", "C"], marks, 3, 0)
