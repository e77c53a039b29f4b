"""Which samples carry a doubt about their labels: one rule for all who leave out or mark such samples."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from dicom_etl.records import Issue

LABEL_FINDINGS = frozenset(
    {
        "area-jump",
        "contour-outside-image",
        "duplicate-contour",
        "duplicate-image",
        "inner-outside-outer",
        "misaligned",
        "phase-order",
        "self-intersection",
        "tiny-contour",
    }
)
"""The codes that speak of a label that is in the dataset; other codes speak of inputs that were left out."""


def flagged_paths(issues: Iterable[Issue]) -> frozenset[str]:
    """Return the files named by errors and warnings among `LABEL_FINDINGS`."""
    return frozenset(
        issue.path
        for issue in issues
        if issue.path and issue.code in LABEL_FINDINGS and issue.severity in ("error", "warning")
    )


def flagged_samples(issues: Iterable[Issue], paths: Sequence[Iterable[str]]) -> list[bool]:
    """Say of each sample whether its label is in doubt.

    Parameters
    ----------
    issues : iterable of Issue
        As the dataset records them, or as `verify` finds them.
    paths : sequence of iterables of str
        For each sample its image file and the contour files of all its structures; "" where there is none.

    Returns
    -------
    list of bool
        True where one of the sample's files is among `flagged_paths`.
    """
    doubtful = flagged_paths(issues)
    return [not doubtful.isdisjoint(sample) for sample in paths]
