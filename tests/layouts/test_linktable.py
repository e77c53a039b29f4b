"""The link table: what is accepted, what stops the run, and that no message repeats what is in it."""

from __future__ import annotations

import csv
import io
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dicom_etl.errors import SourceError
from dicom_etl.layouts.linked_folders import MAX_BYTES, read_link_table
from dicom_etl.layouts.pseudonyms import id_key
from dicom_etl.records import Link
from tests.builders import write_anew
from tests.costs import little_spent

HEADER = b"patient_id,original_id\n"
ROWS = (Link("P1", "S1"), Link("P2", "S2"))


def read(folder: Path, data: bytes) -> tuple[Link, ...]:
    path = folder / "link.csv"
    write_anew(path, data)
    return read_link_table(path)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(HEADER + b"P1,S1\nP2,S2\n", id="plain"),
        pytest.param(b"\xef\xbb\xbf" + HEADER + b"P1,S1\nP2,S2\n", id="bom"),
        pytest.param((HEADER + b"P1,S1\nP2,S2\n").replace(b"\n", b"\r\n"), id="crlf"),
        pytest.param(HEADER + b"P1,S1\nP2,S2", id="no-last-newline"),
        pytest.param(HEADER + b"P1,S1\n\n\nP2,S2\n\n\n", id="blank-lines"),
        pytest.param(HEADER + b"P1,S1\n  , \nP2,S2\n,\n", id="blank-cells"),
        pytest.param(HEADER + b" P1 ,\tS1\nP2,S2  \n", id="spaces"),
        pytest.param(HEADER + b'"P1","S1"\n"P2",S2\n', id="quotes"),
        pytest.param(b"original_id,patient_id\nS1,P1\nS2,P2\n", id="other-order"),
        pytest.param(b"original_id,site,patient_id\nS1,x,P1\nS2,,P2\n", id="further-column"),
        pytest.param(b'patient_id,note,original_id\nP1,"a, b\nc",S1\nP2,"""",S2\n', id="quoted-note"),
        pytest.param(b"Patient_ID,ORIGINAL_ID\nP1,S1\nP2,S2\n", id="header-case"),
        pytest.param(b" patient_id , original_id\nP1,S1\nP2,S2\n", id="header-spaces"),
        pytest.param(b"patient_id,original_id,,\nP1,S1,,\nP2,S2,,\n", id="trailing-commas"),
    ],
)
def test_rows_come_in_the_order_of_the_file(tmp_path: Path, data: bytes) -> None:
    assert read(tmp_path, data) == ROWS


@pytest.mark.parametrize(
    "text",
    ["Zoë", "患者1", "P 1", "P.1", "-1", "=1+1", "P'1", "O''", "ß", "1e5", "a" * 255, "..a", "...", "%2e"],
)
def test_ids_that_folders_can_have_are_taken_as_they_are(tmp_path: Path, text: str) -> None:
    assert read(tmp_path, HEADER + f"{text},S1\n".encode()) == (Link(text, "S1"),)


REFUSED = {
    "empty": (b"", "empty"),
    "bom-only": (b"\xef\xbb\xbf", "empty"),
    "header-only": (HEADER, "no rows"),
    "blank-rows-only": (HEADER + b"\n,\n", "no rows"),
    "no-header": (b"KANARIE1,S1\nP2,S2\n", "row 1: it must name the columns"),
    "blank-first-line": (b"\n" + HEADER + b"P1,S1\n", "row 1"),
    "one-column": (b"patient_id\nP1\n", "original_id is there 0 times"),
    "column-twice": (b"patient_id,patient_id,original_id\nP,Q,S\n", "patient_id is there 2 times"),
    "column-twice-by-case": (b"patient_id,PATIENT_ID,original_id\nP,Q,S\n", "patient_id is there 2 times"),
    "spaces": (b"patient_id original_id\nKANARIE S\n", "commas, semicolons or tabs"),
    "bom-in-the-middle": (b"\n\xef\xbb\xbf" + HEADER, "row 1"),
    "two-boms": (b"\xef\xbb\xbf" * 2 + HEADER + b"P1,S1\n", "patient_id is there 0 times"),
    "blank-original": (HEADER + b"KANARIE,\n", "row 2, original_id: the id is blank"),
    "blank-patient": (HEADER + b" ,KANARIE\n", "row 2, patient_id: the id is blank"),
    "short-row": (HEADER + b"P0,S0\nKANARIE\n", "row 3: 1 columns"),
    "long-row": (HEADER + b"KANARIE,S1,S2\n", "row 2: 3 columns"),
    "comma-in-id": (HEADER + b"KANARIE,Jane,S1\n", "row 2: 3 columns"),
    "patient-twice": (HEADER + b"KANARIE,S1\nKANARIE,S2\n", "row 3, patient_id: the same id as in row 2"),
    "row-twice": (HEADER + b"KANARIE,S1\n\nKANARIE,S1\n", "row 4, patient_id: the same id as in row 2"),
    "patient-twice-by-case": (HEADER + b"KANARIE,S1\nkanarie,S2\n", "same id"),
    "patient-twice-by-zeros": (HEADER + b"KANARIE1,S1\nKANARIE01,S2\n", "same id"),
    "patient-twice-by-composition": (HEADER + "Zo\u00eb,S1\nZoe\u0308,S2\n".encode(), "same id"),
    "original-twice": (HEADER + b"P1,KANARIE\nP2,KANARIE\n", "row 3, original_id: the same id"),
    "original-twice-by-case": (HEADER + b"P1,KANARIE\nP2,kanarie\n", "same id"),
    "parent": (HEADER + b"../KANARIE,S1\n", "path"),
    "absolute": (HEADER + b"/KANARIE,S1\n", "path"),
    "below": (HEADER + b"KANARIE/x,S1\n", "path"),
    "backslash": (HEADER + b"KANARIE\\b,S1\n", "path"),
    "dot": (HEADER + b".,S1\n", "path"),
    "dot-dot": (HEADER + b"P1,..\n", "row 2, original_id: the id holds a path"),
    "nul": (HEADER + b"KANARIE\x001,S1\n", "control character|CSV"),
    "escape": (HEADER + b"KANARIE\x1b[2J,S1\n", "control character"),
    "line-break": (HEADER + b'"KANARIE\nJane",S1\n', "control character"),
    "delete": (HEADER + b"KANARIE\x7f,S1\n", "control character"),
    "right-to-left": (HEADER + "KANARIE\u202e,S1\n".encode(), "control character"),
    "zero-width": (HEADER + "KANARIE\u200b,S1\n".encode(), "control character"),
    "too-long": (HEADER + b"KANARIE" * 40 + b",S1\n", "280 bytes long"),
    "open-quote": (HEADER + b'KANARIE,"S1\n', "CSV"),
    "text-after-quote": (HEADER + b'"KANARIE"x,S1\n', "CSV"),
    "huge-field": (HEADER + b"KANARIE" * 20_000 + b",S1\n", "CSV"),
    "latin-1": (HEADER + b"KANARIE\xe9,S1\n", "UTF-8 text at byte 30"),
    "utf-16": ((HEADER + b"KANARIE,S1\n").decode().encode("utf-16"), "UTF-8 text at byte 0"),
    "zip": (b"PK\x03\x04KANARIE\x00\x00", "row 1"),
    "too-large": (HEADER + b"\n" * MAX_BYTES, "larger than"),
}


