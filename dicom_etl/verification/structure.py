"""Structure: an opened file is laid out as this format is; see `dicom_etl.dataset.conformity`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from dicom_etl.config import IngestConfig
from dicom_etl.dataset import conformity, schema
from dicom_etl.dataset.ending import dataset_attributes
from dicom_etl.dataset.open_validated import BROKEN, File
from dicom_etl.dataset.reading import DatasetReader
from dicom_etl.layouts.pseudonyms import is_pseudonym
from dicom_etl.records import Issue
from dicom_etl.verification.outcome import Outcome


def check_structure(file: File, outcome: Outcome) -> bool:
    """Run all checks of the structure; those that need earlier ones to hold only when these do.

    Returns whether rows can be read.
    """
    for checks in (
        (check_attributes_small,),
        (check_names_and_types,),
        (check_lengths,),
        (check_scales, check_numbers, check_contours_readable),
    ):
        try:
            sound = [outcome.note(check, check(file)) for check in checks]
        except BROKEN as error:
            outcome.note(check_opens, check_opens(error))
            return False
        if not all(sound):
            return False
    return True


def check_opens(error: Exception) -> Iterator[Issue]:
    """schema: HDF5 reads the file without an error, and what it holds is what a dataset may hold."""
    yield _schema(" ".join(str(error).split())[:300] or type(error).__name__)


def check_attributes_small(file: File) -> Iterator[Issue]:
    """schema: no attribute is of variable length or larger than any of ours."""
    yield from map(_schema, conformity.odd_attributes(file))


def check_names_and_types(file: File) -> Iterator[Issue]:
    """schema: groups, datasets, attributes, dtypes, axes, chunks and filters are those that ingest writes."""
    yield from map(_schema, conformity.layout_differences(file))


def check_lengths(file: File) -> Iterator[Issue]:
    """schema: all columns and stacks have one length, and each contour table the length that its offsets say."""
    yield from map(_schema, conformity.length_differences(file))


def check_scales(file: File) -> Iterator[Issue]:
    """schema: each axis is tied to its scale, and scales count 0, 1, 2 .. ."""
    yield from map(_schema, conformity.scale_differences(file))


def check_numbers(file: File) -> Iterator[Issue]:
    """schema: no column holds a number that ingest cannot write, such as a spacing of 10^300 mm."""
    for message, row in conformity.odd_numbers(file):
        yield Issue("error", "schema", message, "verify", sample=row)


def check_contours_readable(file: File) -> Iterator[Issue]:
    """schema: offsets rise from 0 to the number of vertices; outlines are finite, of three points or more."""
    for message, structure, row in conformity.odd_contours(file):
        yield Issue("error", "schema", message, "verify", "", "", structure, row)


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
            yield _schema(f"attribute {name} is {found[:60]!r}, but everything else says {str(value)[:60]!r}")
    if config.pseudonymize and not is_pseudonym(fingerprint):
        yield _schema(f"attribute {schema.KEY_FINGERPRINT} is {fingerprint[:60]!r}, which is no fingerprint")
    if config.structures is not None and config.structures != rows.structures:
        yield _schema(f"structures are {rows.structures}, but {config.structures} were asked for")


def _schema(message: str) -> Issue:
    return Issue("error", "schema", message, "verify")
