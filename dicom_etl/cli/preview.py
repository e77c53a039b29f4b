"""dicom-etl preview: a montage of images with their contours and masks."""

from __future__ import annotations

from pathlib import Path

import click

from dicom_etl.cli._options import PATH, common_options
from dicom_etl.cli._render import Reporter


@click.command(
    name="preview",
    epilog="Example: dicom-etl preview dataset.h5 -o overlays.png --patient SYN00001",
)
@click.argument("dataset", type=PATH)
@click.option(
    "-o", "--output", type=PATH, required=True, help="The PNG file to make; with --all, the folder."
)
@click.option(
    "--sample", "rows", type=int, multiple=True, metavar="ROW", help="Draw this row; may be repeated."
)
@click.option(
    "--patient", "patients", multiple=True, metavar="ID", help="Only this patient; may be repeated."
)
@click.option("--flagged", is_flag=True, help="Only samples with a finding about their label.")
@click.option("--all", "each", is_flag=True, help="One PNG per sample, into a folder.")
@click.option(
    "-n",
    "--count",
    type=click.IntRange(1, 400),
    default=16,
    show_default=True,
    help="The most pictures in a montage; lots are drawn among more.",
)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of the lots.")
@click.option("--whole", is_flag=True, help="Show whole images, not the heart and what lies around it.")
@click.option("--overwrite", is_flag=True, help="Replace existing files.")
@common_options
def command(
    dataset: Path,
    output: Path,
    rows: tuple[int, ...],
    patients: tuple[str, ...],
    flagged: bool,
    each: bool,
    count: int,
    seed: int,
    whole: bool,
    overwrite: bool,
    quiet: bool,
    verbose: bool,
    as_json: bool,
) -> None:
    """Draw samples of a dataset: the image in grey, masks as a tint, contours as thin lines, one colour a structure.

    Without a choice, the samples are drawn by lot; the same --seed draws the same ones.
    """
    from dicom_etl.report.preview import write_each, write_preview
    from dicom_etl.report.selection import Wanted

    wanted = Wanted(rows, patients, flagged)
    with Reporter(quiet=quiet, verbose=verbose, as_json=as_json) as reporter:
        if each:
            made = write_each(
                dataset, output, wanted, whole=whole, overwrite=overwrite, progress=reporter.progress
            )
        else:
            made = write_preview(
                dataset, output, wanted, count=count, seed=seed, whole=whole, overwrite=overwrite
            )
        reporter.line(f"drew {len(made.rows)} of {made.matching} samples: {made.output}")
        if len(made.rows) < made.matching:
            reporter.line(f"  -n {made.matching} draws all of them; --all makes a file of each")
        reporter.json({"file": str(made.output), "samples": list(made.rows), "matching": made.matching})
