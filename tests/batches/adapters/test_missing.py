"""Without the extra, the error names it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from dicom_etl.batches import BatchReader
from dicom_etl.errors import MissingExtraError


@pytest.mark.parametrize(
    ("method", "library"), [("torch", "torch"), ("torch_samples", "torch"), ("tensorflow", "tensorflow")]
)
def test_the_missing_extra_is_named(
    plain: Path, method: str, library: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    monkeypatch.delitem(sys.modules, f"dicom_etl.batches.adapters.{library}", raising=False)
    with pytest.raises(MissingExtraError, match=rf'pip install "dicom-etl\[{library}\]"'):
        getattr(BatchReader(plain), method)()
