"""Seal, structure and digests: the bytes are those that were sealed, laid out as this format is, with their rows."""

from __future__ import annotations

import json
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from dicom_etl.config import IngestConfig
from dicom_etl.dataset import conformity, digest, schema
from dicom_etl.dataset.conformity import not_conforming
from dicom_etl.dataset.open_validated import BROKEN, File
from dicom_etl.dataset.reading import DatasetReader
from dicom_etl.dataset.schema import dataset_attributes
from dicom_etl.errors import DatasetError, SealError
from dicom_etl.layouts.pseudonyms import is_pseudonym
from dicom_etl.records import Issue
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
    expected = dataset_attributes(config, rows.structures, rows.issues, fingerprint)
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

    ``recorded`` are those of the rows from ``start`` on. Keys of the images are appended to ``image_keys`` on the way,
    so that no pixel is hashed twice.
    """
    for row, said in enumerate(recorded, start=start):
        key, found = digest.row_digests(rows.images[row], rows.masks(row))
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
