"""Turn folders of DICOM slices and contour files into one verified HDF5 dataset, and feed batches from it."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from dicom_etl._version import __version__

if TYPE_CHECKING:
    from dicom_etl.batches import Batch, BatchReader

__all__ = ["Batch", "BatchReader", "__version__"]

_HOMES = {"Batch": "dicom_etl.batches", "BatchReader": "dicom_etl.batches"}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for, so that ``import dicom_etl`` costs nothing."""
    if name not in _HOMES:
        raise AttributeError(f"module 'dicom_etl' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
