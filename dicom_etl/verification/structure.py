"""Facts about a dataset as a whole: its seal, structure and digests, the order of its rows, and its splits."""

from __future__ import annotations

import json
import stat
from array import array
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from dicom_etl.checks.flags import label_flags
from dicom_etl.config import IngestConfig
from dicom_etl.dataset import conformity, digest, schema
from dicom_etl.dataset.conformity import not_conforming
from dicom_etl.dataset.open_validated import BROKEN, File
from dicom_etl.dataset.reading import DatasetReader
from dicom_etl.errors import ConfigError, DatasetError, SealError
from dicom_etl.layouts.pseudonyms import is_pseudonym
from dicom_etl.records import Issue, StatisticRow, kept_together
from dicom_etl.splits import NO_FOLD, SPLITS, SplitAssignment, group_patients, join_marks
from dicom_etl.verification.outcome import Outcome


def check_seal(path: Path) -> tuple[str, list[Issue]]:
    """seal-broken: the last 512 bytes state the format version, and length and SHA-256 of all bytes before them.

    In plain Python, and in one reading. Also return the SHA-256 of the file, "" when the seal is broken.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise DatasetError(f"{str(path)!r} is not a regular file; name a dataset")
        seal, sha256 = digest.check_seal(path)
    except SealError as error:
        return "", [_broken(str(error))]
    except OSError as error:
        raise DatasetError(f"{str(path)!r} cannot be read: {error.strerror}") from None
    # The hash covers the bytes before the seal; this is the one number of the seal that nothing else confirms.
    version, ours = seal.format_version, schema.FORMAT_VERSION
    if version != ours:
        return "", [_broken(f"the seal is of format version {version}, but this dicom-etl reads {ours}")]
    return sha256, []


def check_expected_digest(sha256: str, expected: str) -> Iterator[Issue]:
    """seal-broken: the SHA-256 of the whole file is the one that --expect names."""
    if sha256 != expected:
        yield _broken(
            f"the file's SHA-256 is {sha256}, not the expected {expected}: another or a changed file"
        )


def _broken(message: str) -> Issue:
    return Issue("error", "seal-broken", message, "seal")


def check_structure(file: File, outcome: Outcome) -> bool:
    """Run all checks of the structure, some only when earlier ones hold; return whether rows can be read."""
    for checks in (
        (conformity.check_attributes_small,),
        (conformity.check_names_and_types,),
        (conformity.check_lengths,),
        (conformity.check_scales, conformity.check_numbers, conformity.check_contours_readable),
    ):
        try:
            sound = [outcome.run(check, file) for check in checks]
        except BROKEN as error:
            return outcome.run(check_opens, error)
        if not all(sound):
            return False
    return True


def check_opens(error: Exception) -> Iterator[Issue]:
    """schema: HDF5 reads the file without an error, and what it holds is what a dataset may hold."""
    yield not_conforming(" ".join(str(error).split())[:300] or type(error).__name__)


def check_attributes(rows: DatasetReader, config: IngestConfig) -> Iterator[Issue]:
    """schema: the attributes of the file follow from the recorded options, the structures and /issues."""
    fingerprint = rows.attribute(schema.KEY_FINGERPRINT)
    expected = schema.dataset_attributes(config, rows.structures, rows.issues, fingerprint)
    del expected["software_version"]
    # An option that is younger than the dataset is not in its text.
    expected["config"] = json.dumps(rows.recorded_options(), sort_keys=True, separators=(",", ":"))
    for name, value in expected.items():
        found: Any = rows.attribute(name)
        if found != str(value):
            yield not_conforming(
                f"attribute {name} is {found[:60]!r}, but everything else says {str(value)[:60]!r}"
            )
    if config.pseudonymize and not is_pseudonym(fingerprint):
        yield not_conforming(
            f"attribute {schema.KEY_FINGERPRINT} is {fingerprint[:60]!r}, which is no fingerprint"
        )
    if config.structures is not None and config.structures != rows.structures:
        yield not_conforming(f"structures are {rows.structures}, but {config.structures} were asked for")


def check_row_digests(
    rows: DatasetReader, start: int, recorded: Sequence[str], image_keys: list[int]
) -> Iterator[Issue]:
    """digest-mismatch: the SHA-256 of each row is that of its image and masks.

    ``image_keys`` takes the keys of the images on the way, so that no pixel is hashed twice.
    """
    for row, said in enumerate(recorded, start=start):
        key, found = digest.row_digests(rows.image(row), rows.masks(row))
        image_keys.append(key)
        if found != said:
            message = f"image and masks hash to {found[:16]}.., but the row says {said[:16] or 'nothing'}.."
            yield row_issue(rows, row, message, "digest-mismatch")


def row_issue(
    rows: DatasetReader, row: int, message: str, code: str = "derived-differs", structure: str = ""
) -> Issue:
    """Return an error about one row."""
    patient, image = (str(rows.column(name, row, row + 1)[0]) for name in ("patient_id", "source_image"))
    return Issue("error", code, message, "verify", image, patient, structure, row)


def check_study_order(rows: DatasetReader) -> Iterator[Issue]:
    """derived-differs: rows are in order of patient_id and study, and /studies names each study's patient."""
    patients, index = rows.column("patient_id").tolist(), rows.column("study_index").tolist()
    studies = [study.record for study in rows.studies()]
    for row, (patient, study) in enumerate(zip(patients, index, strict=True)):
        if not 0 <= study < len(studies) or studies[study].patient_id != patient:
            message = f"study_index is {study}, which is no study of patient {patient!r}"
            yield row_issue(rows, row, message)
        elif row and (patient, study) < (patients[row - 1], index[row - 1]):
            before = f"{patients[row - 1]!r}, {index[row - 1]}"
            yield row_issue(rows, row, f"patient {patient!r}, study {study} comes after {before}")
    for one, other in pairwise(studies):
        if other.patient_id < one.patient_id:
            message = f"in /studies {other.patient_id!r} comes after {one.patient_id!r}"
            yield _differs(message, patient_id=other.patient_id)
    for each in studies:
        if not digest.is_sha256(each.key):
            message = f"the key of a study of {each.patient_id!r} is no SHA-256"
            yield _differs(message, patient_id=each.patient_id)


