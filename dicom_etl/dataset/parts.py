"""A part of a sharded ingest: a dataset that also says which part of how many it is."""

from __future__ import annotations

from pathlib import Path

from dicom_etl.dataset import schema
from dicom_etl.dataset.open_validated import BROKEN, attribute_text, damaged
from dicom_etl.dataset.stored import StoredRows
from dicom_etl.errors import DatasetError


class Part(StoredRows):
    """An open part of a sharded ingest; a context manager.

    Parameters
    ----------
    path : Path
        What ``dicom-etl ingest --shard`` made.

    Raises
    ------
    DatasetError
        When it is damaged, or not a part.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        shard, _, shards = attribute_text(self._file, "shard").partition("/")
        if not shards:
            self.close()
            raise DatasetError(f"{str(path)!r} is no part; ingest --shard 1/3 makes the first of three")
        try:
            self.shard, self.shards = int(shard), int(shards)
            self.planned = int(self._file.attrs["planned"])
        except BROKEN as error:
            self.close()
            raise damaged(path, error) from None

    def _instance_keys(self, rows: range) -> list[int]:
        keys: list[int] = self._file[schema.PART][schema.INSTANCE_KEY][rows.start : rows.stop].tolist()
        return keys
