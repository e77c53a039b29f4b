"""The file format: what h5py and xarray see, with no help of ours."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
import xarray

from dicom_etl import pipeline
from dicom_etl.config import IngestConfig
from dicom_etl.dataset import schema
from dicom_etl.dataset.codecs import encode_chunk, filter_options
from dicom_etl.dataset.open_validated import open_dataset
from dicom_etl.errors import DatasetError
from tests.builders import TinySource

GROUPS = (None, "samples", "masks", "contours/icontour", "contours/ocontour", "issues")


def walk(file: h5py.File) -> list[h5py.Dataset]:
    found: list[h5py.Dataset] = []
    file.visititems(lambda _, item: found.append(item) if isinstance(item, h5py.Dataset) else None)
    return found


def test_only_what_the_schema_lists_is_in_the_file(dataset: Path) -> None:
    with h5py.File(dataset) as file:
        assert set(file) == {"images", "masks", "contours", "samples", *schema.TABLES, "sample", "y", "x"}
        columns = {column.name for column in schema.sample_columns(("icontour", "ocontour"))}
        assert set(file["samples"]) == columns | {"row_column", "cosine", "xyz", "parent"}
        assert set(file["masks"]) == set(file["contours"]) == {"icontour", "ocontour"}
        assert set(file.attrs) == {
            "format", "format_version", "software_version", "config", "structures",
            "raster_rule", "issues_error", "issues_warning", "issues_note",
        }  # fmt: skip


def test_nothing_is_of_variable_length_boolean_or_timed(dataset: Path) -> None:
    with h5py.File(dataset) as file:
        for item in [file, *walk(file)]:
            for name, value in item.attrs.items():
                if name not in {"DIMENSION_LIST", "REFERENCE_LIST"}:  # HDF5's own, of dimension scales
                    assert isinstance(value, bytes | np.ndarray | np.number), (item.name, name, type(value))
                    assert not isinstance(value, np.bool_)
        for found in walk(file):
            assert found.dtype.kind in "iufS"
            assert h5py.check_string_dtype(found.dtype) is None or h5py.check_string_dtype(found.dtype).length
            assert h5py.h5o.get_info(found.id).mtime == 0
        groups: list[h5py.Group] = [file["/"]]
        file.visititems(lambda _, item: groups.append(item) if isinstance(item, h5py.Group) else None)
        assert len(groups) == 10
        assert {h5py.h5o.get_info(group.id).mtime for group in groups} == {0}


def test_slices_are_chunks_and_tables_are_checked(dataset: Path) -> None:
    with h5py.File(dataset) as file:
        for slices in (file["images"], *file["masks"].values()):
            assert slices.chunks == (1, *slices.shape[1:])
            assert slices.compression is None
        for found in walk(file):
            if found.ndim < 3:
                assert found.compression == "gzip"
                assert found.fletcher32


@pytest.mark.parametrize("engine", [None, "h5netcdf", "netcdf4"])
@pytest.mark.parametrize("group", GROUPS)
def test_xarray_opens_every_group_and_names_the_axes(
    dataset: Path, engine: str | None, group: str | None
) -> None:
    with xarray.open_dataset(dataset, engine=engine, group=group) as opened:
        opened.load()
        if group is None:
            assert opened["images"].dims == ("sample", "y", "x")
        elif group == "samples":
            assert opened["patient_id"].dims == ("sample",)
            assert opened["pixel_spacing_mm"].dims == ("sample", "row_column")
        elif group == "masks":
            assert opened["icontour"].dims == ("sample", "y", "x")
        else:
            assert opened.sizes


@pytest.mark.parametrize("options", [{"compression": "gzip"}, {"fletcher32": True}])
def test_filters_change_the_bytes_and_not_the_values(
    kept_source: TinySource, dataset: Path, tmp_path: Path, options: dict[str, object]
) -> None:
    path = tmp_path / "filtered.h5"
    pipeline.ingest(pipeline.locate(kept_source.root), path, IngestConfig(**options))  # type: ignore[arg-type]
    with h5py.File(path) as filtered, h5py.File(dataset) as plain:
        assert filtered["images"].fletcher32
        assert filtered["images"].compression == options.get("compression")
        for name in ("images", "masks/icontour", "masks/ocontour", "samples/sha256"):
            assert (filtered[name][()] == plain[name][()]).all()


def test_a_chunk_without_filters_is_the_plain_bytes() -> None:
    values = np.arange(12, dtype="<i2").reshape(3, 4)
    assert bytes(encode_chunk(values, "none", False).data) == values.tobytes()


def test_the_bytes_of_a_chunk_depend_on_its_slice_alone() -> None:
    y, x = np.mgrid[:64, :64]
    slices = [((x - 20 - n % 7) ** 2 + (y - 30 + n) ** 2 < (9 + n % 5) ** 2).astype("u1") for n in range(24)]
    slices += [(40 * mask + (x * (n + 3) + y * y) % 5).astype("u1") for n, mask in enumerate(slices)]
    alone = [bytes(encode_chunk(each, "gzip", True).data) for each in slices]
    for seed in range(12):
        for index in np.random.default_rng(seed).permutation(len(slices)):
            assert bytes(encode_chunk(slices[index], "gzip", True).data) == alone[index]


def test_noise_that_no_filter_makes_smaller_comes_back(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(-32768, 32768, (64, 64)).astype("<i2")
    path = tmp_path / "noise.h5"
    with h5py.File(path, "w", libver=("v110", "v110")) as file:
        slices = file.create_dataset(
            "slices", (1, 64, 64), "<i2", chunks=(1, 64, 64), **filter_options("gzip", True)
        )
        slices.id.write_direct_chunk((0, 0, 0), encode_chunk(noise, "gzip", True).data)
    with h5py.File(path) as file:
        assert (file["slices"][0] == noise).all()


class TestOpening:
    """`open_dataset` believes nothing."""

    def test_a_dataset_opens(self, dataset: Path) -> None:
        with open_dataset(dataset) as file:
            assert file["images"].shape[0] == 12

    @pytest.mark.parametrize("data", [b"", b"not HDF5", b"\x89HDF\r\n\x1a\n" + b"\0" * 5000])
    def test_another_file_is_refused(self, tmp_path: Path, data: bytes) -> None:
        path = tmp_path / "other.h5"
        path.write_bytes(data)
        with pytest.raises(DatasetError):
            open_dataset(path)

    def test_a_missing_file_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(DatasetError, match=r"none\.h5"):
            open_dataset(tmp_path / "none.h5")

    def test_a_file_edited_in_place_has_lost_its_seal(self, dataset: Path, tmp_path: Path) -> None:
        path = tmp_path / "edited.h5"
        path.write_bytes(dataset.read_bytes())
        with h5py.File(path, "r+") as file:
            file.attrs["note"] = 1
        with pytest.raises(DatasetError, match="seal"):
            open_dataset(path)
