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

    Parameters
    ----------
    issues : iterable of Issue
        ``sample`` is the row that one is about, None for all rows of its patient; ``structure`` "" for all that is
        drawn there.
    patients : sequence of str
        Of each row.
    drawn : mapping of str to (row,) bool
        Where each structure is drawn.
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
    Where that tells nothing, both stay in doubt.

    Parameters
    ----------
    issues : sequence of Issue
        All about one study, or across studies; one about two labels has ``path`` and ``other_path``, and stands for
        each of them once.
    known : iterable of Issue
        Others that count as evidence.
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

    def cleared(issue: Issue) -> bool:
        return issue.path not in wrong and (issue.code, issue.path) not in unexplained

    in_pairs = {id(issue) for issue in pairs}
    return [
        replace(
            issue, severity="note", message=f"{issue.message}; the other one is in doubt for more reasons"
        )
        if id(issue) in in_pairs and cleared(issue)
        else issue
        for issue in issues
    ]
