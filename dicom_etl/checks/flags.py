"""The stable words of findings, which labels they put in doubt, and how a person reads them: one rule for everybody.

A finding flags the label that it doubts: one structure of one row. A finding about two labels that do not go together
stands twice, once for each; where other evidence tells which of them is wrong, the other's becomes a note.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dicom_etl.records import Issue, Severity

LABEL_FINDINGS = {
    "area-jump": "an area is out of step with its neighbours along the stack",
    "constant-image": "an image shows next to nothing",
    "contour-outside-image": "a contour leaves the image",
    "duplicate-contour": "one contour stands for two slices, two structures or two patients",
    "duplicate-image": "one image stands for two slices or two patients",
    "inner-outside-outer": "an inner contour leaves its outer one",
    "misaligned": "a contour does not lie on the wall that the image shows",
    "phase-order": "the ventricle is larger at end-systole than at end-diastole, or they lie at the wrong times",
    "self-intersection": "an outline crosses itself",
    "study-exchanged": "the contours of a study are not of its images",
    "tiny-contour": "a contour encloses next to nothing",
}
"""What speaks of a label that is in the dataset."""

FILE_FINDINGS = {
    "derived-differs": "a column does not follow from what it is derived from",
    "digest-mismatch": "the image or a mask of a row does not have the row's SHA-256",
    "doubtful-series": "labels may have been drawn on another series",
    "incomplete-series": "a location lacks phases that the others have",
    "mask-differs": "a mask is not what its contour gives under the recorded rule",
    "outer-without-inner": "an outer contour is drawn where the inner one is not",
    "patient-in-two-splits": "a patient, or patients that share data, are in two subsets of a split",
    "schema": "names, types, shapes or attributes are not those of the format",
    "seal-broken": "the bytes are not those that ingest sealed, or not those that --expect names",
    "source-changed": "the dataset is not what SOURCE gives now",
}
"""What speaks of the dataset, or of a study in it, but of no label."""

CODES = {
    **LABEL_FINDINGS,
    **FILE_FINDINGS,
    "ambiguous-label": "two labels of one structure on one image",
    "ambiguous-series": "several series could be the one that labels were drawn on, or none is certain",
    "bad-field-strength": "MagneticFieldStrength is no number that can be; taken as unknown",
    "bad-manufacturer": "Manufacturer is no text that can be stored; taken as unknown",
    "changed-while-read": "a file is not what it was when it was planned",
    "decision-stale": "a decision matches nothing, or its label was drawn again since",
    "empty-structure": "a label file names a structure and draws nothing of it",
    "frame-order": "frames are in storage order, for nothing says another one",
    "highbit-absent": "HighBit is absent; taken as BitsStored - 1",
    "instance-mismatch": "InstanceNumber and file names give labels different images",
    "invalid-uid": "a UID breaks a rule of DICOM; nothing depends on it",
    "inverted": "MONOCHROME1: the image was inverted",
    "label-dropped": "a label, or a study, was left out by a decision",
    "link-missing": "the link table and the folders do not go together",
    "mixed-patients": "one folder that stands for one study holds several PatientIDs",
    "name-unmapped": "a label has a name that stands for no structure",
    "no-preamble": "a DICOM file without preamble or file meta",
    "not-an-image": "a DICOM object, or another file, that is no image",
    "off-plane": "a label does not lie in the plane of its image",
    "open-outline": "an outline is not closed",
    "origin-unproven": "nothing public proves which number the first pixel of a contour has",
    "orphan-contour": "a label has no usable image",
    "other-frame-of-reference": "a label names another frame of reference than its image",
    "padded-pixels": "pixel data are longer than they should be, by padding",
    "patient-id-shared": "one PatientID in several folders: a placeholder of anonymisation",
    "patient-in-two-folders": "one PatientID in several folders, but not in all",
    "phases-unknown": "nothing says at which time of the beat images were taken",
    "pydicom-warning": "pydicom warned about a file",
    "ring-repeated": "an outline is drawn twice in one label",
    "rings-nested": "an outline of a label lies inside another one",
    "text-number": "a number of a header is spelled oddly",
    "text-uid": "a UID is text; it groups as it stands",
    "trailing-zeros": "zeros follow the data set of a file",
    "unknown-format": "a label file of a kind that is not read",
    "unlabeled": "an image without a label",
    "unordered-elements": "elements of a file are not in order",
    "unreadable-contour": "a label cannot be used",
    "unreadable-image": "an image cannot be used",
    "vr-mismatch": "an element has another type than the standard gives it",
    "wrong-size": "an image has another size than is expected",
}
"""All that is said, of inputs too; ``docs/findings.md`` has an entry for each."""

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
    if not pairs:
        return list(issues)
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
    return issue._replace(severity="note", message=f"{issue.message}; {why}")


HEADINGS = ("left out (not in the file)", "in the file, doubtful", "notes")
"""Of errors and warnings by what they are about, then of what needs no decision."""
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")
_FIRST = ("seal-broken", "study-exchanged", "mixed-patients", "decision-stale")
"""What spoils most comes first."""


@dataclass(frozen=True, slots=True)
class Group:
    """One kind of finding on one study; ``heading`` is an index into `HEADINGS`."""

    heading: int
    severity: Severity
    code: str
    patient_id: str
    issues: tuple[Issue, ...]

    @property
    def samples(self) -> int:
        """How many rows they are about; for what is not in the file, how many inputs; 0 for a study as a whole."""
        if any(issue.sample is not None for issue in self.issues):
            return len({issue.sample for issue in self.issues} - {None})
        return 0 if in_file(self.issues[0]) else len({(issue.path, issue.frame) for issue in self.issues})

    @property
    def counted(self) -> str:
        """The count in words."""
        return counted(self.samples, self.word) or "the study"

    @property
    def word(self) -> str:
        """What is counted."""
        return "sample" if in_file(self.issues[0]) else "input"


def counted(count: int, word: str) -> str:
    """Return a count in words; "" for none."""
    return f"{count} {word}{'s' if count > 1 else ''}" if count else ""


def in_file(issue: Issue) -> bool:
    """Tell whether a finding is about what is in the dataset."""
    return issue.sample is not None or issue.code in LABEL_FINDINGS or issue.code in FILE_FINDINGS


def group_issues(issues: Iterable[Issue]) -> list[Group]:
    """Gather findings by heading, severity, code and patient, in the order in which a person should read them."""
    kinds: dict[tuple[int, int, int, str, str], list[Issue]] = {}
    for issue in issues:
        heading = 2 if issue.severity == "note" else int(in_file(issue))
        rank = _FIRST.index(issue.code) if issue.code in _FIRST else len(_FIRST)
        key = (heading, SEVERITIES.index(issue.severity), rank, issue.code, issue.patient_id)
        kinds.setdefault(key, []).append(issue)
    return [
        Group(heading, SEVERITIES[severity], code, patient, tuple(issues))
        for (heading, severity, _, code, patient), issues in sorted(kinds.items())
    ]
