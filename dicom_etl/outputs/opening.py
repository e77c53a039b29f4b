"""Opening a dataset that someone else may have made: nothing in it is believed before it was checked.

HDF5 can be told to read other files, to claim terabytes, or to run filters; a dataset of ours needs none of
that, so all of it is refused before any value is read.
"""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np

from dicom_etl import schema
from dicom_etl.digest import read_seal
from dicom_etl.errors import DatasetError

_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_FILTERS = {1: "gzip", 2: "shuffle", 3: "fletcher32", 32000: "lzf"}
_GREATEST_RATIO = 1100
"""No filter of ours makes data smaller than this: deflate ends at 1032 to 1."""
_DEEPEST = 3


def open_dataset(path: Path, *, locking: bool = False) -> h5py.File:
    """Open a dataset for reading, after checking that it is one and plays no tricks.

    Parameters
    ----------
    path : Path
        A file that ``dicom-etl ingest`` made.
    locking : bool, default False
        Let HDF5 lock the file: no use, since a dataset is replaced but never changed, and refused by some
        network file systems.

    Returns
    -------
    h5py.File
        Open for reading; the caller closes it.

    Raises
    ------
    DatasetError
        When the file is missing, is not a dataset of this format version, has lost its seal, or holds what a
        dataset never holds. The bytes themselves are not hashed here; `dicom_etl.verify` does that.
    """
    try:
        with path.open("rb") as stream:
            signature = stream.read(len(_SIGNATURE))
    except OSError as error:
        raise DatasetError(f"{str(path)!r} cannot be read: {error.strerror}") from None
    if signature != _SIGNATURE:
        raise DatasetError(f"{str(path)!r} is not an HDF5 file; dicom-etl ingest makes one")
    read_seal(path)
    try:
        file = h5py.File(path, "r", locking=locking)
    except OSError as error:
        raise DatasetError(f"{str(path)!r} cannot be opened by HDF5: {error}") from None
    try:
        _refuse_tricks(file, path.stat().st_size, depth=0)
        _check_version(file)
    except DatasetError as error:
        file.close()
        raise type(error)(f"{str(path)!r}: {error}") from None
    except (KeyError, OSError, RuntimeError, TypeError, ValueError) as error:
        file.close()
        raise DatasetError(f"{str(path)!r} is damaged: {error}") from None
    return file


def attribute_text(target: h5py.Group | h5py.Dataset, name: str) -> str:
    """Return a text attribute; "" when it is missing or no text."""
    value = target.attrs.get(name, b"")
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def structures_of(file: h5py.File) -> tuple[str, ...]:
    """Return the structures of a dataset, in its order."""
    return tuple(attribute_text(file, "structures").split())


def _check_version(file: h5py.File) -> None:
    if attribute_text(file, "format") != schema.FORMAT:
        raise DatasetError("an HDF5 file, but not a dicom-etl dataset")
    version = int(file.attrs.get("format_version", -1))
    if version != schema.FORMAT_VERSION:
        raise DatasetError(
            f"format version {version}, but this dicom-etl reads version {schema.FORMAT_VERSION}; "
            "ingest the source again, or use the release that made the file"
        )


def _refuse_tricks(group: h5py.Group, file_bytes: int, depth: int) -> None:
    """Refuse links that are not plain, and datasets that read elsewhere or claim more than the file can hold."""
    if depth > _DEEPEST:
        raise DatasetError("groups are nested deeper than in any dataset")
    for name in group:
        shown = f"{group.name.rstrip('/')}/{name}"
        if not isinstance(group.get(name, getlink=True), h5py.HardLink):
            raise DatasetError(f"{shown} is a soft or external link; a dataset has none")
        kind = group.get(name, getclass=True)
        if kind is h5py.Group:
            _refuse_tricks(group[name], file_bytes, depth + 1)
        elif kind is h5py.Dataset:
            _check_storage(group[name], shown, file_bytes)
        else:
            raise DatasetError(f"{shown} is neither a group nor a dataset")


def _check_storage(dataset: h5py.Dataset, shown: str, file_bytes: int) -> None:
    if dataset.is_virtual or dataset.external:
        raise DatasetError(f"{shown} reads other files; a dataset never does")
    if dataset.dtype.kind not in "iufS" or dataset.chunks is None:
        raise DatasetError(f"{shown} is stored in a way that no dataset is")
    creation = dataset.id.get_create_plist()
    unknown = {creation.get_filter(index)[0] for index in range(creation.get_nfilters())} - _FILTERS.keys()
    if unknown:
        raise DatasetError(f"{shown} needs unknown filters {sorted(unknown)}")
    stored = dataset.id.get_storage_size()
    chunk_bytes = int(np.prod(dataset.chunks, dtype=object)) * dataset.dtype.itemsize
    chunks = int(
        np.prod([-(-n // c) for n, c in zip(dataset.shape, dataset.chunks, strict=True)], dtype=object)
    )
    compressed = creation.get_nfilters() > 0
    if stored > file_bytes or chunks * chunk_bytes > stored * (_GREATEST_RATIO if compressed else 1):
        raise DatasetError(f"{shown} claims {chunks * chunk_bytes} bytes, but the file holds {stored} for it")
