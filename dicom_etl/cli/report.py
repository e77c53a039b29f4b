"""dicom-etl report: a whole dataset on one page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from dicom_etl.checks.limits import LIMITS
from dicom_etl.cli._options import FROM_0, FROM_1, PATH, common_options, read_toml
from dicom_etl.cli._render import Reporter, megabytes
from dicom_etl.errors import ConfigError, os_errors_as


@click.command(name="report", epilog="Example: dicom-etl report dataset.h5 -o report.html")
@click.argument("dataset", type=PATH)
@click.option("-o", "--output", type=PATH, required=True, help="The HTML file to make.")
@click.option(
    "--max-samples",
    type=FROM_1,
    default=100,
    help="Most samples in the gallery: those with findings, then a random sample.",
)
@click.option("--seed", type=FROM_0, default=0, help="Seed of the random sample.")
@click.option("--no-verify", is_flag=True, help="Show only what ingest recorded; saves the time of verify.")
@click.option(
    "--decisions", type=PATH, help="Show what was decided so far, and export it with what is added."
)
@click.option("--limits", type=PATH, help="TOML file of limits of the label checks, as for verify.")
@click.option("--overwrite", is_flag=True, help="Replace an existing file.")
@common_options
def command(
    reporter: Reporter, no_verify: bool, decisions: Path | None, limits: Path | None, **options: Any
) -> None:
    """Make one self-contained page: counts, findings, curves, histograms and a gallery of overlays.

    It opens from disk in any browser and loads nothing from the network.
    """
    from dicom_etl.report.page import write_report

    with os_errors_as(ConfigError, f"`decisions`: {str(decisions)!r} cannot be read"):
        options["decisions"] = b"" if decisions is None else decisions.read_bytes()
    options["limits"] = LIMITS.read("limits", {} if limits is None else read_toml(limits))
    made = write_report(verify=not no_verify, progress=reporter.progress, **options)
    reporter.line(
        f"{made.output} ({megabytes(made.output_bytes)}): {len(made.rows)} of {made.total} samples, "
        f"{len(made.issues)} findings"
    )
    reporter.issues(made.issues)
    reporter.json(
        {
            "file": str(made.output),
            "bytes": made.output_bytes,
            "samples": list(made.rows),
            "total": made.total,
            "findings": [issue.to_json() for issue in made.issues],
        }
    )
