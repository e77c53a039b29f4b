"""dicom-etl merge: join the parts of a sharded ingest."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import click

from dicom_etl.cli._options import PATH, Command, common_options, options_of, output_option, output_options
from dicom_etl.cli._render import Reporter
from dicom_etl.config import RunOptions


@click.command(name="merge", cls=Command, epilog="Example: dicom-etl merge part-1.h5 part-2.h5 -o dataset.h5")
@click.argument("parts", type=PATH, nargs=-1, required=True)
@output_option
@options_of(RunOptions, only=("overwrite",))
@output_options
@common_options
def command(
    reporter: Reporter, parts: tuple[Path, ...], output: Path, overwrite: bool, issues_csv: Path | None
) -> int:
    """Join PARTS, made by ingest --shard 1/N to N/N, into one dataset: the same bytes as one ingest of everything.

    Seals are checked and stored images copied as they are; duplicates across parts, splits and folds are decided again.
    """
    from dicom_etl import api
    from dicom_etl.cli._summary import conclude

    run = partial(api.merge, parts, output, overwrite=overwrite, progress=reporter.progress)
    return conclude(reporter, run, f"merged {len(parts)} parts", issues_csv)
