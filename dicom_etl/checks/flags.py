"""Which labels are in doubt: one rule for all who leave out, mark or count them.

A finding flags the label that it doubts: one structure of one row. A finding about two labels that do not go together
stands twice, once for each; where other evidence tells which of them is wrong, the other's becomes a note.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from dicom_etl.records import Issue

LABEL_FINDINGS = frozenset(
    {
        "area-jump",
        "constant-image",
        "contour-outside-image",
        "duplicate-contour",
        "duplicate-image",
        "inner-outside-outer",
        "misaligned",
        "phase-order",
        "self-intersection",
        "study-exchanged",
        "tiny-contour",
    }
)
"""The codes that speak of a label that is in the dataset; other codes speak of inputs that were left out."""

_BOTH_WRONG = "misaligned"
"""Of two contours that were exchanged neither is where it belongs."""


def doubts(issue: Issue) -> bool:
    """Tell whether a finding doubts a label that is in the dataset."""
    return issue.code in LABEL_FINDINGS and issue.severity != "note"


def label_flags(
    issues: Iterable[Issue], patients: Sequence[str], drawn: Mapping[str, NDArray[np.bool_]]
) -> dict[str, list[str]]:
    """Return the codes that doubt each label, by structure and row, in order and parted by spaces; "" for none.

    A finding without a row is about all rows of its patient (``patients``, by row), one without a structure about all
    that is drawn there; ``drawn`` (row,) tells where each structure is.
    """
    codes: dict[str, list[set[str]]] = {name: [set() for _ in patients] for name in drawn}
    rows_of: dict[str, list[int]] = {}
    for row, patient in enumerate(patients):
        rows_of.setdefault(patient, []).append(row)
    for issue in filter(doubts, issues):
        rows = rows_of.get(issue.patient_id, []) if issue.sample is None else [issue.sample]
        for name in [issue.structure] if issue.structure in codes else codes if not issue.structure else ():
            for row in rows:
                if drawn[name][row]:
                    codes[name][row].add(issue.code)
    return {name: [" ".join(sorted(found)) for found in rows] for name, rows in codes.items()}


def clear_partners(issues: Sequence[Issue], known: Iterable[Issue] = ()) -> list[Issue]:
    """Make notes of findings about labels that other evidence clears; their order stays.

    Of two labels that do not go together one is wrong. That is the one that another finding doubts as well: one about
    it alone, else one of another kind about it and a third label (a copied outer contour that its inner one leaves).
    Where that tells nothing, both stay in doubt. ``issues`` are all about one study, or across studies; one about two
    labels has ``path`` and ``other_path``, and stands for each of them once. Those ``known`` count as evidence too.
    """
    pairs = [issue for issue in issues if doubts(issue) and issue.other_path and issue.code != _BOTH_WRONG]
    wrong = {
        issue.path
        for issue in (*known, *issues)
        if doubts(issue) and (not issue.other_path or issue.code == _BOTH_WRONG)
    }
    edges = {(issue.code, frozenset((issue.path, issue.other_path))) for issue in pairs}
    open_edges = [(code, pair) for code, pair in edges if pair.isdisjoint(wrong)]
    kinds: dict[str, set[str]] = {}
    for code, pair in open_edges:
        for path in pair:
            kinds.setdefault(path, set()).add(code)
    wrong |= {path for path, codes in kinds.items() if len(codes) > 1}
    unexplained = {(code, path) for code, pair in edges if pair.isdisjoint(wrong) for path in pair}

    cleared = {
        id(issue)
        for issue in pairs
        if issue.path not in wrong and (issue.code, issue.path) not in unexplained
    }
    why = "the other one is in doubt for more reasons"
    return [as_note(issue, why) if id(issue) in cleared else issue for issue in issues]


def as_note(issue: Issue, why: str) -> Issue:
    """Return a finding as one that doubts nothing any more, with the reason."""
    return replace(issue, severity="note", message=f"{issue.message}; {why}")
