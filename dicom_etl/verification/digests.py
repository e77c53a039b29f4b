"""Per-row digests: which rows are not what was written."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from dicom_etl.dataset.digest import row_digests
from dicom_etl.dataset.reading import DatasetReader
from dicom_etl.records import Issue


def check_row_digests(
    rows: DatasetReader, start: int, recorded: Sequence[str], image_keys: list[int]
) -> Iterator[Issue]:
    """digest-mismatch: the SHA-256 of each row is that of its image and masks.

    ``recorded`` are those of the rows from ``start`` on. Keys of the images are appended to ``image_keys`` on the way,
    so that no pixel is hashed twice.
    """
    for row, said in enumerate(recorded, start=start):
        key, digest = row_digests(rows.images[row], rows.masks(row))
        image_keys.append(key)
        if digest != said:
            message = f"image and masks hash to {digest[:16]}.., but the row says {said[:16] or 'nothing'}.."
            yield row_issue(rows, row, "digest-mismatch", message)


def row_issue(rows: DatasetReader, row: int, code: str, message: str, structure: str = "") -> Issue:
    """Return an error about one row."""
    patient, image = (str(rows.column(name, row, row + 1)[0]) for name in ("patient_id", "source_image"))
    return Issue("error", code, message, "verify", image, patient, structure, row)
