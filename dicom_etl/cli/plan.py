"""dicom-etl plan: discover and link, print what would happen, write nothing."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import click

from dicom_etl.cli._options import Command, common_options, options_of, output_options, source_argument
from dicom_etl.cli._render import Reporter
from dicom_etl.config import DecisionOptions, IngestConfig, RunOptions, SourceOptions, WorkOptions


@click.command(name="plan", cls=Command, epilog="Example: dicom-etl plan study_data --list-unlabeled -v")
@source_argument
@options_of(SourceOptions, DecisionOptions, IngestConfig, WorkOptions)
@options_of(RunOptions, only=("list_unlabeled",))
@output_options
@common_options
def command(reporter: Reporter, source: Path | None, issues_csv: Path | None, **options: Any) -> int:
    """Show what ingest would make of a SOURCE, from names and headers alone; write nothing.

    Files are paired and their headers checked; pixels and contour points are not read, so ingest can still find more.
    """
    from dicom_etl import api
    from dicom_etl.cli._summary import conclude

    title = f"plan for {api.source_name(source, options['pseudonymize'])}"
    run = partial(api.plan, source, progress=reporter.progress, **options)
    code = conclude(reporter, run, title, issues_csv, series=True)
    reporter.line("  plan reads no pixels: whether labels fit their images, ingest says")
    return code
