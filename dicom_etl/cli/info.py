"""dicom-etl info: what is in a dataset, from the file alone."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from dicom_etl.cli._options import PATH, common_options
from dicom_etl.cli._render import Reporter, megabytes, write_csv


@click.command(name="info", epilog="Example: dicom-etl info dataset.h5 --samples samples.csv")
@click.argument("dataset", type=PATH)
@click.option("--samples", "samples_csv", type=PATH, help="Write the sample table to this CSV file.")
@common_options
def command(reporter: Reporter, dataset: Path, samples_csv: Path | None) -> None:
    """Show what a dataset holds: counts, options, what was left out. The bytes are not checked; verify does that."""
    from dicom_etl.dataset.facts import read_facts, read_samples

    facts = read_facts(dataset)
    if samples_csv is not None:
        write_csv(samples_csv, *read_samples(dataset))
    reporter.line(f"{dataset} ({megabytes(dataset.stat().st_size)})")
    reporter.facts(
        [
            ("patients", facts.patients),
            ("samples", f"{facts.samples} ({_counts(facts.structures)})"),
            ("origin", _counts(facts.origins)),
            ("cardiac phase", _counts(facts.cardiac_phases) or "unknown"),
            ("split", _counts(facts.splits) or "none"),
            ("image", f"{facts.shape[0]} x {facts.shape[1]}, {facts.dtype}"),
            ("pixel spacing", f"{_counts(facts.spacings_mm)} mm"),
            ("scanner", _counts(facts.scanners)),
            (
                "contour origin",
                "differs, or mm" if facts.contour_origin < 0 else f"{facts.contour_origin:g}",
            ),
            ("raster rule", facts.raster_rule),
            ("made by", f"dicom-etl {facts.software_version} {facts.created}".rstrip()),
        ]
    )
    if facts.issues:
        reporter.line("when it was made:")
        reporter.issues(facts.issues)
    reporter.json(
        {"file": str(dataset), **asdict(facts), "issues": [issue.to_json() for issue in facts.issues]}
    )


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items())
