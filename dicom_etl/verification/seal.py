"""The first check, in plain Python: the bytes are those that ingest sealed. Nothing here knows HDF5."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path

from dicom_etl.dataset import digest
from dicom_etl.dataset.schema import FORMAT_VERSION
from dicom_etl.errors import DatasetError, SealError
from dicom_etl.records import Issue


def check_seal(path: Path) -> Iterator[Issue]:
    """seal-broken: the last 512 bytes state the format version, and length and SHA-256 of all bytes before them."""
    yield from read_and_hash(path)[1]


def check_expected_digest(sha256: str, expected: str) -> Iterator[Issue]:
    """seal-broken: the SHA-256 of the whole file is the one that --expect names."""
    if sha256 != expected:
        yield broken(
            f"the file's SHA-256 is {sha256}, not the expected {expected}: another or a changed file"
        )


def broken(message: str) -> Issue:
    """Return the finding that the bytes are wrong."""
    return Issue("error", "seal-broken", message, "seal")


def read_and_hash(path: Path) -> tuple[str, list[Issue]]:
    """Read the file once: its SHA-256, "" when the seal is broken, and what `check_seal` finds."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise DatasetError(f"{str(path)!r} is not a regular file; name a dataset")
        seal, sha256 = digest.check_seal(path)
    except SealError as error:
        return "", [broken(str(error))]
    except OSError as error:
        raise DatasetError(f"{str(path)!r} cannot be read: {error.strerror}") from None
    # The hash covers the bytes before the seal; this is the one number of the seal that nothing else confirms.
    version = seal.format_version
    if version != FORMAT_VERSION:
        return "", [
            broken(f"the seal is of format version {version}, but this dicom-etl reads {FORMAT_VERSION}")
        ]
    return sha256, []
