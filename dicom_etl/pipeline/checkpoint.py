"""What one run leaves to the next: finished studies, kept while a dataset is made, so that a kill does not undo them.

They are kept as small sealed datasets of the same kind, under their keys, each written whole or not at all, in a folder
beside the target that goes when the target is made. See `dicom_etl.pipeline.earlier`.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from dicom_etl.dataset import schema
from dicom_etl.dataset.digest import append_seal
from dicom_etl.dataset.locks import CheckpointFolder, remove_checkpoint
from dicom_etl.dataset.schema import Ending, dataset_attributes
from dicom_etl.dataset.writer import HDF5Writer, open_writer
from dicom_etl.errors import OutputError, os_errors_as
from dicom_etl.pipeline.plan import Plan
from dicom_etl.records import EncodedSample, Issue, StudyRecord
from dicom_etl.splits import NO_FOLD

if TYPE_CHECKING:
    from dicom_etl.pipeline.earlier import Earlier

PART_ROWS = 1024
PART_SECONDS = 10.0
"""A part is closed after the study that makes it this large or this old: a kill costs that, and one study more."""


@contextmanager
def earlier_work(
    output: Path, plan: Plan, spec: schema.DatasetSpec
) -> Iterator[tuple[Earlier | None, CheckpointWriter | None]]:
    """Yield what need not be made again, and what keeps the rest; when the block ends well, nothing is left beside."""
    with ExitStack() as stack:
        folder = stack.enter_context(closing(CheckpointFolder(output))) if plan.options.resume else None
        kept = folder.parts() if folder is not None else []
        earlier = None
        if kept or plan.options.reuse is not None:
            # With the reader of datasets: 15 ms that most runs save.
            from dicom_etl.pipeline.earlier import Earlier, OpenFiles

            earlier = Earlier(stack.enter_context(OpenFiles()), spec)
            earlier.open(plan.options.reuse, kept, plan.summary.notices)
            earlier.compare(plan)
        checkpoint = CheckpointWriter(folder, spec, plan) if folder is not None else None
        if checkpoint is not None:
            stack.callback(checkpoint.close)
        yield earlier, checkpoint
        if folder is not None:
            folder.remove()
        else:
            remove_checkpoint(output)


class CheckpointWriter:
    """Stores rows in parts beside a dataset."""

    def __init__(self, folder: CheckpointFolder, spec: schema.DatasetSpec, plan: Plan) -> None:
        self._folder, self._plan = folder, plan
        self._spec = replace(spec, part=False)
        self._open_file = ExitStack()
        self._writer: HDF5Writer | None = None
        self._rows = self._study_start = 0
        self._opened = 0.0
        self._studies: list[StudyRecord] = []
        self._issues: list[Issue] = []

    def close(self) -> None:
        """Close the part that is open, without making one of it: its rows are in the dataset, or the run has failed."""
        self._open_file.close()

    def append(self, sample: EncodedSample) -> None:
        """Store the next row."""
        self._open().append(sample)
        self._rows += 1

    def end_study(
        self, study: StudyRecord, cardiac_phases: Mapping[int, str], issues: Sequence[Issue]
    ) -> None:
        """Close the rows of one study, with what was found on it, counted from its first row."""
        writer = self._open()
        writer.end_study(cardiac_phases)
        self._studies.append(study)
        self._issues += [
            issue if issue.sample is None else issue._replace(sample=issue.sample + self._study_start)
            for issue in issues
        ]
        self._study_start = self._rows
        if self._rows >= PART_ROWS or time.monotonic() - self._opened >= PART_SECONDS:
            self._finish(writer)

    def _open(self) -> HDF5Writer:
        if self._writer is None:
            self._rows = self._study_start = 0
            self._studies, self._issues = [], []
            self._opened = time.monotonic()
            self._writer = self._open_file.enter_context(open_writer(self._folder.unfinished, self._spec))
        return self._writer

    def _finish(self, writer: HDF5Writer) -> None:
        plan = self._plan
        writer.finish(
            Ending(
                splits=[("", NO_FOLD)] * self._rows,
                attributes=dataset_attributes(
                    plan.config, self._spec.structures, self._issues, plan.key_fingerprint
                ),
                studies=self._studies,
                issues=self._issues,
            )
        )
        self._open_file.close()
        self._writer = None
        with os_errors_as(OutputError, "cannot keep a part"):
            append_seal(self._folder.unfinished, schema.FORMAT_VERSION)
            self._folder.add()
