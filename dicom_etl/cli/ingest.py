"""dicom-etl ingest: run the five stages."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import click

from dicom_etl.cli._options import (
    Command,
    common_options,
    options_of,
    output_option,
    output_options,
    source_argument,
)
from dicom_etl.cli._render import Reporter
from dicom_etl.config import DecisionOptions, IngestConfig, RunOptions, SourceOptions, WorkOptions


@click.command(
    name="ingest",
    cls=Command,
    epilog="Example: dicom-etl ingest study_data -o dataset.h5 --structures icontour,ocontour",
)
@source_argument
@output_option
@options_of(SourceOptions, DecisionOptions, IngestConfig, RunOptions, WorkOptions)
@output_options
@common_options
def command(
    reporter: Reporter, source: Path | None, output: Path, issues_csv: Path | None, **options: Any
) -> int:
    """Turn a SOURCE of DICOM images and outlines drawn on them into one HDF5 dataset.

    How SOURCE is arranged is recognised; --layout decides. The file appears whole or not at all. What cannot be
    used is left out, listed with its reason, and the exit code is then 3.
    """
    from dicom_etl import api
    from dicom_etl.cli._summary import conclude

    title = f"ingested {api.source_name(source, options['pseudonymize'])}"
    run = partial(api.ingest, source, output, progress=reporter.progress, **options)
    return conclude(reporter, run, title, issues_csv)
