"""What an output must offer. A new output is one file here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from dicom_etl.records import EncodedSample, Issue


class SampleWriter(Protocol):
    """Takes rows in plan order and makes one file of them."""

    def append(self, sample: EncodedSample) -> None:
        """Store the next row."""

    def end_study(self, cardiac_phases: Mapping[int, str]) -> None:
        """Close the rows of one study; ``cardiac_phases`` gives ED / ES by phase index."""

    def finish(
        self,
        splits: Sequence[tuple[str, int]],
        issues: Sequence[Issue],
        attributes: Mapping[str, str | int | float],
    ) -> None:
        """Store what is known only at the end (split and fold of each row, issues, attributes) and close the file.

        Raises
        ------
        OutputError
            When the file cannot be written to its end.
        """

    def abort(self) -> None:
        """Close whatever is open, without making a usable file."""
