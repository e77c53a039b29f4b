"""dicom-etl plan: discover and link, print what would happen, write nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from dicom_etl.cli._boundary import finish
from dicom_etl.cli._data import data_options, ingest_config
from dicom_etl.cli._options import PATH, common_options
from dicom_etl.cli._render import Reporter, write_issues_csv
from dicom_etl.cli._source import Source, source_options
from dicom_etl.cli._work import Work, work_options


@click.command(name="plan", epilog="Example: dicom-etl plan study_data --list-unlabeled -v")
@source_options
@click.option("--list-unlabeled", is_flag=True, help="Report each image without a contour by name.")
@work_options
@click.option("--log", type=PATH, help="Keep every line in this file.")
@click.option("--issues", "issues_csv", type=PATH, help="Write every issue to this CSV file.")
@data_options
@common_options
def command(
    source: Source,
    list_unlabeled: bool,
    work: Work,
    log: Path | None,
    issues_csv: Path | None,
    quiet: bool,
    verbose: bool,
    as_json: bool,
    **values: Any,
) -> None:
    """Show what ingest would make of a SOURCE, from names and headers alone; write nothing.

    Files are paired and their headers checked; pixels and contour points are not read, so ingest can still find more.
    """
    config = ingest_config(values, pseudonymize=source.pseudonymized)
    from dicom_etl import pipeline
    from dicom_etl.cli._summary import print_summary, summary_json

    with (
        Reporter(quiet=quiet, verbose=verbose, as_json=as_json, log=log) as reporter,
        work.open() as executor,
    ):
        roots, pseudonyms = source.open(reporter.warning)
        plan = pipeline.Plan(
            roots,
            config,
            list_unlabeled=list_unlabeled,
            executor=executor,
            progress=reporter.progress,
            pseudonyms=pseudonyms,
        )
        plan.spec()
        if issues_csv is not None:
            write_issues_csv(issues_csv, plan.summary.issues)
        print_summary(reporter, plan.summary, f"plan for {source}")
        reporter.json(summary_json(plan.summary))
    finish(plan.summary.complete)
