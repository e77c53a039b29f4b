"""dicom-etl preview: a montage of images with their contours and masks."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dicom_etl.cli._options import FROM_0, PATH, common_options, names_in
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
    patients: tuple[str, ...],
    each: bool,
    batch: bool,
    **options: Any,
) -> None:
    """Draw samples of a dataset: the image in grey, masks as a tint, contours as thin lines, one colour a structure.

    Without a choice, a random sample of the rows is drawn; the same --seed gives the same rows. With --batch, the
    pictures are those a training loop gets with that seed, after every --transform.
    """
    from dicom_etl.report.contents import Wanted
    from dicom_etl.report.preview import write_preview

    wanted = Wanted(options.pop("rows"), patients, options.pop("flagged"))
    served = {name: options.pop(name) for name in ("transforms", "structures", "label_map", "epoch")}
    if batch and (wanted.rows or wanted.flagged or each or options["whole"]):
        raise ConfigError(
            "--batch draws what is served; --sample, --flagged, --all and --whole do not go with it"
        )
    if not batch and any(served.values()):
        raise ConfigError(
            "--transform, --structures, --label-map and --epoch say what --batch draws; add --batch"
        )
    if batch:
        made = _draw_batch(dataset, output, patients, options, **served)
    else:
        made = write_preview(dataset, output, wanted, each=each, progress=reporter.progress, **options)
    reporter.line(f"drew {len(made.rows)} of {made.matching} samples: {made.output}")
    if len(made.rows) < made.matching and not batch:
        reporter.line(f"  -n {made.matching} draws all of them; --all makes a file of each")
    reporter.json({"file": str(made.output), "samples": list(made.rows), "matching": made.matching})


def _draw_batch(
    dataset: Path, output: Path, patients: tuple[str, ...], options: dict[str, Any], **served: Any
) -> Preview:
    from dicom_etl.batches.reader import BatchReader
    from dicom_etl.batches.transforms import read_transform
    from dicom_etl.report.preview import write_batch

    reader = BatchReader(
        dataset,
        batch_size=options["count"],
        structures=names_in(served["structures"] or "icontour"),
        labels="map" if served["label_map"] else "masks",
        patients=patients or None,
        seed=options["seed"],
        transforms=[read_transform(text) for text in served["transforms"]],
    )
    with reader:
        return write_batch(reader, output, epoch=served["epoch"], overwrite=options["overwrite"])
