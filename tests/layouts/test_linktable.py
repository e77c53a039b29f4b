"""The link table: what is accepted, and what stops the run."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicom_etl.errors import SourceError
from dicom_etl.layouts.linktable import id_key, read_link_table
from dicom_etl.records import Link

HEADER = b"patient_id,original_id\n"


def read(folder: Path, data: bytes) -> tuple[Link, ...]:
    path = folder / "link.csv"
    path.write_bytes(data)
    return read_link_table(path)


@pytest.mark.parametrize(
    "data",
    [
        HEADER + b"P1,S1\nP2,S2\n",
        b"\xef\xbb\xbf" + HEADER + b"P1,S1\nP2,S2\n",
        (HEADER + b"P1,S1\nP2,S2\n").replace(b"\n", b"\r\n"),
        HEADER + b' P1 ,"S1"\n\nP2,S2\n\n',
        b"original_id,site,patient_id\nS1,x,P1\nS2,,P2\n",
        b"Patient_ID,ORIGINAL_ID\nP1,S1\nP2,S2",
    ],
    ids=["plain", "bom", "crlf", "spaces-quotes-blank-lines", "further-columns", "case"],
)
def test_rows_come_in_the_order_of_the_file(tmp_path: Path, data: bytes) -> None:
    assert read(tmp_path, data) == (Link("P1", "S1"), Link("P2", "S2"))


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "empty"),
        (HEADER, "no rows"),
        (b"P1,S1\nP2,S2\n", "first line must name"),
        (b"patient_id\nP1\n", "original_id"),
        (b"patient_id,patient_id,original_id\nP,Q,S\n", "patient_id"),
        (HEADER + b"P1,\n", "row 2, original_id: the id is blank"),
        (HEADER + b"P1\n", "row 2: 1 columns"),
        (HEADER + b"P1,S1,S2\n", "row 2: 3 columns"),
        (HEADER + b"P1,S1\nP1,S2\n", "same id"),
        (HEADER + b"P1,S1\np01,S2\n", "same id"),
        (HEADER + b"P1,S1\nP2,s1\n", "same id"),
        (HEADER + b"../x,S1\n", "path"),
        (HEADER + b"/etc,S1\n", "path"),
        (HEADER + b"..,S1\n", "path"),
        (HEADER + b"a\\b,S1\n", "path"),
        (HEADER + b"P\x001,S1\n", "control character|CSV"),
        (HEADER + b'P1,"S1\n', "CSV"),
        (HEADER + b"P\xff,S1\n", "UTF-8"),
    ],
)
def test_a_wrong_table_is_never_used_in_part(tmp_path: Path, data: bytes, said: str) -> None:
    with pytest.raises(SourceError, match=said):
        read(tmp_path, data)


@pytest.mark.parametrize(
    ("one", "other"),
    [("SC-HF-I-1", "SC-HF-I-01"), ("SCD0000101", "scd101"), ("a0", "a000"), ("x01y002", "X1Y2")],
)
def test_zero_padding_and_case_do_not_count(one: str, other: str) -> None:
    assert id_key(one) == id_key(other)


@given(st.integers(0, 10**6), st.integers(0, 10**6), st.integers(0, 4))
def test_different_numbers_stay_different(one: int, other: int, zeros: int) -> None:
    same = id_key(f"S-{one}") == id_key(f"S-{'0' * zeros}{other}")
    assert same == (one == other)
