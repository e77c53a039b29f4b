"""Facts about all rows of a dataset together: their order, and the sides of a split."""

from __future__ import annotations

from array import array
from collections import defaultdict
from collections.abc import Iterator

import numpy as np

from dicom_etl.records import Issue
from dicom_etl.splits import NO_FOLD, SPLITS, group_patients
from dicom_etl.verification.digests import row_issue
from dicom_etl.verification.rows import Rows


def check_patient_order(rows: Rows) -> Iterator[Issue]:
    """derived-differs: rows are in order of patient_id, so each patient's follow each other."""
    patients = rows.column("patient_id")
    for row in (np.flatnonzero(patients[1:] < patients[:-1]) + 1).tolist():
        message = f"patient {str(patients[row])!r} comes after {str(patients[row - 1])!r}"
        yield row_issue(rows, row, "derived-differs", message)


def check_split_words(rows: Rows) -> Iterator[Issue]:
    """derived-differs: a dataset is split as a whole or not at all, and test samples take no part in folds."""
    splits, folds = rows.column("split"), rows.column("fold")
    is_split, is_folded = bool((splits != "").any()), bool((folds != NO_FOLD).any())
    for row, (split, fold) in enumerate(zip(splits.tolist(), folds.tolist(), strict=True)):
        if split not in (SPLITS if is_split else ("",)):
            yield row_issue(rows, row, "derived-differs", f"split is {split!r}")
        if is_folded and (fold < 0) != (split == "test"):
            yield row_issue(rows, row, "derived-differs", f"fold is {fold}, in split {split!r}")
        if fold < NO_FOLD:
            yield row_issue(rows, row, "derived-differs", f"fold is {fold}")


def check_split_sides(
    rows: Rows, image_keys: array[int], contour_keys: dict[int, list[int]]
) -> Iterator[Issue]:
    """patient-in-two-splits: a patient is on one side, together with all who share an image or a contour with it.

    An error, for train, validation and test and for folds alike.
    """
    patients = rows.column("patient_id").tolist()
    # An image and a contour never have a key in common but by chance, which would cost one false finding.
    marks = [(image_keys[row], *contour_keys.get(row, ())) for row in range(len(patients))]
    group_of = group_patients(patients, marks)
    for column in ("split", "fold"):
        sides: dict[str, dict[str | int, int]] = defaultdict(dict)
        values = rows.column(column).tolist()
        for row, value in enumerate(values):
            if not (column == "fold" and value == NO_FOLD):
                sides[group_of[patients[row]]].setdefault(value, row)
        for group, first_rows in sorted(sides.items()):
            if len(first_rows) > 1:
                who = sorted(patient for patient, name in group_of.items() if name == group)
                shared = (
                    f"patients {', '.join(who)} share images or contours and"
                    if len(who) > 1
                    else f"patient {group}"
                )
                where = ", ".join(f"{value!r} (sample {row})" for value, row in first_rows.items())
                row = max(first_rows.values())
                yield row_issue(rows, row, "patient-in-two-splits", f"{shared} lies in {column} {where}")
