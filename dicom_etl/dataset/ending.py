"""What is known of a dataset when all its rows are; among that what it states about itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from dicom_etl._version import __version__
from dicom_etl.config import IngestConfig
from dicom_etl.dataset import schema
from dicom_etl.records import Decided, Issue, StatisticRow, StudyRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """What is known of a dataset only when all its rows are: split and fold of each, a study for each `end_study`.

    ``flags`` are by structure, for each row the codes of the findings that doubt its label, with blanks between; "" for
    none.
    """

    splits: Sequence[tuple[str, int]]
    attributes: Mapping[str, str | int | float]
    studies: Sequence[StudyRecord] = ()
    issues: Sequence[Issue] = ()
    flags: Mapping[str, Sequence[str]] = field(default_factory=dict)
    decisions: Sequence[Decided] = ()
    statistics: Sequence[StatisticRow] = ()


def dataset_attributes(
    config: IngestConfig, structures: tuple[str, ...], issues: Sequence[Issue], key_fingerprint: str = ""
) -> dict[str, str | int | float]:
    """Return the attributes at the root of the dataset; ``key_fingerprint`` is `Pseudonyms.fingerprint`, "" without."""
    counts = Counter(issue.severity for issue in issues)
    of_pseudonyms = {schema.KEY_FINGERPRINT: key_fingerprint} if config.pseudonymize else {}
    return {
        "format": schema.FORMAT,
        "format_version": schema.FORMAT_VERSION,
        "software_version": __version__,
        "config": config.to_json(),
        "structures": " ".join(structures),
        "raster_rule": config.raster_rule,
        "issues_error": counts["error"],
        "issues_warning": counts["warning"],
        "issues_note": counts["note"],
        **of_pseudonyms,
    }
