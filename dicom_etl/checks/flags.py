"""Which samples carry a doubt about their labels: one rule for all who leave out or mark such samples."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain

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
        "tiny-contour",
    }
)
"""The codes that speak of a label that is in the dataset; other codes speak of inputs that were left out."""


def flagged_paths(issues: Iterable[Issue]) -> frozenset[str]:
    """Return the files, and the folders of whole studies, named by errors and warnings among `LABEL_FINDINGS`.

    A finding about two files that do not go together names both: which of them is wrong is not known.
    """
    return frozenset(
        path
        for issue in issues
        if issue.code in LABEL_FINDINGS and issue.severity in ("error", "warning")
        for path in (issue.path, issue.other_path)
        if path
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
        True where one of the sample's files, or its study's folder, is among `flagged_paths`.
    """
    doubtful = flagged_paths(issues)
    return [not doubtful.isdisjoint(chain.from_iterable(map(_with_study, sample))) for sample in paths]


def _with_study(path: str) -> tuple[str, str]:
    """Return a path and the study's folder that it lies in (``contourfiles/<original_id>``)."""
    return path, "/".join(path.split("/")[:2])
