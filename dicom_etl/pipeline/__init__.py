"""Composes the five stages: discover -> link -> parse -> rasterize -> write.

Studies are planned first, from names and headers alone; then one slice at a time is read, drawn and stored.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from dicom_etl.checks.decisions import Decisions
from dicom_etl.config import IngestConfig, RunOptions
from dicom_etl.dataset import schema
from dicom_etl.errors import SourceError
from dicom_etl.layouts import SourceRoots, locate
from dicom_etl.layouts.pseudonyms import Pseudonyms
from dicom_etl.pipeline.plan import Plan
from dicom_etl.pipeline.rows import RowWriter, StackRefusedError, drop_doubted
from dicom_etl.pipeline.summary import Summary
from dicom_etl.stages import rasterize
from dicom_etl.workers import Executor, Progress, silent

__all__ = ["Plan", "Summary", "ingest", "locate"]


def ingest(
    roots: SourceRoots,
    output: Path,
    config: IngestConfig | None = None,
    options: RunOptions | None = None,
    *,
    executor: Executor | None = None,
    progress: Progress = silent,
    pseudonyms: Pseudonyms | None = None,
    decisions: Decisions | None = None,
) -> Summary:
    """Turn a SOURCE into one dataset; `dicom_etl.api.ingest` documents the options."""
    # Worker processes import this package for its item functions, and have no use for the HDF5 library.
    from dicom_etl.dataset.atomic import check_target

    config, options = config or IngestConfig(), options or RunOptions()
    rasterize.require_extras(config)
    check_target(output.resolve(), overwrite=options.overwrite)
    planned = partial(
        Plan,
        roots,
        config,
        options,
        executor=executor,
        progress=progress,
        pseudonyms=pseudonyms,
        decisions=decisions,
    )
    with suppress(StackRefusedError):
        return _make(planned(), output)
    # Outlines are read with the rows, once. Only where too many leave the images of a stack is all planned by them too.
    return _make(planned(read_outlines=True), output)


def _make(plan: Plan, output: Path) -> Summary:
    from dicom_etl.dataset.atomic import check_space, whole_file
    from dicom_etl.dataset.writer import open_writer
    from dicom_etl.pipeline.checkpoint import earlier_work

    spec, options = plan.spec(), plan.options
    if plan.config.drop_flagged or plan.ledger.decisions.by_finding:
        drop_doubted(plan, spec)
    summary = plan.summary
    planned = summary.samples
    # What is kept for the next run takes as much room again.
    check_space(output, planned * spec.bytes_per_row() * (2 if options.resume else 1))
    with (
        earlier_work(output, plan, spec) as (earlier, checkpoint),
        whole_file(output, overwrite=options.overwrite) as temporary,
    ):
        with open_writer(temporary, spec) as writer:
            rows = RowWriter(plan, spec, writer, earlier=earlier, checkpoint=checkpoint)
            assembly = rows.run()
            found = [*assembly.findings(summary.issues), *plan.stale_decisions()]
            attributes: dict[str, str | int | float] = {}
            if options.shard is not None:
                attributes |= {"shard": "{}/{}".format(*options.shard), "planned": planned}
            if options.timestamp:
                attributes["created"] = datetime.now(UTC).isoformat(timespec="seconds")
            ending = assembly.ending(found, plan.key_fingerprint, attributes)
            summary.issues = list(ending.issues)
            _check_written(summary, options, spec)
            writer.finish(ending)
        assembly.seal(temporary, output)
    return summary


def _check_written(summary: Summary, options: RunOptions, spec: schema.DatasetSpec) -> None:
    if not summary.samples and not spec.part:
        reason = "every image or contour failed to be read, so there is nothing to write"
        raise SourceError(reason, summary.issues)
    if options.strict and not summary.ok:
        first = next(issue for issue in summary.issues if issue.severity != "note")
        raise SourceError(
            f"`strict`: {summary.count('error')} errors and {summary.count('warning')} warnings; "
            f"the first: {first.code}: {first.path}: {first.message}"
        )
