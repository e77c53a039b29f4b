"""What a program imports before its work: nothing that this work has no use for."""

from __future__ import annotations

import subprocess
import sys

import pytest

ITEMS = "dicom_etl.items"
PLAN = "dicom_etl.pipeline"
UNUSED = (
    "h5py",
    "pydicom",
    "click",
    "PIL",
    "dicom_etl.batches",
    "dicom_etl.impute",
    "dicom_etl.verify.dataset",
)


@pytest.mark.parametrize("module", [ITEMS, PLAN])
def test_workers_import_only_what_items_need(module: str) -> None:
    program = f"import {module}, sys; print(*sys.modules, sep='\\n')"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert module in loaded
    assert not loaded & set(UNUSED)
