"""Random oblique planes, as headers state them."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from dicom_etl.records import ImageHeader


def ds(value: float) -> float:
    """Return a number as 16 characters of a decimal string keep it (DICOM PS3.5 6.2)."""
    return float(f"{value:.10g}" if abs(value) >= 1e-4 or value == 0 else f"{value:.9f}"[:16])


def planes(rows: int = 64, columns: int = 48) -> st.SearchStrategy[ImageHeader]:
    """Return headers of images that lie anyhow in the patient, with pixels that need not be square."""
    turn = st.tuples(*[st.floats(-1, 1)] * 4).filter(lambda q: sum(v * v for v in q) > 0.1)
    spacing = st.tuples(*[st.floats(0.3, 4.0).map(ds)] * 2)
    position = st.tuples(*[st.floats(-400, 400).map(ds)] * 3)
    return st.builds(lambda q, s, p: _header(q, s, p, rows, columns), turn, spacing, position)


def _header(
    quaternion: tuple[float, ...],
    spacing: tuple[float, ...],
    position: tuple[float, ...],
    rows: int,
    columns: int,
) -> ImageHeader:
    a, b, c, d = np.array(quaternion) / np.linalg.norm(quaternion)
    row = (a * a + b * b - c * c - d * d, 2 * (b * c + a * d), 2 * (b * d - a * c))
    column = (2 * (b * c - a * d), a * a - b * b + c * c - d * d, 2 * (c * d + a * b))
    cosines = tuple(ds(float(value)) for value in (*row, *column))
    return ImageHeader(
        rows,
        columns,
        pixel_spacing_mm=spacing,  # type: ignore[arg-type]
        position_mm=position,  # type: ignore[arg-type]
        orientation=cosines,  # type: ignore[arg-type]
    )