@pytest.mark.parametrize(("data", "said"), REFUSED.values(), ids=REFUSED.keys())
def test_a_wrong_table_is_never_used_in_part(tmp_path: Path, data: bytes, said: str) -> None:
    with little_spent(), pytest.raises(SourceError, match=said) as caught:
        read(tmp_path, data)
    assert "kanarie" not in str(caught.value).casefold()
    assert "jane" not in str(caught.value).casefold()
    assert str(tmp_path) not in str(caught.value)


def test_there_are_as_many_cases_as_promised() -> None:
    assert len(REFUSED) + 14 >= 50


def test_a_table_that_cannot_be_read_is_said_without_its_path(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="cannot be read: No such file or directory") as caught:
        read_link_table(tmp_path / "KANARIE.csv")
    assert "KANARIE" not in str(caught.value)


CELLS = st.one_of(
    st.text(max_size=6),
    st.sampled_from(["P1", "p01", "S1", "", "..", "patient_id", "original_id", "a/b", "\0", '"', "1", "01"]),
)
TABLES = st.one_of(
    st.binary(max_size=120),
    st.lists(st.lists(CELLS, max_size=4), max_size=6).map(
        lambda rows: "\n".join(",".join(row) for row in [["patient_id", "original_id"], *rows]).encode(
            "utf-8", "surrogatepass"
        )
    ),
)
WHOLE_COUNT = bool(os.environ.get("DICOM_ETL_WHOLE_COUNTS"))


@settings(max_examples=5000 if WHOLE_COUNT else 300)
@given(TABLES)
def test_any_table_is_read_whole_or_refused_in_one_line(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    folder = tmp_path_factory.getbasetemp()
    try:
        links = read(folder, data)
    except SourceError as error:
        assert str(error).isprintable()  # noqa: PT017  - either outcome is right
        return
    rows = list(csv.reader(io.StringIO(data.decode("utf-8-sig"), newline="")))
    assert len(links) == sum(any(cell.strip() for cell in row) for row in rows[1:])
    for name in ("patient_id", "original_id"):
        ids = [getattr(link, name) for link in links]
        assert len({id_key(text) for text in ids}) == len(ids)
        assert all(Path(text).name == text for text in ids)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("SC-HF-I-1", "SC-HF-I-01"),
        ("SCD0000101", "scd101"),
        ("a0", "a000"),
        ("x01y002", "X1Y2"),
        ("Zo\u00eb", "Zoe\u0308"),
    ],
)
def test_zero_padding_case_and_composition_do_not_count(one: str, other: str) -> None:
    assert id_key(one) == id_key(other)


@given(st.integers(0, 10**6), st.integers(0, 10**6), st.integers(0, 4))
def test_different_numbers_stay_different(one: int, other: int, zeros: int) -> None:
    same = id_key(f"S-{one}") == id_key(f"S-{'0' * zeros}{other}")
    assert same == (one == other)


@pytest.mark.parametrize(
    ("text", "columns"),
    [
        (b"patient_id;original_id\nP1;S1\n", ()),
        (b"original_id\tx\tpatient_id\nS1\t,;\tP1\n", ()),
        (b'\xef\xbb\xbfPatientID,OriginalID,Gender\r\n"P1",S1,"M, 3"\r\n', ()),
        (b"Subject;Name;patient_id\nP1;S1;no\n", ("subject", "Name")),
    ],
)
def test_tables_of_other_headings_and_separators(
    text: bytes, columns: tuple[str, ...], tmp_path: Path
) -> None:
    path = tmp_path / "link.csv"
    path.write_bytes(text)
    assert read_link_table(path, columns) == (Link("P1", "S1"),)
