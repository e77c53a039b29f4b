"""Per-row digests: which rows are not what was written."""

from __future__ import annotations

import os
from array import array
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from dicom_etl.dataset.digest import row_digests
from dicom_etl.dataset.reading import DatasetReader
from dicom_etl.records import Issue

_BATCH = 64


def check_row_digests(rows: DatasetReader, image_keys: array[int]) -> Iterator[Issue]:
    """digest-mismatch: the SHA-256 of each row is that of its image and masks.

    Keys of the images are appended to ``image_keys`` on the way, so that no pixel is hashed twice. Hashing lets other
    threads run, so all processors take part.
    """
    recorded = rows.column("sha256")

    def digests(start: int) -> list[tuple[int, str]]:
        stop = min(start + _BATCH, len(rows))
        return [row_digests(rows.images[row], rows.masks(row)) for row in range(start, stop)]

    threads = len(os.sched_getaffinity(0))
    with ThreadPoolExecutor(threads) as pool:
        found = pool.map(digests, range(0, len(rows), _BATCH))
        for row, (key, digest) in enumerate(pair for batch in found for pair in batch):
            image_keys.append(key)
            if digest != recorded[row]:
                said = str(recorded[row])[:16]
                message = f"image and masks hash to {digest[:16]}.., but the row says {said or 'nothing'}.."
                yield row_issue(rows, row, "digest-mismatch", message)


def row_issue(rows: DatasetReader, row: int, code: str, message: str, structure: str = "") -> Issue:
    """Return an error about one row."""
    patient, image = (str(rows.column(name, row, row + 1)[0]) for name in ("patient_id", "source_image"))
    return Issue("error", code, message, "verify", image, patient, structure, row)
