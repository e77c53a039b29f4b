"""Proof of a dataset: damage, drift from its source, and labels that look wrong; `dataset` runs it all.

Ingest runs the label checks alone, and its workers import them; so the names below are imported when asked for.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dicom_etl.verify.dataset import verify_dataset
    from dicom_etl.verify.options import LabelLimits, VerifyOptions, Waiver
    from dicom_etl.verify.outcome import Outcome

__all__ = ["LabelLimits", "Outcome", "VerifyOptions", "Waiver", "verify_dataset"]

_HOMES = {
    "LabelLimits": "options",
    "Outcome": "outcome",
    "VerifyOptions": "options",
    "Waiver": "options",
    "verify_dataset": "dataset",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