def _differs(message: str, patient_id: str = "", structure: str = "") -> Issue:
    return Issue("error", "derived-differs", message, "verify", "", patient_id, structure)


def check_flags(rows: DatasetReader) -> Iterator[Issue]:
    """derived-differs: flagged_* and flag_codes_* are what /issues says of each label."""
    drawn = {name: rows.column(f"has_{name}") == 1 for name in rows.structures}
    expected = label_flags(rows.issues, rows.column("patient_id").tolist(), drawn)
    for name in rows.structures:
        codes, flagged = rows.column(f"flag_codes_{name}").tolist(), rows.column(f"flagged_{name}").tolist()
        for row, (mine, flag, wanted) in enumerate(zip(codes, flagged, expected[name], strict=True)):
            if mine != wanted or flag != bool(wanted):
                message = f"flag_codes_{name} is {mine!r}, flagged_{name} {flag}, but /issues says {wanted!r}"
                yield row_issue(rows, row, message, structure=name)


def check_statistics_table(rows: DatasetReader, expected: Sequence[StatisticRow]) -> Iterator[Issue]:
    """derived-differs: /statistics holds what the stored pixels give, of all and inside each structure."""
    found = rows.statistics()
    names = [each.structure for each in found]
    if names != [each.structure for each in expected]:
        yield _differs(f"/statistics is about {names}, not about all pixels and those of each structure")
        return
    for mine, wanted in zip(found, expected, strict=True):
        numbers = (mine.pixels, mine.mean, mine.std, *mine.percentiles)
        others = (wanted.pixels, wanted.mean, wanted.std, *wanted.percentiles)
        if not np.allclose(numbers, others, rtol=1e-9, atol=1e-9, equal_nan=True):
            message = f"/statistics of {mine.structure or 'all pixels'} are not those of the stored images"
            yield _differs(message, structure=mine.structure)


def check_split_assigned(
    rows: DatasetReader, image_keys: array[int], contour_keys: Mapping[int, list[int]], config: IngestConfig
) -> Iterator[Issue]:
    """derived-differs: split and fold of each row are those that the recorded options give."""
    if rows.attribute("shard"):  # one part of several has none
        return
    assignment = SplitAssignment(config.split, config.folds, config.split_seed)
    for row, patient in enumerate(rows.column("patient_id").tolist()):
        assignment.add(patient, image_keys[row], contour_keys.get(row, ()))
    try:
        expected = assignment.assign(kept_together(rows.issues))
    except ConfigError as error:
        yield _differs(f"the recorded split cannot be made: {error}")
        return
    stored = zip(rows.column("split").tolist(), rows.column("fold").tolist(), strict=True)
    for row, (mine, wanted) in enumerate(zip(stored, expected, strict=True)):
        if mine != wanted:
            yield row_issue(rows, row, f"split and fold are {mine}, but the recorded options give {wanted}")


def check_split_words(rows: DatasetReader) -> Iterator[Issue]:
    """derived-differs: a dataset is split as a whole or not at all, and test samples take no part in folds."""
    splits, folds = rows.column("split"), rows.column("fold")
    is_split, is_folded = bool((splits != "").any()), bool((folds != NO_FOLD).any())
    for row, (split, fold) in enumerate(zip(splits.tolist(), folds.tolist(), strict=True)):
        if split not in (SPLITS if is_split else ("",)):
            yield row_issue(rows, row, f"split is {split!r}")
        if is_folded and (fold < 0) != (split == "test"):
            yield row_issue(rows, row, f"fold is {fold}, in split {split!r}")
        if fold < NO_FOLD:
            yield row_issue(rows, row, f"fold is {fold}")


def check_split_patients(
    rows: DatasetReader, image_keys: array[int], contour_keys: dict[int, list[int]]
) -> Iterator[Issue]:
    """patient-in-two-splits: a patient is in one subset, together with all who share data with it.

    Data are an image, a contour, or a PatientID (`patient-in-two-folders`).
    """
    patients = rows.column("patient_id").tolist()
    # An image and a contour never have a key in common but by chance, which would cost one false finding.
    marks = [(image_keys[row], *contour_keys.get(row, ())) for row in range(len(patients))]
    group_of = group_patients(patients, join_marks(patients, marks, kept_together(rows.issues)))
    for column in ("split", "fold"):
        subsets: dict[str, dict[str | int, int]] = defaultdict(dict)
        values = rows.column(column).tolist()
        for row, value in enumerate(values):
            if not (column == "fold" and value == NO_FOLD):
                subsets[group_of[patients[row]]].setdefault(value, row)
        for group, first_rows in sorted(subsets.items()):
            if len(first_rows) > 1:
                who = sorted(patient for patient, name in group_of.items() if name == group)
                shared = (
                    f"patients {', '.join(who)} share images, contours or a PatientID and"
                    if len(who) > 1
                    else f"patient {group}"
                )
                where = ", ".join(f"{value!r} (sample {row})" for value, row in first_rows.items())
                row = max(first_rows.values())
                yield row_issue(rows, row, f"{shared} lies in {column} {where}", "patient-in-two-splits")
