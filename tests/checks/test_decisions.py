from __future__ import annotations

import csv
import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicom_etl.checks.decisions import (
    COLUMNS,
    Decision,
    Decisions,
    Ledger,
    RowLabels,
    settled_before,
)
from dicom_etl.dataset.digest import contour_key, contour_sha256
from dicom_etl.errors import ConfigError
from dicom_etl.records import Decided, Issue

RING = (np.array([[0.0, 0.0], [4.0, 0.0], [4.0, 4.0]]),)
SHA = contour_sha256(RING)
LABEL = RowLabels("d/1.dcm", 0, {"icontour": contour_key(RING), "ocontour": 7})
FOUND = Issue("warning", "misaligned", "m", "labels", "c/1.txt", "A", "icontour", 3)
ORPHAN = Issue("error", "orphan-contour", "m", "link", "c/9.txt", "A", "icontour")


def table(*lines: str, header: str = "patient_id,source_image,frame,structure,code,decision,sha256") -> bytes:
    return "\n".join([header, *lines]).encode()


def ledger(*lines: str) -> Ledger:
    return Ledger(Decisions.parse(table(*lines), "d.csv"))


def settle(book: Ledger, issue: Issue = FOUND) -> str:
    return book.settle([issue], {3: LABEL})[0].severity


@pytest.mark.parametrize(
    "line",
    [
        f"A,d/1.dcm,0,icontour,misaligned,keep,{SHA}",
        "A,d/1.dcm,,icontour,misaligned,keep,",
        "A,d/1.dcm,,*,*,keep,",
        "A,*,,*,misaligned,keep,",
        f"A,*,,icontour,*,keep,{SHA}",
    ],
)
def test_a_finding_that_is_kept_is_a_note(line: str) -> None:
    book = ledger(line)
    assert settle(book) == "note"
    assert book.finish() == []
    assert list(book.decided) == [Decided("A", 3, "icontour", "misaligned", "keep")]


@pytest.mark.parametrize(
    "line",
    [
        "B,d/1.dcm,0,icontour,misaligned,keep,",
        "A,d/2.dcm,0,icontour,misaligned,keep,",
        "A,d/1.dcm,1,icontour,misaligned,keep,",
        "A,d/1.dcm,0,ocontour,misaligned,keep,",
        "A,d/1.dcm,0,icontour,area-jump,keep,",
        "A,d/1.dcm,0,icontour,misaligned,drop,",
    ],
)
def test_what_matches_nothing_changes_nothing_and_is_named(line: str) -> None:
    book = ledger(line)
    assert settle(book) == "warning"
    (stale,) = book.finish()
    assert (stale.severity, stale.code, stale.patient_id) == ("warning", "decision-stale", line[0])
    assert "line 2" in stale.message
    assert "matches no label" in stale.message


def test_a_label_that_was_drawn_again_is_not_decided() -> None:
    book = ledger(f"A,d/1.dcm,0,icontour,misaligned,keep,{'0' * 64}")
    assert settle(book) == "warning"
    (stale,) = book.finish()
    assert "drawn again" in stale.message


def test_what_was_left_out_is_decided_by_its_path_whichever_way() -> None:
    for decision in ("keep", "drop"):
        book = ledger(f"A,c/9.txt,,icontour,orphan-contour,{decision},")
        assert settle(book, ORPHAN) == "note"
        assert book.finish() == []


def test_a_finding_about_a_study_is_kept_by_any_image() -> None:
    found = Issue("error", "study-exchanged", "m", "labels", "contourfiles/A", "A")
    assert settle(ledger("A,*,,*,study-exchanged,keep,"), found) == "note"
    assert settle(ledger("A,*,,*,study-exchanged,drop,"), found) == "error", (
        "its labels go, then it is not found"
    )


def test_what_is_dropped_is_told_to_whoever_reads_the_image() -> None:
    book = ledger(
        f"A,d/1.dcm,0,icontour,misaligned,drop,{SHA}", "A,d/1.dcm,,ocontour,*,drop,", "A,*,,*,area-jump,drop,"
    )
    drops = book.drops("A", "d/1.dcm", 0)
    assert [(drop.structure, drop.key) for drop in drops] == [
        ("icontour", contour_key(RING)),
        ("ocontour", None),
    ]
    assert book.drops("A", "d/1.dcm", 2) == drops[1:]
    assert book.drops("B", "d/1.dcm", 0) == ()
    done = Issue("note", "label-dropped", "m", "decide", "c/1.txt", "A", "icontour", None, "d/1.dcm", 0)
    book.settle([done], {})
    assert list(book.decided) == [Decided("A", -1, "icontour", "misaligned", "drop")]
    assert len(book.finish()) == 2


