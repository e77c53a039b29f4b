"""Turn folders of DICOM slices, and the outlines drawn on them, into one verified HDF5 dataset; feed batches from it.

A dataset is made once, checked, and read by a training loop::

    import dicom_etl

    result = dicom_etl.ingest("study", "dataset.h5", structures="icontour", size=(128, 128))
    for issue in result.issues:
        print(issue.severity, issue.code, issue.path, issue.message)

    outcome = dicom_etl.verify("dataset.h5", source="study")
    assert outcome.ok, outcome.findings

    reader = dicom_etl.BatchReader("dataset.h5", batch_size=8, structures=("icontour",), seed=0)
    for epoch in range(3):
        for batch in reader.epoch(epoch):
            batch.images, batch.masks  # (8, 128, 128) each

Functions
    `plan` says what `ingest` would make of a folder; `ingest` makes the dataset; `verify` proves it and looks for
    wrong labels; `merge` joins datasets. Each takes paths as str or Path, and every option of the command of that
    name as a keyword.
Options
    `SourceOptions`, `IngestConfig`, `RunOptions`, `WorkOptions`, `DecisionOptions`, `VerifyOptions` and `LabelLimits`
    hold and describe the keywords; what they refuse is a `ConfigError` that names the keyword.
Results
    `Summary` of plan, ingest and merge; `Outcome` of verify; `Issue`, one thing that was left out or found; `Batch`.
Errors
    `DicomEtlError` is the base of `ConfigError`, `SourceError`, `OutputError`, `DatasetError`, `SealError` (a
    `DatasetError`) and `MissingExtraError`. A single bad input is no error but an `Issue` of the result.

Each name is imported when it is first used, so ``import dicom_etl`` costs next to nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from dicom_etl._version import __version__

if TYPE_CHECKING:
    from dicom_etl.api import ingest, merge, plan, verify
    from dicom_etl.batches import Batch, BatchReader
    from dicom_etl.checks.limits import LabelLimits, VerifyOptions
    from dicom_etl.config import DecisionOptions, IngestConfig, RunOptions, SourceOptions, WorkOptions
    from dicom_etl.errors import (
        ConfigError,
        DatasetError,
        DicomEtlError,
        MissingExtraError,
        OutputError,
        SealError,
        SourceError,
    )
    from dicom_etl.pipeline.summary import Summary
    from dicom_etl.records import Issue
    from dicom_etl.verification.outcome import Outcome

__all__ = [
    "Batch",
    "BatchReader",
    "ConfigError",
    "DatasetError",
    "DecisionOptions",
    "DicomEtlError",
    "IngestConfig",
    "Issue",
    "LabelLimits",
    "MissingExtraError",
    "Outcome",
    "OutputError",
    "RunOptions",
    "SealError",
    "SourceError",
    "SourceOptions",
    "Summary",
    "VerifyOptions",
    "WorkOptions",
    "__version__",
    "ingest",
    "merge",
    "plan",
    "verify",
]

_MODULES = {
    "api": ("ingest", "merge", "plan", "verify"),
    "batches": ("Batch", "BatchReader"),
    "checks.limits": ("LabelLimits", "VerifyOptions"),
    "config": ("DecisionOptions", "IngestConfig", "RunOptions", "SourceOptions", "WorkOptions"),
    "pipeline.summary": ("Summary",),
    "records": ("Issue",),
    "verification.outcome": ("Outcome",),
    "errors": (
        "ConfigError",
        "DatasetError",
        "DicomEtlError",
        "MissingExtraError",
        "OutputError",
        "SealError",
        "SourceError",
    ),
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for."""
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'dicom_etl' has no attribute {name!r}")
    found = getattr(importlib.import_module(f"dicom_etl.{_MODULE_OF[name]}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    """List the public names, imported or not."""
    return sorted({*globals(), *__all__})
