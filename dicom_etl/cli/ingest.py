"""dicom-etl ingest: run the five stages."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from dicom_etl.cli._boundary import finish
from dicom_etl.cli._data import data_options, ingest_config
from dicom_etl.cli._earlier import earlier_options
from dicom_etl.cli._options import PATH, common_options
from dicom_etl.cli._render import Reporter, write_issues_csv
from dicom_etl.cli._source import Source, source_options
from dicom_etl.cli._types import SHARD
from dicom_etl.cli._work import Work, work_options


@click.command(
    name="ingest",
    epilog="Example: dicom-etl ingest study_data -o dataset.h5 --structures icontour,ocontour",
)
@source_options
@click.option("-o", "--output", type=PATH, required=True, help="The dataset to make.")
@click.option("--overwrite", is_flag=True, help="Replace an existing file.")
@click.option("--list-unlabeled", is_flag=True, help="Report each image without a contour by name.")
@click.option("--strict", is_flag=True, help="Fail, and write nothing, on any error or warning.")
@click.option("--timestamp", is_flag=True, help="Record the time; two runs then make different bytes.")
@click.option("--shard", type=SHARD, help="Make the I-th of N parts, counted from 1; merge joins them.")
@earlier_options
@work_options
@click.option("--log", type=PATH, help="Keep every line in this file.")
@click.option("--issues", "issues_csv", type=PATH, help="Write every issue to this CSV file.")
@data_options
@common_options
def command(
    source: Source,
    output: Path,
    overwrite: bool,
    list_unlabeled: bool,
    strict: bool,
    timestamp: bool,
    shard: tuple[int, int] | None,
    resume: bool,
    reuse: Path | None,
    work: Work,
    log: Path | None,
    issues_csv: Path | None,
    quiet: bool,
    verbose: bool,
    as_json: bool,
    **values: Any,
) -> None:
    """Turn a SOURCE of DICOM images, contour files and a link table into one HDF5 dataset.

    SOURCE holds dicoms/<patient_id>/, contourfiles/<original_id>/ and link.csv. The file appears whole or
    not at all. What cannot be used is left out, listed with its reason, and the exit code is then 3.
    """
    config = ingest_config(values, pseudonymize=source.pseudonymized)
    from dicom_etl import pipeline
    from dicom_etl.cli._summary import print_summary, summary_json
    from dicom_etl.config import RunOptions

    options = RunOptions(
        overwrite=overwrite,
        list_unlabeled=list_unlabeled,
        strict=strict,
        timestamp=timestamp,
        shard=shard,
        resume=resume,
        reuse=reuse,
    )
    with (
        Reporter(quiet=quiet, verbose=verbose, as_json=as_json, log=log) as reporter,
        work.open() as executor,
    ):
        roots, pseudonyms = source.open(reporter.warning)
        summary = pipeline.ingest(
            roots,
            output,
            config,
            options,
            executor=executor,
            progress=reporter.progress,
            pseudonyms=pseudonyms,
        )
        if issues_csv is not None:
            write_issues_csv(issues_csv, summary.issues)
        print_summary(reporter, summary, f"ingested {source}")
        reporter.json(summary_json(summary))
    finish(summary.complete)