def test_an_outer_contour_whose_inner_one_was_dropped_is_no_new_doubt() -> None:
    alone = Issue("warning", "outer-without-inner", "m", "labels", "c/1-o.txt", "A", "ocontour", 3)
    label = {3: RowLabels("d/1.dcm", 0, {"ocontour": 7})}
    for line, severity in (
        ("A,d/1.dcm,0,icontour,*,drop,", "note"),
        ("A,d/2.dcm,0,icontour,*,drop,", "warning"),
    ):
        assert ledger(line).settle([alone], label)[0].severity == severity


def test_a_drop_by_finding_names_the_labels_that_have_it() -> None:
    book = ledger("A,*,,*,misaligned,drop,")
    assert book.flagged([FOUND, ORPHAN], {3: LABEL}) == [
        Decision("A", "d/1.dcm", 0, "icontour", "misaligned", "drop", "", 2)
    ]


def test_a_label_that_is_fine_needs_no_finding() -> None:
    book = ledger(f"A,d/1.dcm,,icontour,*,keep,{SHA}")
    book.look("A", LABEL)
    assert book.finish() == []


def test_a_study_is_excluded_whole_or_by_structure() -> None:
    book = Ledger(Decisions().excluding(["A", "B:ocontour", "C:1"]))
    assert book.excluded("A") is not None
    assert book.excluded("B") is None
    assert [drop.structure for drop in book.drops("B", "d", 0)] == ["ocontour"]
    assert book.excluded("C:1") is not None, "an id may hold a colon"


def test_what_a_dataset_records_is_decided_again() -> None:
    decided = [Decided("A", 3, "icontour", "misaligned", "keep")]
    assert [i.severity for i in settled_before([FOUND, ORPHAN], decided)] == ["note", "error"]
    other = [
        Decided("A", 3, "icontour", "misaligned", "drop"),
        Decided("A", 4, "icontour", "misaligned", "keep"),
    ]
    assert settled_before([FOUND], other) == [FOUND]


def test_notes_blank_lines_and_unknown_people_are_read_over() -> None:
    text = (
        "\ufeffpatient_id,source_image,frame,structure,code,decision,sha256,why,who\r\n"
        'A,d/1.dcm,,icontour,misaligned,,,"a note, no decision",Somebody\r\n\r\n'
        "A,d/1.dcm,,icontour,misaligned,keep,,,\r\n"
    )
    decisions = Decisions.parse(text.encode(), "d.csv")
    assert [each.decision for each in decisions.entries] == ["keep"]
    assert "Somebody" not in decisions.of("A")
    assert decisions.of("B") == "[]"


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "must name the columns"),
        (b"patient,decision\n", "must name the columns"),
        (table(header="patient_id,patient_id,decision"), "must name the columns"),
        (b"\xff\xfe", "no CSV file in UTF-8"),
        (table("A,*,,*,*,maybe,"), "line 2: the decision is 'maybe'"),
        (table("A,*,,*,area-jumps,drop,"), "no finding 'area-jumps'; area-jump?"),
        (table("A,*,x,*,*,drop,"), "the frame is 'x'"),
        (table("A,*,,*,*,drop,12"), "no SHA-256"),
        (table("A,*,,*,seal-broken,keep,"), "which no decision mends"),
        (table("A,*,,*,*,drop"), "fewer values"),
        (table("A,*,,*,*,drop,,,"), "more values"),
    ],
)
def test_a_file_that_is_none_is_refused_with_the_line(data: bytes, said: str) -> None:
    with pytest.raises(ConfigError, match=r"d\.csv") as error:
        Decisions.parse(data, "d.csv")
    assert said in str(error.value)


@given(
    st.lists(
        st.tuples(*[st.text(st.characters(blacklist_categories=("Cs", "Cc")), min_size=1)] * 2), max_size=5
    )
)
def test_whatever_ids_hold_is_read_as_it_was_written(names: list[tuple[str, str]]) -> None:
    out = io.StringIO(newline="")
    writer = csv.writer(out)
    writer.writerow(COLUMNS)
    for patient, image in names:
        writer.writerow([patient, image, "", "*", "*", "drop", "", "", ""])
    entries = Decisions.parse(out.getvalue().encode(), "d.csv").entries
    assert [(each.patient_id, each.source_image) for each in entries] == [
        (patient.strip(), image.strip() or "*") for patient, image in names
    ]
