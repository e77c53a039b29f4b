"""The Sunnybrook text contours: names, numbers, and every way in which a file can be wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicom_etl.config import LabelOptions
from dicom_etl.contours import sunnybrook
from dicom_etl.contours.sunnybrook import SunnybrookText
from dicom_etl.errors import ContourError
from dicom_etl.records import FloatArray, ImageHeader, SliceNumber
from tests.builders import write_anew

SQUARE = b"10 10\n20 10\n20 20\n10 20\n"


def read(path: Path, data: bytes, **options: Any) -> FloatArray:
    path = path / "IM-0001-0001-icontour-manual.txt"
    write_anew(path, data)
    settings = LabelOptions(**options)
    found = SunnybrookText().find(str(path), settings)
    assert found is not None
    outlines = SunnybrookText().read(str(path), found.refs, ImageHeader(64, 64), settings)
    (ring,) = outlines.rings[found.refs[0]]
    return ring


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("IM-0001-0048-icontour-manual.txt", ("icontour", 48)),
        ("im-0001-0048-OCONTOUR-manual.TXT", ("ocontour", 48)),
        ("IM-0001-0108-p1-manual.txt", ("p1contour", 108)),
        ("IM-0001-0108-p1contour-manual.txt", ("p1contour", 108)),
        ("IM-0001-0108-p2-manual.txt", ("p2contour", 108)),
        ("IM-0001-12345-icontour-auto.txt", ("icontour", 12345)),
        ("IM-0001-icontour-manual.txt", None),
        ("IM-0001-0048-icontour-manual.txt.bak", None),
        ("IM-0001-0048-i-manual.txt", None),
        ("notes.txt", None),
    ],
)
def test_the_name_tells_structure_and_slice(name: str, expected: tuple[str, int] | None) -> None:
    found = SunnybrookText().find(f"contourfiles/A/{name}", LabelOptions())
    assert (found is None) == (expected is None)
    if found is not None and expected is not None:
        (ref,) = found.refs
        assert (ref.name, ref.target) == (expected[0], SliceNumber(1, expected[1]))
        assert ref.source == ref.path == f"contourfiles/A/{name}"


def test_the_origin_is_taken_off(tmp_path: Path) -> None:
    assert read(tmp_path, SQUARE, contour_origin=1).tolist() == [[9, 9], [19, 9], [19, 19], [9, 19]]
    assert read(tmp_path, SQUARE, contour_origin=0).tolist() == [[10, 10], [20, 10], [20, 20], [10, 20]]


@pytest.mark.parametrize(
    "data",
    [
        SQUARE.replace(b"\n", b"\r\n"),
        b"\xef\xbb\xbf" + SQUARE,
        SQUARE + b"\n \n\n",
        SQUARE + b"10 10\n",
        SQUARE.replace(b"20 10\n", b"20 10\n20 10\n"),
        SQUARE.rstrip(),
        SQUARE.replace(b" ", b"\t"),
        b"  10.0  1e1 \n20. +10\n20 20\n10 20\n",
    ],
    ids=["crlf", "bom", "blank-end", "closed", "repeated", "no-last-newline", "tabs", "spellings"],
)
def test_harmless_differences_are_normalised(tmp_path: Path, data: bytes) -> None:
    assert read(tmp_path, data).tolist() == read(tmp_path, SQUARE).tolist()


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "empty"),
        (b"\n\n", "empty"),
        (b"10 10\nnan 3\n5 5\n", "line 2"),
        (b"10 10\ninf 3\n5 5\n", "line 2"),
        (b"10 10\n1_000 3\n5 5\n", "line 2"),
        ("10 10\n٣ 3\n5 5\n".encode(), "line 2"),
        (b"10 10\n20 10 5\n20 20\n", "line 2"),
        (b"10 10\n20\n20 20\n", "line 2"),
        (b"10,10\n20,10\n20,20\n", "line 1"),
        (b"10 10\n\n20 10\n20 20\n", "line 2"),
        (b"10 10\n20 10\n0x1F 3\n", "line 3"),
        (b"10 10\n20 10\n20 20\n\x00", "line 4"),
        (b"10 10\n20 10\n", "distinct points"),
        (b"10 10\n20 10\n10 10\n20 10\n", "distinct points"),
        (b"10 10\n20 10\n30 10\n", "no area"),
        (b"10 10\n1e9 10\n20 20\n", "line 2"),
        (b"10 10\n1e99 10\n20 20\n", "line 2"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(tmp_path: Path, data: bytes, said: str) -> None:
    with pytest.raises(ContourError, match=said):
        read(tmp_path, data)


def test_limits_name_their_option(tmp_path: Path) -> None:
    with pytest.raises(ContourError, match="`max_contour_points`"):
        read(tmp_path, SQUARE * 100, max_contour_points=100)
    with pytest.raises(ContourError, match="`max_contour_bytes`"):
        read(tmp_path, SQUARE, max_contour_bytes=10)


@given(st.binary(max_size=200))
def test_any_bytes_give_a_ring_or_one_clear_error(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    folder = tmp_path_factory.mktemp("any")
    try:
        ring = read(folder, data)
    except ContourError as error:
        assert "\n" not in str(error)  # noqa: PT017  - either outcome is right
    else:
        assert np.isfinite(ring).all()
        assert len(ring) >= 3


@given(
    st.lists(
        st.tuples(*[st.integers(-1000, 1000).map(lambda n: n / 2)] * 2), min_size=3, max_size=50, unique=True
    )
)
def test_points_come_back_as_written(
    tmp_path_factory: pytest.TempPathFactory, points: list[tuple[float, float]]
) -> None:
    text = "".join(f"{x + 1:.2f} {y + 1:.2f}\n" for x, y in points)
    try:
        ring = read(tmp_path_factory.mktemp("points"), text.encode())
    except ContourError as error:
        assert "area" in str(error)  # noqa: PT017  - all on one line
    else:
        assert ring.tolist() == [list(point) for point in points]


@given(
    st.lists(st.tuples(st.integers(0, 999_999), st.integers(0, 999_999)), min_size=3, unique=True),
    st.integers(1, 9),
    st.sampled_from([b"\n", b"\r\n"]),
)
def test_numbers_of_fixed_decimals_are_read_as_float_reads_them(
    numerators: list[tuple[int, int]], decimals: int, end: bytes
) -> None:
    texts = [
        [f"{value * 7919 / 10**decimals % 999_999:.{decimals}f}" for value in pair] for pair in numerators
    ]
    data = end.join(" ".join(pair).encode() for pair in texts)
    kinds = {sunnybrook._decimals(line.translate(sunnybrook._DIGITS_AS_ZEROS)) for line in data.split(b"\n")}
    assert kinds == {decimals}
    found = sunnybrook._points(data, LabelOptions())
    assert found.tolist() == [[float(x), float(y)] for x, y in texts]


def test_the_largest_numbers_of_fixed_decimals_are_exact() -> None:
    text = "999999.999999999"
    found = sunnybrook._points(f"{text} {text}\n{text} 0.000000001".encode(), LabelOptions())
    assert found.tolist() == [[float(text)] * 2, [float(text), 1e-9]]
