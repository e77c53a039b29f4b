"""mm <-> pixels on random oblique planes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicom_etl.geometry.locations import SNAP_PX, has_plane, to_patient, to_pixels
from dicom_etl.records import ImageHeader
from tests.planes import planes


@given(planes(), st.lists(st.tuples(*[st.integers(-1024, 600 * 1024)] * 2), min_size=1, max_size=20))
def test_points_of_the_lattice_come_back_exactly(image: ImageHeader, lattice: list[tuple[int, int]]) -> None:
    points = np.array(lattice) * SNAP_PX
    found, off_plane = to_pixels(to_patient(points, image), image)
    assert found.tolist() == points.tolist()
    assert np.abs(off_plane).max() < 1e-6


def test_columns_lie_along_the_row_direction() -> None:
    image = ImageHeader(
        9, 9, pixel_spacing_mm=(3.5, 2.5), position_mm=(10.0, 20.0, 30.0), orientation=(1, 0, 0, 0, 1, 0)
    )
    pixels, off_plane = to_pixels(np.array([[15.0, 27.0, 31.0]]), image)
    assert pixels.tolist() == [[2.0, 2.0]]
    assert off_plane.tolist() == [pytest.approx(1.0)]


def test_an_image_without_geometry_has_no_plane() -> None:
    assert not has_plane(ImageHeader(9, 9))
