"""dicom-etl merge: join the parts of a sharded ingest."""

from __future__ import annotations

from pathlib import Path

import click

from dicom_etl.cli._boundary import finish
from dicom_etl.cli._options import PATH, common_options
from dicom_etl.cli._render import Reporter, write_issues_csv


@click.command(name="merge", epilog="Example: dicom-etl merge part-1.h5 part-2.h5 -o dataset.h5")
@click.argument("parts", type=PATH, nargs=-1, required=True)
@click.option("-o", "--output", type=PATH, required=True, help="The dataset to make.")
@click.option("--overwrite", is_flag=True, help="Replace an existing file.")
@click.option("--log", type=PATH, help="Keep every line in this file.")
@click.option("--issues", "issues_csv", type=PATH, help="Write every issue to this CSV file.")
@common_options
def command(
    parts: tuple[Path, ...],
    output: Path,
    overwrite: bool,
    log: Path | None,
    issues_csv: Path | None,
    quiet: bool,
    verbose: bool,
    as_json: bool,
) -> None:
    """Join PARTS, made by ingest --shard 1/N to N/N, into one dataset: the same bytes as one ingest of everything.

    Seals are checked and stored images copied as they are; duplicates across parts, splits and folds are decided again.
    """
    from dicom_etl.cli._summary import print_summary, summary_json
    from dicom_etl.pipeline.merge import merge

    with Reporter(quiet=quiet, verbose=verbose, as_json=as_json, log=log) as reporter:
        summary = merge(parts, output, overwrite=overwrite, progress=reporter.progress)
        if issues_csv is not None:
            write_issues_csv(issues_csv, summary.issues)
        print_summary(reporter, summary, f"merged {len(parts)} parts")
        reporter.json(summary_json(summary))
    finish(summary.complete)
