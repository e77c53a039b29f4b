"""What a run tells: how far it is, and at its end what it found, left out and made."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from operator import attrgetter
from pathlib import Path

from dicom_etl.geometry.locations import ED, ES
from dicom_etl.records import Issue, SeriesLine, StudyPlan


class SeriesTable:
    """The series of the studies, as `plan` shows them: all of a few studies; of many a count, and the odd ones."""

    _FEW, _MOST_ODD = 10, 20

    def __init__(self) -> None:
        self.shown: list[tuple[str, tuple[SeriesLine, ...]]] = []
        self.odd: list[tuple[str, tuple[SeriesLine, ...]]] = []
        self.usual: Counter[tuple[int, int]] = Counter()
        """Studies by how many series they have, and on how many of these labels lie."""
        self.odd_count = 0

    def add(self, study: StudyPlan) -> None:
        """Take the next study; one is odd where anything in linking its images and labels is."""
        if not study.series:
            return
        item = (study.patient_id, study.series)
        if any(issue.severity != "note" and issue.stage == "link" for issue in study.issues):
            self.odd_count += 1
            if len(self.odd) < self._MOST_ODD:
                self.odd.append(item)
        if len(self.shown) <= self._FEW:
            self.shown.append(item)
        self.usual[len(study.series), sum(line.labels > 0 for line in study.series)] += 1

    @property
    def few(self) -> bool:
        """Whether all studies are shown."""
        return len(self.shown) <= self._FEW


@dataclass(slots=True, repr=False)
class Summary:
    """What a run found and made.

    Attributes
    ----------
    ok : bool
        Whether nothing was left out and nothing needs a look.
    samples : int
        Rows of the dataset; ``drawn`` of them have a contour, and ``imputed`` of them got one.
    studies, images, contours : int
        What was found; ``unlabeled`` of the images have no contour.
    structures, imputed_structures : dict of int
        Contours by structure: those drawn, and those imputed.
    names : dict of int
        Labels found, by (name in their file, structure; "" where the name gives none).
    series : SeriesTable
        What `plan` shows of the series of studies.
    not_imputed : dict of int
        Images that stay without a label, by reason.
    cardiac_phases : dict of int
        Samples at ED and at ES.
    issues : list of Issue
        What was left out, and labels to look at.
    output : Path, optional
        The dataset; None when none was made. ``output_bytes`` is its size, ``sha256`` its digest, ``shape`` and
        ``dtype`` are those of an image, and ``contour_origin`` is what was taken off its contours.
    reused_studies, reused_samples : int
        What was taken from earlier datasets.
    notices : list of str
        What a person should mend, though it harms no result: earlier work that could not be used, a key open to others.
    """

    studies: int = 0
    images: int = 0
    contours: int = 0
    unlabeled: int = 0
    samples: int = 0
    drawn: int = 0
    imputed: int = 0
    not_imputed: Counter[str] = field(default_factory=Counter)
    imputed_structures: Counter[str] = field(default_factory=Counter)
    structures: Counter[str] = field(default_factory=Counter)
    names: Counter[tuple[str, str]] = field(default_factory=Counter)
    series: SeriesTable = field(default_factory=SeriesTable)
    cardiac_phases: dict[str, int] = field(default_factory=lambda: {ED: 0, ES: 0})
    shape: tuple[int, int] | None = None
    dtype: str = ""
    contour_origin: float | None = None
    reused_studies: int = 0
    reused_samples: int = 0
    notices: list[str] = field(default_factory=list)
    issues: list[Issue] = field(default_factory=list)
    output: Path | None = None
    output_bytes: int = 0
    sha256: str = ""

    def count(self, severity: str) -> int:
        """Return how many issues are of a severity."""
        return sum(issue.severity == severity for issue in self.issues)

    def __repr__(self) -> str:
        made = "planned" if self.output is None else str(self.output)
        found = f"{self.count('error')} errors, {self.count('warning')} warnings"
        digest = f", sha256 {self.sha256[:12]}.." if self.sha256 else ""
        return f"<{made}: {self.samples} samples of {self.studies} studies, {found}{digest}>"

    @property
    def ok(self) -> bool:
        """Whether nothing was left out and nothing needs a look."""
        return not (self.count("error") or self.count("warning"))


def in_order(issues: Iterable[Issue]) -> list[Issue]:
    """Return issues by path, then stage: an order of what is stored alone, so the parts of a run merge to the whole."""
    names = ("path", "stage", "code", "severity", "other_path", "message", "frame", "structure")
    return sorted(issues, key=attrgetter(*names))
