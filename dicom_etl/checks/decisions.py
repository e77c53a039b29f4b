"""What a person decided about labels and findings: read from a CSV file, and applied to findings as they come.

``drop``: the label is not in the dataset. ``keep``: the finding counts no more; it becomes a note and flags nothing.
Pure: nothing here opens a file.
"""

from __future__ import annotations

import csv
import difflib
import hashlib
import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from dicom_etl.checks.flags import CODES, LABEL_FINDINGS, as_note, doubts
from dicom_etl.checks.sample_checks import INNER
from dicom_etl.dataset.digest import is_sha256
from dicom_etl.errors import ConfigError
from dicom_etl.records import Decided, Drop, Issue

COLUMNS = ("patient_id", "source_image", "frame", "structure", "code", "decision", "sha256", "why", "who")
"""Of the file, in the order in which the report writes them; all but the first and ``decision`` may be missing."""
ANY = "*"
DROPPED, STALE = "label-dropped", "decision-stale"
STAGE = "decide"
_ACCEPTED = "accepted by decision"


class Decision(NamedTuple):
    """One line of a decisions file, without who decided and why.

    ``source_image`` is as in ``/samples``, for what was left out the path that its issue names, or `ANY`; ``frame`` -1
    is any; ``sha256`` is that of the label's points (`dicom_etl.dataset.digest.contour_sha256`), "" for any. ``line``
    is 0 for one that was given as an option.
    """

    patient_id: str
    source_image: str = ANY
    frame: int = -1
    structure: str = ANY
    code: str = ANY
    decision: str = "drop"
    sha256: str = ""
    line: int = 0

    @property
    def key(self) -> int | None:
        """What `dicom_etl.dataset.digest.contour_key` gives for the label that it was decided about."""
        return int(self.sha256[:16], 16) if self.sha256 else None

    @property
    def of_finding(self) -> bool:
        """Whether it drops whatever label has a finding: which these are is known when all are looked at."""
        return self.decision == "drop" and self.source_image == ANY and self.code != ANY

    def names(self, image: str, frame: int, structure: str) -> bool:
        """Tell whether it is about a label: whether it holds for its points, `key` tells."""
        return (
            self.source_image in (ANY, image)
            and self.frame in (-1, frame)
            and self.structure in (ANY, structure)
        )


class RowLabels(NamedTuple):
    """What a row shows, so that decisions find it: its image, and the key of each structure's points."""

    image: str
    frame: int
    keys: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Decisions:
    """All that was decided; ``sha256`` is that of the file, "" for none."""

    entries: tuple[Decision, ...] = ()
    sha256: str = ""

    @classmethod
    def parse(cls, data: bytes, name: str) -> Decisions:
        """Read the bytes of a decisions file."""
        entries = [_entry(values, f"{name!r} line {line}", line) for line, values in _lines(data, name)]
        # A line without a decision is a note that somebody made.
        return cls(tuple(each for each in entries if each.decision), hashlib.sha256(data).hexdigest())

    def excluding(self, excluded: Iterable[str]) -> Decisions:
        """Return these with PATIENT or PATIENT:STRUCTURE dropped as well."""
        added = []
        for text in excluded:
            patient, colon, last = text.rpartition(":")
            is_structure = colon and last.isidentifier() and last == last.lower()
            added.append(Decision(patient, structure=last) if is_structure else Decision(text))
        return replace(self, entries=(*self.entries, *added))

    def resolved(self, drops: Iterable[Decision]) -> Decisions:
        """Return these with the labels that are to go by their findings named one by one."""
        found = tuple(drops)
        lines = {each.line for each in found}
        kept = (each for each in self.entries if not (each.of_finding and each.line in lines))
        return replace(self, entries=(*kept, *found))

    @property
    def by_finding(self) -> bool:
        """Whether some drop whatever label has a finding."""
        return any(each.of_finding for each in self.entries)

    def of(self, patient_id: str) -> str:
        """Return what is decided about a patient as one canonical text."""
        mine = sorted(each[:-1] for each in self.entries if each.patient_id == patient_id)
        return json.dumps(mine, separators=(",", ":"))


def decision_rows(data: bytes, name: str) -> list[list[str]]:
    """Return the lines of a decisions file with all of `COLUMNS`, who and why too; none of b""."""
    if not data:
        return []
    Decisions.parse(data, name)
    return [list(values.values()) for _, values in _lines(data, name)]


