"""What one run leaves to the next: finished studies, kept while a dataset is made, so that a kill does not undo them.

They are kept as small sealed datasets of the same kind, each written whole or not at all, in a folder beside the
target that goes when the target is made. The next run takes rows from them as from any earlier dataset; see
`dicom_etl.pipeline.reuse`.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from dicom_etl.config import IngestConfig, RunOptions
from dicom_etl.dataset import schema
from dicom_etl.dataset.digest import append_seal
from dicom_etl.dataset.kept import KeptFolder, remove_kept
from dicom_etl.dataset.writer import HDF5Writer, open_writer
from dicom_etl.errors import OutputError
from dicom_etl.pipeline.plan import Plan
from dicom_etl.pipeline.rows import Watcher
from dicom_etl.pipeline.summary import Progress, in_order
from dicom_etl.records import EncodedSample, Issue, SamplePlan
from dicom_etl.splits import NO_FOLD
from dicom_etl.stages import write

if TYPE_CHECKING:
    from dicom_etl.pipeline.reuse import Reuse

PART_ROWS = 1024
PART_SECONDS = 10.0
"""A part is closed after the study that makes it this large or this old: a kill costs that, and one study more."""


@contextmanager
def earlier_work(
    output: Path,
    plan: Plan,
    spec: schema.DatasetSpec,
    *,
    options: RunOptions,
    progress: Progress,
) -> Iterator[tuple[Reuse | None, list[Watcher]]]:
    """Yield what need not be made again, and what remembers the rest; when the block ends well, nothing is left beside.

    Parameters
    ----------
    output : Path
        The dataset that the block makes.
    plan, spec, options, progress
        Those of the run.

    Raises
    ------
    OutputError
        When finished studies cannot be kept.
    """
    with ExitStack() as stack:
        folder = stack.enter_context(closing(KeptFolder(output))) if options.resume else None
        parts = folder.parts() if folder is not None else []
        reuse = None
        watchers: list[Watcher] = []
        if parts or options.reuse is not None:
            from dicom_etl.pipeline.reuse import open_reuse

            reuse = stack.enter_context(
                open_reuse(
                    options.reuse, parts, spec, plan.config, plan.key_fingerprint, plan.summary.notices
                )
            )
            reuse.compare(plan, progress=progress)
        if folder is not None:
            watchers.append(stack.enter_context(Keeper(folder, spec, plan.config, plan.key_fingerprint)))
        yield reuse, watchers
        if folder is not None:
            folder.remove()
        else:
            remove_kept(output)


class Keeper:
    """Stores rows in a dataset and in parts beside it; a context manager that leaves no unfinished part.

    Parameters
    ----------
    folder : KeptFolder
        Where parts are kept.
    spec : DatasetSpec
        What all rows have in common.
    config : IngestConfig
        Options that shape the data.
    key_fingerprint : str
        `Pseudonyms.fingerprint`, "" without.
    """

    def __init__(
        self, folder: KeptFolder, spec: schema.DatasetSpec, config: IngestConfig, key_fingerprint: str
    ) -> None:
        self._folder, self._config, self._key_fingerprint = folder, config, key_fingerprint
        self._spec = replace(spec, part=False)
        self._open_file = ExitStack()
        self._writer: HDF5Writer | None = None
        self._rows = 0
        self._issues: list[Issue] = []
        self._opened = 0.0

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the part that is open, without making one of it: its rows are in the dataset, or the run has failed."""
        self._open_file.close()

    def append(self, plan: SamplePlan, made: EncodedSample) -> None:
        """Store the next row.

        Raises
        ------
        OutputError
            When it cannot be written.
        """
        if self._writer is None:
            self._open()
        assert self._writer is not None
        self._writer.append(made)
        self._rows += 1

    def end_study(self, cardiac_phases: Mapping[int, str], issues: Sequence[Issue]) -> None:
        """Close the rows of one study, with what the label checks found on it.

        Raises
        ------
        OutputError
            When a part cannot be written.
        """
        if self._writer is None:
            return
        self._writer.end_study(cardiac_phases)
        self._issues += issues
        if self._rows >= PART_ROWS or time.monotonic() - self._opened >= PART_SECONDS:
            self._finish(self._writer)

    def _open(self) -> None:
        self._writer = self._open_file.enter_context(open_writer(self._folder.unfinished, self._spec))
        self._rows, self._issues, self._opened = 0, [], time.monotonic()

    def _finish(self, writer: HDF5Writer) -> None:
        issues = in_order(self._issues)
        attributes = write.dataset_attributes(
            self._config, self._spec.structures, issues, self._key_fingerprint
        )
        writer.finish([("", NO_FOLD)] * self._rows, issues, attributes)
        self._open_file.close()
        self._writer = None
        try:
            append_seal(self._folder.unfinished, schema.FORMAT_VERSION)
            self._folder.add()
        except OSError as error:
            raise OutputError(f"cannot keep a part: {error.strerror}") from None
