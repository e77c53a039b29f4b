"""What the label checks need of rows that were stored before, and what need not be found again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from dicom_etl.checks.sample_checks import DATASET_STAGE
from dicom_etl.dataset import schema
from dicom_etl.dataset.digest import contour_key, row_digests
from dicom_etl.records import ContourFacts, Issue, SampleFacts

if TYPE_CHECKING:
    from dicom_etl.dataset.stored import StoredSample


def of_one_study(issue: Issue) -> bool:
    """Whether an issue of a stored dataset holds whatever other studies there are."""
    return issue.stage != DATASET_STAGE


def facts_of(stored: StoredSample, structures: Sequence[str], instance_key: int) -> SampleFacts:
    """Return what tells copies: the keys of the image and of what a person drew on it.

    Parameters
    ----------
    stored : StoredSample
        A row.
    structures : sequence of str
        Those of its dataset, in its order.
    instance_key : int
        See `SampleFacts`.
    """
    row, rings = stored.sample.row, stored.sample.rings
    drawn = [index for index in range(len(structures)) if row.has[index] and row.origin == schema.MANUAL]
    nowhere = 0.0, 0.0, 0.0, 0.0
    contours = tuple(
        ContourFacts(
            structures[index], row.sources[index], 0, nowhere, contour_key(rings[index]), rings[index][0]
        )
        for index in sorted(drawn, key=structures.__getitem__)
    )
    key, _ = row_digests(stored.pixels, ())
    return SampleFacts(
        row.patient_id,
        row.source_image,
        row.location_index,
        row.phase_index,
        row.trigger_time_ms,
        row.pixel_spacing_mm,
        contours,
        key,
        instance_key,
        stored.pixels[:0, :0],
        (0, 0),
        stored.pixels.shape[1],
    )
