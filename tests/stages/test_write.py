"""Rows: statistics that are exact, and images that are not what they were planned as."""

from __future__ import annotations

import math
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from dicom_etl import pipeline
from dicom_etl.stages.write import image_statistics
from tests.builders import TinySource, make_source


@pytest.mark.parametrize("dtype", ["<i2", "<u2", "|i1", "|u1", "<i4"])
@given(data=st.data())
def test_statistics_of_integers_are_those_of_exact_arithmetic(dtype: str, data: st.DataObject) -> None:
    shape = data.draw(st.tuples(st.integers(1, 6), st.integers(1, 6)))
    image = data.draw(arrays.arrays(np.dtype(dtype), shape))
    low, high, mean, std = image_statistics(image)
    values = [Fraction(value) for value in image.ravel().tolist()]
    exact = sum(values) / len(values)
    variance = sum((value - exact) ** 2 for value in values) / len(values)
    assert (low, high) == (float(min(values)), float(max(values)))
    assert mean == pytest.approx(float(exact), rel=1e-15, abs=1e-300)
    assert std == pytest.approx(math.sqrt(variance), rel=1e-12, abs=1e-6 if dtype == "<i4" else 1e-12)


@pytest.mark.parametrize("dtype", ["<u2", "<i2", "<u4"])
@pytest.mark.parametrize("largest", [8191, 8192, 32767])
@pytest.mark.parametrize("shape", [(64, 5), (256, 3), (10, 7), (32, 64)])
def test_sums_do_not_overflow_where_the_width_changes(
    dtype: str, largest: int, shape: tuple[int, int]
) -> None:
    image = np.full(shape, largest, np.dtype(dtype))
    assert image_statistics(image) == (largest, largest, largest, 0)
    image[:, 0] = 0
    share = Fraction(shape[1] - 1, shape[1])
    low, high, mean, std = image_statistics(image)
    assert (low, high, mean) == (0, largest, float(largest * share))
    assert std == pytest.approx(largest * math.sqrt(share * (1 - share)), rel=1e-15)


def test_a_large_image_whose_squares_leave_the_exact_floats() -> None:
    image = np.full((2048, 1100), 65535, np.uint16)
    image[:, ::2] = 65534
    assert image.size * 65535**2 > 2**53
    assert image_statistics(image) == (65534, 65535, 65534.5, 0.5)


@pytest.mark.parametrize("when", ["discover", "write"])
def test_an_image_that_changes_its_size_during_the_run_is_left_out(tmp_path: Path, when: str) -> None:
    source = make_source(tmp_path / "source")
    larger = make_source(tmp_path / "larger", shape=(40, 32))
    changed = (1, 2, source.ed)

    def change(stage: str, done: int, total: int) -> None:
        if stage == when and done == (total if stage == "discover" else 1):
            source.image(*changed).write_bytes(larger.image(*changed).read_bytes())

    summary = pipeline.ingest(pipeline.locate(source.root), tmp_path / "out.h5", progress=change)
    assert summary.samples == source.sample_count() - 1
    (issue,) = summary.issues
    assert (issue.code, issue.path) == ("changed-while-read", _relative(source, changed))
    assert issue.message.startswith("rows, ")


def _relative(source: TinySource, place: tuple[int, int, int]) -> str:
    return source.image(*place).relative_to(source.root).as_posix()
