"""Texts of lines of one shape: the same numbers as `float` reads, and no other text is taken for one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicom_etl.contours.columns import DIGITS_AS_ZEROS, points_in_columns


def read(data: bytes) -> list[list[float]] | None:
    points = points_in_columns(data, data.translate(DIGITS_AS_ZEROS), data.count(b"\n") + 1)
    return None if points is None else points.tolist()


@given(st.integers(1, 6), st.integers(1, 6), st.integers(1, 9), st.integers(2, 60), st.data())
def test_numbers_are_those_that_float_reads(
    left: int, right: int, decimals: int, lines: int, data: st.DataObject
) -> None:
    def number(digits: int) -> str:
        whole = data.draw(st.integers(0, 10**digits - 1))
        return f"{whole:0{digits}}.{data.draw(st.integers(0, 10**decimals - 1)):0{decimals}}"

    texts = [[number(left), number(right)] for _ in range(lines)]
    found = read("\n".join(" ".join(pair) for pair in texts).encode())
    assert found == [[float(text) for text in pair] for pair in texts]


def test_the_largest_numbers_are_exact() -> None:
    text = "999999.999999999"
    assert read(f"{text} {text}\n{text} {text}".encode()) == [[float(text)] * 2] * 2


@pytest.mark.parametrize(
    "data",
    [
        b"10.50 20.50",
        b"10.50 20.50\n10.50 120.50",
        b"10.50 20.50\n110.50 20.5",
        b"10.50 20.50\n1050 20.500",
        b"10.50 20.50\n10.5020.50 ",
        b"10.50 20.5\n10.50 20.5",
        b"10 20\n10 20",
        b"-1.50 20.50\n-1.50 20.50",
        b"1.50 2.50 3.50\n1.50 2.50 3.50",
        b"1e5.0 2.50\n1e5.0 2.50",
        b"1234567.5 1.5\n1234567.5 1.5",
        b"1.5 1.1234567890\n1.5 1.1234567890",
        b"\n\n",
        b"\n",
        b"",
        b"1.5 2.5\r\n1.5 2.5",
        b"1.5 2.5\r\n1.5 2.5\r",
    ],
)
def test_other_texts_are_left_to_others(data: bytes) -> None:
    assert read(data) is None
