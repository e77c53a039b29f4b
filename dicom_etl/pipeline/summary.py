"""What a run tells: how far it is, and at its end what it found, left out and made."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from dicom_etl.geometry.locations import ED, ES
from dicom_etl.records import Issue


class Progress(Protocol):
    """Is told how far a stage is."""

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Take note that ``done`` of ``total`` items of a stage are finished."""


def silent(stage: str, done: int, total: int) -> None:
    """Take no note."""


@dataclass(slots=True)
class Summary:
    """What a run found and made; counts by structure and by ED / ES.

    ``samples`` are all rows, ``drawn`` those with a contour, ``imputed`` those that got one; ``structures`` counts
    what was drawn, ``imputed_structures`` what was not. ``not_imputed`` counts, by reason, images that stay without a
    label. ``reused_studies`` and ``reused_samples`` were taken from earlier datasets; ``notices`` say, a line each,
    what of earlier runs could not be used, which changes nothing of the result.
    """

    studies: int = 0
    images: int = 0
    contours: int = 0
    unlabeled: int = 0
    samples: int = 0
    drawn: int = 0
    imputed: int = 0
    not_imputed: dict[str, int] = field(default_factory=dict)
    imputed_structures: dict[str, int] = field(default_factory=dict)
    structures: dict[str, int] = field(default_factory=dict)
    cardiac_phases: dict[str, int] = field(default_factory=lambda: {ED: 0, ES: 0})
    shape: tuple[int, int] | None = None
    dtype: str = ""
    contour_origin: int | None = None
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

    @property
    def complete(self) -> bool:
        """Whether nothing was left out and nothing needs a look."""
        return not (self.count("error") or self.count("warning"))


def in_order(issues: Iterable[Issue]) -> list[Issue]:
    """Return issues by path, then stage: an order of what is stored alone, so the parts of a run merge to the whole."""
    return sorted(
        issues,
        key=lambda issue: (
            issue.path,
            issue.stage,
            issue.code,
            issue.severity,
            issue.other_path,
            issue.message,
        ),
    )
