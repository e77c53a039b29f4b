"""The way into a dataset that the manual shows for xarray, with each engine alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.batches.datasets import content, write_dataset

xarray = pytest.importorskip("xarray", reason="xarray is not installed")


@pytest.mark.parametrize("engine", ["h5netcdf", "netcdf4"])
def test_the_manual_finds_end_diastole_with_each_engine(tmp_path: Path, engine: str) -> None:
    pytest.importorskip({"h5netcdf": "h5netcdf", "netcdf4": "netCDF4"}[engine])
    page = Path(__file__).parents[1] / "docs" / "file-format.md"
    code = page.read_text(encoding="utf-8").split("```python\nimport xarray as xr")[1].split("```")[0]
    path = write_dataset(tmp_path / "dataset.h5", content())
    code = code.replace('open_dataset("dataset.h5"', f"open_dataset({str(path)!r}, engine={engine!r}")
    found: dict[str, object] = {"xr": xarray}
    exec(code, found)
    assert len(found["end_diastole"]) == 20  # type: ignore[arg-type]
