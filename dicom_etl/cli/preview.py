"""dicom-etl preview: a montage of images with their contours and masks."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dicom_etl.cli._options import FROM_0, PATH, common_options
from dicom_etl.cli._render import Reporter
from dicom_etl.errors import ConfigError

if TYPE_CHECKING:
    from dicom_etl.report.preview import Preview


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
    help="Most pictures in a montage; among more, a random sample.",
)
@click.option("--seed", type=FROM_0, default=0, help="Seed of the random sample.")
@click.option("--batch", is_flag=True, help="Draw the first batch that a BatchReader serves in an epoch.")
@click.option(
    "--transform",
    "transforms",
    multiple=True,
    metavar="NAME(..)",
    help='With --batch: apply this, as in "RandomAffine(rotation_deg=20)"; repeatable.',
)
@click.option("--structures", metavar="A,B", help="With --batch: whose masks.  [default: icontour]")
@click.option(
    "--label-map", is_flag=True, help="With --batch: as one map of labels, the last structure on top."
)
@click.option("--epoch", type=FROM_0, default=0, help="With --batch: number of the epoch.")
@click.option("--whole", is_flag=True, help="Show whole images, not the heart and what lies around it.")
@click.option("--overwrite", is_flag=True, help="Replace existing files.")
@common_options
def command(
    reporter: Reporter,
    dataset: Path,
    output: Path,
    rows: tuple[int, ...],
    patients: tuple[str, ...],
    flagged: bool,
    each: bool,
    count: int,
    seed: int,
    batch: bool,
    whole: bool,
    overwrite: bool,
    **served: Any,
) -> None:
    """Draw samples of a dataset: the image in grey, masks as a tint, contours as thin lines, one colour a structure.

    Without a choice, a random sample of the rows is drawn; the same --seed gives the same rows. With --batch, the
    pictures are those a training loop gets with that seed, after every --transform.
    """
    from dicom_etl.report.preview import write_each, write_preview
    from dicom_etl.report.selection import Wanted

    if batch and (rows or flagged or each or whole):
        raise ConfigError(
            "--batch draws what is served; --sample, --flagged, --all and --whole do not go with it"
        )
    if not batch and any(served.values()):
        raise ConfigError(
            "--transform, --structures, --label-map and --epoch say what --batch draws; add --batch"
        )
    wanted = Wanted(rows, patients, flagged)
    if batch:
        made = _draw_batch(dataset, output, patients, count, seed, overwrite, **served)
    elif each:
        made = write_each(
            dataset, output, wanted, whole=whole, overwrite=overwrite, progress=reporter.progress
        )
    else:
        made = write_preview(
            dataset, output, wanted, count=count, seed=seed, whole=whole, overwrite=overwrite
        )
    reporter.line(f"drew {len(made.rows)} of {made.matching} samples: {made.output}")
    if len(made.rows) < made.matching and not batch:
        reporter.line(f"  -n {made.matching} draws all of them; --all makes a file of each")
    reporter.json({"file": str(made.output), "samples": list(made.rows), "matching": made.matching})


def _draw_batch(
    dataset: Path,
    output: Path,
    patients: tuple[str, ...],
    count: int,
    seed: int,
    overwrite: bool,
    *,
    transforms: tuple[str, ...],
    structures: str | None,
    label_map: bool,
    epoch: int,
) -> Preview:
    from dicom_etl.batches.reader import BatchReader
    from dicom_etl.batches.transforms.spelled import read_transform
    from dicom_etl.report.preview import write_batch

    reader = BatchReader(
        dataset,
        batch_size=count,
        structures=tuple(name.strip() for name in (structures or "icontour").split(",") if name.strip()),
        labels="map" if label_map else "masks",
        patients=patients or None,
        seed=seed,
        transforms=[read_transform(text) for text in transforms],
    )
    with reader:
        return write_batch(reader, output, epoch=epoch, overwrite=overwrite)
