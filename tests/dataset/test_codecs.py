"""Decoding without HDF5: one slice of the right size, or an error."""

from __future__ import annotations

import zlib

import numpy as np
import pytest

from dicom_etl.dataset import codecs


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
