"""The picture shows the stored vertices and nothing else."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from dicom_etl.report.cards import path_data
from dicom_etl.report.overlays import CropBox
from tests.report.reading import read_path

FINITE = st.floats(-1e6, 1e6) | st.floats(allow_nan=False, allow_infinity=False)
RING = st.lists(st.tuples(FINITE, FINITE), min_size=1, max_size=8).map(lambda ring: np.array(ring))


@given(st.lists(RING, max_size=3).map(tuple))
def test_a_path_reads_back_as_the_same_numbers(rings: tuple[np.ndarray, ...]) -> None:
    found = read_path(path_data(rings))
    assert len(found) == len(rings)
    for ring, wanted in zip(found, rings, strict=True):
        assert np.array_equal(ring, wanted)


def test_how_a_path_is_written() -> None:
    rings = (np.array([[1.0, 2.5], [-0.5, 1e-7]]), np.array([[3.0, -0.0]]))
    assert path_data(rings) == "M1 2.5L-0.5 1e-07ZM3 -0Z"
    assert path_data(()) == ""
    assert CropBox(-0.5, -0.5, 256.0, 192.0).view_box == "-0.5 -0.5 256 192"
