"""Decoding without HDF5: held to what HDF5 writes, and to refusing everything else."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dicom_etl.batches import codecs


def stored_by_hdf5(path: Path, values: Any, **filters: Any) -> bytes:
    """Return the chunk that HDF5 makes of an array."""
    with h5py.File(path, "w") as file:
        made = file.create_dataset("d", data=values, chunks=values.shape, **filters)
        return bytes(made.id.read_direct_chunk((0,) * values.ndim)[1])


@settings(max_examples=60)
@given(data=st.binary(min_size=1, max_size=300))
def test_the_checksum_is_that_of_hdf5(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    values = np.frombuffer(data, np.uint8)
    chunk = stored_by_hdf5(tmp_path_factory.getbasetemp() / "c.h5", values, fletcher32=True)
    assert codecs.fletcher32(memoryview(data)) == int.from_bytes(chunk[-4:], "little")


@pytest.mark.parametrize("value", [0, 255])
@pytest.mark.parametrize("size", [1, 719, 720, 721, 131_072, 1_200_001])
def test_the_checksum_of_large_and_of_uniform_data_is_that_of_hdf5(
    tmp_path: Path, size: int, value: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = np.full(size, value, np.uint8)
    values[size // 2 :] = np.random.default_rng(0).integers(0, 256, size - size // 2) if value else 0
    chunk = stored_by_hdf5(tmp_path / "c.h5", values, fletcher32=True)
    assert codecs.fletcher32(memoryview(values.tobytes())) == int.from_bytes(chunk[-4:], "little")


class TestLZF:
    @pytest.fixture
    def chunk(self, tmp_path: Path) -> bytes:
        pytest.importorskip("lzf")
        return stored_by_hdf5(
            tmp_path / "c.h5", np.arange(2000) // 7 % 256, compression="lzf", fletcher32=True
        )

    def test_every_changed_byte_is_found(self, chunk: bytes) -> None:
        assert len(codecs.decode_lzf(memoryview(chunk), 16_000)) == 16_000
        for place in range(len(chunk)):
            broken = bytearray(chunk)
            broken[place] ^= 0x10
            with pytest.raises(ValueError, match="checksum"):
                codecs.decode_lzf(memoryview(broken), 16_000)

    @pytest.mark.parametrize("size", [15_999, 16_001, 1])
    def test_a_slice_of_another_size_is_refused(self, chunk: bytes, size: int) -> None:
        with pytest.raises(ValueError, match="not those of one slice"):
            codecs.decode_lzf(memoryview(chunk), size)

    @pytest.mark.parametrize("length", [0, 1, 4, 5])
    def test_a_stump_is_refused(self, chunk: bytes, length: int) -> None:
        with pytest.raises(ValueError, match=r"decoded|not those|compressed data"):
            codecs.decode_lzf(memoryview(chunk[:length]), 16_000)

    def test_a_stream_that_is_none_is_refused_whatever_its_checksum(self, chunk: bytes) -> None:
        for stream in (chunk[:-4][:50], bytes(10), b"\xff" * 40):
            checked = stream + codecs.fletcher32(memoryview(stream)).to_bytes(4, "little")
            with pytest.raises(ValueError, match=r"not those|compressed data"):
                codecs.decode_lzf(memoryview(checked), 16_000)


@pytest.mark.parametrize("library", ["zlib", "zlib_ng"])
def test_inflating_makes_one_slice_or_an_error(library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if library == "zlib":
        monkeypatch.setattr(codecs, "zlib_ng", None)
    else:
        pytest.importorskip("zlib_ng")
    data = np.random.default_rng(0).integers(0, 9, 5000, dtype=np.uint8).tobytes()
    packed = zlib.compress(data)
    assert codecs.inflate(memoryview(packed), 5000) == data
    for size in (4999, 5001):
        with pytest.raises(ValueError, match="not those of one slice"):
            codecs.inflate(memoryview(packed), size)
    for broken in (packed[:-1], packed[:-4] + bytes(4), b"", b"none"):
        with pytest.raises(ValueError, match=r"cannot be decoded|not those"):
            codecs.inflate(memoryview(broken), 5000)


@pytest.mark.parametrize("target", ["<i2", "<f8"])
@pytest.mark.parametrize("dtype", ["<i2", ">i2", "<f4", ">f4", "|u1"])
def test_pixels_are_put_together_in_any_target(dtype: str, target: str) -> None:
    values = np.random.default_rng(0).integers(0, 100, (6, 5)).astype(dtype)
    planes = np.frombuffer(values.tobytes(), np.uint8).reshape(30, -1).T.tobytes()
    whole = np.zeros((6, 10), target)
    for out in (np.empty((6, 5), target), whole[:, ::2]):
        codecs.put_together(planes, values.dtype, True, out)
        np.testing.assert_array_equal(out, values)
    assert not whole[:, 1::2].any()