def _lines(data: bytes, name: str) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield the number and the values of each line of a decisions file, all of `COLUMNS` in their order."""
    try:
        rows = list(csv.reader(io.StringIO(data.decode("utf-8-sig"), newline=""), strict=True))
    except (UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(f"{name!r} is no CSV file in UTF-8: {error}") from None
    header = [column.strip() for column in rows[0]] if rows else []
    known = set(header) <= set(COLUMNS) and len(set(header)) == len(header)
    if not known or not {"patient_id", "decision"} <= set(header):
        raise ConfigError(f"{name!r}: its first line must name the columns {','.join(COLUMNS)}")
    for line, row in enumerate(rows[1:], start=2):
        if any(row):
            if len(row) != len(header):
                how = "more" if len(row) > len(header) else "fewer"
                raise ConfigError(f"{name!r} line {line} has {how} values than there are columns")
            yield line, dict.fromkeys(COLUMNS, "") | dict(zip(header, map(str.strip, row), strict=True))


def _entry(values: dict[str, str], where: str, line: int) -> Decision:
    code, decision, digest = values["code"] or ANY, values["decision"], values["sha256"].casefold()
    if decision not in ("keep", "drop", ""):
        raise ConfigError(f"{where}: the decision is {decision!r}; it must be keep or drop")
    if code != ANY and code not in CODES:
        near = difflib.get_close_matches(code, CODES, n=1)
        raise ConfigError(f"{where}: there is no finding {code!r}" + (f"; {near[0]}?" if near else ""))
    if decision == "keep" and code in NEVER_DECIDED:
        raise ConfigError(f"{where}: {code} means that the bytes are wrong, which no decision mends")
    if digest and not is_sha256(digest):
        raise ConfigError(f"{where}: {digest!r} is no SHA-256; it has 64 hexadecimal digits")
    frame = values["frame"] or "-1"
    if values["frame"] and not (frame.isascii() and frame.isdigit()):
        raise ConfigError(f"{where}: the frame is {frame!r}; it must be a number from 0, or empty")
    image, structure = values["source_image"] or ANY, values["structure"] or ANY
    return Decision(values["patient_id"], image, int(frame), structure, code, decision, digest, line)


NEVER_DECIDED = frozenset({"seal-broken", "digest-mismatch", "schema", STALE})


@dataclass(slots=True)
class Ledger:
    """Applies decisions to labels and findings, and knows at the end which of them held for nothing."""

    decisions: Decisions = field(default_factory=Decisions)
    decided: dict[Decided, None] = field(default_factory=dict)
    _of: dict[str, list[Decision]] = field(default_factory=dict)
    _used: set[Decision] = field(default_factory=set)
    _stale: dict[Decision, None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for each in self.decisions.entries:
            self._of.setdefault(each.patient_id, []).append(each)

    def about(self, patient_id: str) -> bool:
        """Tell whether anything is decided about a patient."""
        return patient_id in self._of

    def excluded(self, patient_id: str) -> Issue | None:
        """Return a note when all labels of a patient are dropped, whatever they are."""
        for each in self._of.get(patient_id, ()):
            if each[1:6] == (ANY, -1, ANY, ANY, "drop") and not each.sha256:
                self._used.add(each)
                self.decided[Decided(patient_id, -1, ANY, ANY, "drop")] = None
                message = "the whole study is left out by decision"
                return Issue("note", DROPPED, message, STAGE, "", patient_id)
        return None

    def drops(self, patient_id: str, image: str, frame: int) -> tuple[Drop, ...]:
        """Return what is to be dropped of an image, for whoever reads its labels."""
        return tuple(
            Drop(each.structure, each.key)
            for each in self._of.get(patient_id, ())
            if each.decision == "drop" and not each.of_finding and each.names(image, frame, each.structure)
        )

    def look(self, patient_id: str, label: RowLabels) -> None:
        """Note the labels of a row that are in the dataset: a decision to keep one, whatever is found, held."""
        for each in self._of.get(patient_id, ()):
            for structure, key in label.keys.items():
                if each.names(label.image, label.frame, structure):
                    if each.key not in (None, key):
                        self._stale[each] = None
                    elif each.decision == "keep" and each.code == ANY:
                        self._used.add(each)

    def settle(self, issues: Iterable[Issue], labels: Mapping[int, RowLabels]) -> list[Issue]:
        """Return findings as they stand after what was decided: those that were kept are notes.

        ``labels`` goes by row and has those of all patients that something is decided about.
        """
        return [self._settle(issue, labels) if issue.patient_id in self._of else issue for issue in issues]

    def flagged(self, issues: Iterable[Issue], labels: Mapping[int, RowLabels]) -> list[Decision]:
        """Return what drops the labels that undecided findings doubt and that a decision names by its finding."""
        return [
            drop_of(issue, labels)._replace(line=each.line)
            for issue in filter(doubts, issues)
            for each in self._of.get(issue.patient_id, ())
            if each.of_finding and each.code == issue.code and each.structure in (ANY, issue.structure)
        ]

    def finish(self) -> list[Issue]:
        """Return a warning for each decision that does not hold, or held for nothing."""
        again = "the label was drawn again since, so the decision does not hold"
        none = "it matches no label and no finding"
        return [
            _stale_issue(each, again if each in self._stale else none)
            for each in self.decisions.entries
            if each not in self._used
        ]

    def _settle(self, issue: Issue, labels: Mapping[int, RowLabels]) -> Issue:
        if issue.code == DROPPED:
            self._note_drop(issue)
            return issue
        label = labels.get(issue.sample) if issue.sample is not None else None
        kept = label is not None and issue.code == "outer-without-inner" and self._lost_inner(issue, label)
        for each in self._of[issue.patient_id]:
            if self._covers(each, issue, label):
                self._used.add(each)
                kept = True
        if not kept:
            return issue
        self.decided[Decided(*_place(issue), "keep")] = None
        return issue if issue.severity == "note" else as_note(issue, _ACCEPTED)

    def _covers(self, each: Decision, issue: Issue, label: RowLabels | None) -> bool:
        if each.code not in (ANY, issue.code) or each.structure not in (ANY, issue.structure):
            return False
        if issue.code in NEVER_DECIDED:
            return False
        if label is None:
            if issue.sample is not None:
                return False
            # What was left out stays out, whichever was decided.
            decides = each.decision == "keep" or issue.code not in LABEL_FINDINGS
            return decides and each.source_image in (ANY, issue.path)
        if each.decision != "keep" or not each.names(label.image, label.frame, issue.structure):
            return False
        key = label.keys.get(issue.structure)
        if each.key is not None and key != each.key:
            self._stale[each] = None
            return False
        return True

    def _lost_inner(self, issue: Issue, label: RowLabels) -> bool:
        """Tell whether an outer contour lacks its inner one because that was dropped, which says nothing new."""
        drops = self.drops(issue.patient_id, label.image, label.frame)
        return INNER not in label.keys and any(drop.structure in (ANY, INNER) for drop in drops)

    def _note_drop(self, issue: Issue) -> None:
        for each in self._of[issue.patient_id]:
            drops = each.decision == "drop" and not each.of_finding
            if drops and each.names(issue.other_path, issue.frame, issue.structure):
                self._used.add(each)
                self.decided[Decided(issue.patient_id, -1, issue.structure, each.code, "drop")] = None


def drop_of(issue: Issue, labels: Mapping[int, RowLabels]) -> Decision:
    """Return the decision that drops the labels which a finding doubts."""
    structure = issue.structure or ANY
    label = labels.get(issue.sample) if issue.sample is not None else None
    if label is None:
        return Decision(issue.patient_id, ANY, -1, structure, ANY)
    return Decision(issue.patient_id, label.image, label.frame, structure, issue.code)


def settled_before(issues: Sequence[Issue], decided: Iterable[Decided]) -> list[Issue]:
    """Return findings as they stand after what a dataset records as decided."""
    kept = {each[:4] for each in decided if each.decision == "keep"}
    return [
        as_note(issue, _ACCEPTED) if issue.severity != "note" and _place(issue) in kept else issue
        for issue in issues
    ]


def _place(issue: Issue) -> tuple[str, int, str, str]:
    return issue.patient_id, -1 if issue.sample is None else issue.sample, issue.structure, issue.code


def _stale_issue(decision: Decision, why: str) -> Issue:
    place = f"line {decision.line}" if decision.line else "`exclude`"
    what = f"{decision.decision} {decision.structure} of {decision.source_image}, {decision.code}"
    message = f"decisions, {place} ({what}): {why}"
    structure = "" if decision.structure == ANY else decision.structure
    return Issue("warning", STALE, message, STAGE, "", decision.patient_id, structure)
