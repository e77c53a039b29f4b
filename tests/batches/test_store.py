"""Gathering: the right pixels from every kind of file, and refusals."""

from __future__ import annotations

import pickle
import zlib
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dicom_etl.batches.store import Store
from dicom_etl.dataset import codecs
from dicom_etl.dataset.codecs import SliceTable, Windows, read_slice_table
from dicom_etl.dataset.open_validated import open_dataset
from dicom_etl.dataset.reading import open_reader
from dicom_etl.errors import DatasetError
from tests.batches.datasets import Content, content, write_dataset

FILTERS: dict[str, dict[str, Any]] = {
    "plain": {},
    "checksummed": {"fletcher32": True},
    "gzip": {"compression": "gzip"},
}


def open_store(path: Path, structures: tuple[str, ...] = ("icontour", "ocontour"), **options: Any) -> Store:
    with open_reader(path) as source:
        return Store([source], structures, **options)


@pytest.mark.parametrize("filters", FILTERS)
@pytest.mark.parametrize("dtype", ["<i2", "<u2", "<f4", "<f8", "|u1"])
@pytest.mark.parametrize("extra", [True, False])
def test_rows_come_back_as_they_were_written(
    tmp_path: Path, filters: str, dtype: str, extra: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not extra:
        monkeypatch.setattr(codecs, "zlib_ng", None)
    made = content(count=30, dtype=dtype)
    store = open_store(write_dataset(tmp_path / "d.h5", made, **FILTERS[filters]))
    rows = np.random.default_rng(1).integers(0, 30, 50)
    found = store.images(rows, np.dtype(dtype))
    np.testing.assert_array_equal(found, made.images[rows])
    np.testing.assert_array_equal(store.masks(rows), made.masks[rows])
    assert found.dtype == dtype
    assert found.flags.c_contiguous
    assert found.flags.writeable
    np.testing.assert_array_equal(store.image(7), made.images[7])
    store.close()


@pytest.mark.parametrize(("filters", "codec"), [("plain", "raw"), ("checksummed", "raw"), ("gzip", "gzip")])
def test_no_slice_goes_through_hdf5(tmp_path: Path, filters: str, codec: str) -> None:
    path = write_dataset(tmp_path / "d.h5", content(), **FILTERS[filters])
    with h5py.File(path) as file:
        table = read_slice_table(file["images"], path.stat().st_size)
    assert table.codec == codec


@settings(max_examples=30)
@given(
    st.lists(st.integers(0, 39), min_size=1, max_size=20),
    st.permutations(["icontour", "ocontour"]),
    st.integers(0, 2),
)
def test_structures_come_in_the_order_asked_for(
    made: Content, plain: Path, rows: list[int], names: list[str], take: int
) -> None:
    store = open_store(plain, tuple(names[:take]))
    masks = store.masks(np.array(rows))
    np.testing.assert_array_equal(store.images(np.array(rows), np.dtype(np.int16)), made.images[rows])
    wanted = [made.structures.index(name) for name in names[:take]]
    np.testing.assert_array_equal(masks, made.masks[rows][:, wanted])


@pytest.mark.parametrize("filters", [{"compression": "lzf"}, {"shuffle": True}, {"scaleoffset": 4}])
def test_filters_that_no_dataset_has_are_refused(tmp_path: Path, filters: dict[str, Any]) -> None:
    path = tmp_path / "s.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("s", data=np.ones((3, 5, 4), "<i2"), chunks=(1, 5, 4), **filters)
    with h5py.File(path) as file, pytest.raises(DatasetError, match="is stored with filters"):
        read_slice_table(file["s"], path.stat().st_size)


def test_a_slice_without_one_of_its_filters_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "s.h5"
    with h5py.File(path, "w") as file:
        made = file.create_dataset("s", (3, 5, 4), "<i2", chunks=(1, 5, 4), compression="gzip")
        for row in range(3):
            made.id.write_direct_chunk((row, 0, 0), bytes(40), 1)
    with h5py.File(path) as file, pytest.raises(DatasetError, match="without one of its filters"):
        read_slice_table(file["s"], path.stat().st_size)


def test_asking_for_rows_changes_nothing_but_the_page_cache(made: Content, plain: Path) -> None:
    store = open_store(plain)
    rows = np.arange(40)
    assert store.is_cold(rows)
    store.ask_for(rows[:25])
    assert store.is_cold(rows)
    store.ask_for(rows)
    store.ask_for(rows)
    assert not store.is_cold(rows)
    np.testing.assert_array_equal(store.image(39), made.images[39])


@pytest.mark.parametrize("first", [0, 1, 3, 64])
@pytest.mark.parametrize("dtype", ["<i2", "<f8", "|u1"])
def test_windows_see_slices_wherever_they_begin(first: int, dtype: str) -> None:
    slices = np.random.default_rng(0).integers(0, 100, (5, 2, 4, 3)).astype(dtype)
    size = slices[0, 0].nbytes
    offsets = first + np.random.default_rng(1).permutation(10).reshape(5, 2) * (size + first)
    file = bytearray(int(offsets.max()) + size)
    for offset, pixels in zip(offsets.ravel(), slices.reshape(10, 4, 3), strict=True):
        file[offset : offset + size] = pixels.tobytes()
    tables = [
        SliceTable("/masks", (4, 3), np.dtype(dtype), "raw", False, column, np.full(5, size))
        for column in offsets.T
    ]
    rows = np.array([4, 0, 0, 2])
    found = Windows.over(memoryview(file), tables).gather(rows)
    np.testing.assert_array_equal(found, slices[rows])
    with pytest.raises((IndexError, ValueError)):  # never memory that is not the file's
        Windows.over(memoryview(file[: -size // 2]), tables).gather(np.arange(5))


def test_a_pickled_store_holds_no_handle_and_reads_the_same(made: Content, plain: Path) -> None:
    store = open_store(plain)
    store.image(0)
    copy = pickle.loads(pickle.dumps(store))
    np.testing.assert_array_equal(copy.image(5), made.images[5])


def test_a_closed_store_opens_again(made: Content, plain: Path) -> None:
    store = open_store(plain)
    for _ in range(2):
        np.testing.assert_array_equal(store.image(3), made.images[3])
        store.close()
        store.close()


def test_a_file_that_was_replaced_is_noticed(tmp_path: Path) -> None:
    path = write_dataset(tmp_path / "d.h5", content())
    store = open_store(path)
    write_dataset(tmp_path / "other.h5", content(seed=1)).replace(path)
    with pytest.raises(DatasetError, match="was replaced"):
        store.image(0)


@pytest.mark.parametrize("extra", [True, False])
@pytest.mark.parametrize("filters", ["gzip"])
def test_a_broken_chunk_is_an_error_that_names_the_row(
    tmp_path: Path, filters: str, extra: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not extra:
        monkeypatch.setattr(codecs, "zlib_ng", None)
    path = write_dataset(tmp_path / "d.h5", content(shape=(40, 40)), **FILTERS[filters])
    store = open_store(path)
    with open_dataset(path) as file:
        info = file["images"].id.get_chunk_info(11)
    with path.open("r+b") as stream:
        stream.seek(info.byte_offset + 20)
        stream.write(b"\xff" * 40)
    store.image(10)
    with pytest.raises(DatasetError, match=r"/images, row 11"):
        store.image(11)


@pytest.mark.parametrize(
    "data",
    [
        zlib.compress(b"\0" * 30_000_000),
        zlib.compress(b"\0" * 100),
        zlib.compress(b"\0" * 240)[:-6],
        b"",
        b"no zlib",
    ],
    ids=["bomb", "short", "cut", "empty", "other"],
)
def test_a_chunk_that_is_no_slice_is_refused(data: bytes) -> None:
    table = SliceTable(
        "/images", (12, 10), np.dtype("<i2"), "gzip", True, np.array([0]), np.array([len(data)])
    )
    with pytest.raises(DatasetError, match=r"/images, row 0"):
        table.read(memoryview(data), np.array([0]), np.empty((1, 12, 10), "<i2"))


@pytest.mark.parametrize("shuffled", [True, False])
@pytest.mark.parametrize("dtype", ["<i2", ">i2", "<u2", ">u2", "<f4", ">f4", "<f8", ">i8", "|u1"])
def test_shuffled_bytes_of_any_dtype_are_put_together(tmp_path: Path, dtype: str, shuffled: bool) -> None:
    values = np.random.default_rng(0).integers(0, 200, (3, 5, 4)).astype(dtype)
    path = tmp_path / "s.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("s", data=values, chunks=(1, 5, 4), compression="gzip", shuffle=shuffled)
    with h5py.File(path) as file:
        table = read_slice_table(file["s"], path.stat().st_size)
    assert table.codec == "gzip"
    out = np.empty((3, 5, 4), values.dtype.newbyteorder("="))
    table.read(memoryview(path.read_bytes()), np.arange(3), out)
    np.testing.assert_array_equal(out, values)


def test_chunks_that_are_not_slices_are_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "s.h5", "w") as file:
        wrong = [
            file.create_dataset("two", data=np.zeros((4, 3, 3)), chunks=(2, 3, 3)),
            file.create_dataset("half", data=np.zeros((4, 4, 3)), chunks=(1, 2, 3)),
            file.create_dataset("flat", data=np.zeros((4, 3)), chunks=(1, 3)),
            file.create_dataset("whole", data=np.zeros((4, 3, 3))),
            file.create_dataset("text", data=np.zeros((4, 3, 3), "S3"), chunks=(1, 3, 3)),
        ]
        for dataset in wrong:
            with pytest.raises(DatasetError, match="not one chunk a slice"):
                read_slice_table(dataset, 10**6)


def test_slices_that_the_file_does_not_hold_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "s.h5"
    with h5py.File(path, "w") as file:
        some = file.create_dataset("some", (4, 3, 3), "<i2", chunks=(1, 3, 3))
        some[0], some[2] = 1, 1
    with h5py.File(path) as file:
        with pytest.raises(DatasetError, match=r"/some, row 1: the file does not hold"):
            read_slice_table(file["some"], path.stat().st_size)
        with pytest.raises(DatasetError, match="does not hold"):
            read_slice_table(file["some"], 100)


def test_masks_that_do_not_fit_the_images_are_refused(tmp_path: Path) -> None:
    made = content()
    made.masks = made.masks[:, :, :, :-1]
    with pytest.raises(DatasetError, match="do not fit the images"):
        open_store(write_masks_of_another_size(tmp_path / "d.h5", made))


def write_masks_of_another_size(path: Path, made: Content) -> Path:
    """A sealed file whose masks have one column less than its images."""
    from dicom_etl.dataset import schema
    from dicom_etl.dataset.digest import SEAL_BYTES, append_seal

    write_dataset(path, content())
    with path.open("r+b") as stream:
        stream.truncate(path.stat().st_size - SEAL_BYTES)
    with h5py.File(path, "r+") as file:
        del file["masks/icontour"]
        file.create_dataset("masks/icontour", data=made.masks[:, 0], chunks=(1, 12, 9))
    append_seal(path, schema.FORMAT_VERSION)
    return path
