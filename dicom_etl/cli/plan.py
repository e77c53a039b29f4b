"""dicom-etl plan: discover and link, print what would happen, write nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from dicom_etl.cli._boundary import finish
from dicom_etl.cli._earlier import cache_option
from dicom_etl.cli._options import (
    PATH,
    common_options,
    data_options,
    ingest_config,
    jobs_option,
    pseudonymize_option,
    read_pseudonyms,
    source_options,
)
from dicom_etl.cli._render import Reporter, write_issues_csv


@click.command(name="plan", epilog="Example: dicom-etl plan study_data --list-unlabeled -v")
@source_options
@click.option("--list-unlabeled", is_flag=True, help="Report each image without a contour by name.")
@cache_option
@jobs_option
@click.option("--log", type=PATH, help="Keep every line in this file.")
@click.option("--issues", "issues_csv", type=PATH, help="Write every issue to this CSV file.")
@pseudonymize_option
@data_options
@common_options
def command(
    source: Path | None,
    dicoms: Path | None,
    contours: Path | None,
    links: Path | None,
    list_unlabeled: bool,
    cache: Path | None,
    jobs: int | None,
    kind: str,
    scheduler: str | None,
    log: Path | None,
    issues_csv: Path | None,
    pseudonymize: Path | None,
    quiet: bool,
    verbose: bool,
    as_json: bool,
    **values: Any,
) -> None:
    """Show what ingest would make of a SOURCE, from names and headers alone; write nothing.

    Files are paired and their headers checked; pixels and contour points are not read, so ingest can still find more.
    """
    config = ingest_config(values, pseudonymize=pseudonymize is not None)
    from dicom_etl import pipeline
    from dicom_etl.cli._summary import print_summary, source_said, summary_json
    from dicom_etl.executors import open_executor

    with (
        Reporter(quiet=quiet, verbose=verbose, as_json=as_json, log=log) as reporter,
        open_executor(jobs, kind=kind, scheduler=scheduler) as executor,
    ):
        roots = pipeline.locate(source, dicoms=dicoms, contours=contours, links=links)
        plan = pipeline.Plan(
            roots,
            config,
            list_unlabeled=list_unlabeled,
            executor=executor,
            progress=reporter.progress,
            pseudonyms=read_pseudonyms(pseudonymize, roots, reporter.warning),
            cache=cache,
        )
        plan.spec()
        if issues_csv is not None:
            write_issues_csv(issues_csv, plan.summary.issues)
        print_summary(reporter, plan.summary, f"plan for {source_said(source, pseudonymize)}")
        reporter.json(summary_json(plan.summary))
    finish(plan.summary.complete)
