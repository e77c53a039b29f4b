"""dicom-etl batches: iterate as a training loop does, and say how fast and whether every sample came once."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dicom_etl.cli._boundary import DONE, FINDINGS
from dicom_etl.cli._options import FROM_0, FROM_1, PATH, common_options, names_in
from dicom_etl.cli._render import Reporter
from dicom_etl.config.kinds import SHARES
from dicom_etl.errors import ConfigError, OutputError, os_errors_as

if TYPE_CHECKING:
    from dicom_etl.batches import BatchReader
    from dicom_etl.batches.epoch_statistics import EpochStatistics

_HEAD = " epoch  batches  samples   unique  padding  foreground   samples/s      MB/s"
_ROW = (
    "{epoch:>6}{batches:>9}{samples:>9}{unique:>9}{padding:>9}{foreground_share:>12.2%}"
    "{samples_per_second:>12,.0f}{megabytes_per_second:>10,.0f}"
)


@click.command(name="batches", epilog="Example: dicom-etl batches dataset.h5 --epochs 3 --check")
@click.argument("dataset", type=PATH)
@click.option("--epochs", type=FROM_1, default=1, help="Epochs, counted from the first.")
@click.option("--batch-size", type=FROM_1, default=8, help="Samples in a batch.")
@click.option("--structures", metavar="A,B", default="icontour", help="Whose masks to serve.")
@click.option("--split", type=click.Choice(["train", "val", "test"]), help="Only samples of this split.")
@click.option("--fold", type=int, help="Only this fold; with --split train, all others.")
@click.option(
    "--fractions", metavar="A/B/C", help="Compute the split with these shares instead of reading it."
)
@click.option("--split-seed", type=FROM_0, default=0, help="Seed of --fractions.")
@click.option(
    "--patient", "patients", multiple=True, metavar="ID", help="Only this patient; may be repeated."
)
@click.option("--exclude-flagged", is_flag=True, help="Leave out samples with a finding about their label.")
@click.option("--imputed", is_flag=True, help="Serve imputed samples too.")
@click.option(
    "--shuffle", type=click.Choice(["full", "block", "none"]), default="full", help="Order of the samples."
)
@click.option("--seed", type=FROM_0, default=0, help="Seed of the order.")
@click.option(
    "--remainder",
    type=click.Choice(["keep", "drop", "fill"]),
    default="keep",
    help="Whether a short last batch is kept, dropped or filled up.",
)
@click.option("--rank", type=FROM_0, default=0, help="Rank of this process.")
@click.option("--world-size", type=FROM_1, default=1, help="Number of processes.")
@click.option(
    "--normalize",
    type=click.Choice(["minmax", "zscore", "percentile"]),
    help="Bring each image to one scale.",
)
@click.option(
    "--prefetch", type=FROM_0, help="Batches made ahead; by default two more than threads, or 0 for one."
)
@click.option("--threads", type=FROM_1, help="Threads that make batches; by default one a core, at most 4.")
@click.option("--check", is_flag=True, help="Fail (exit code 3) when a sample was missed or repeated.")
@click.option("--dump", type=PATH, metavar="DIR", help="Write each batch into this folder as .npz.")
@click.option("--stop-after", type=FROM_1, metavar="N", help="Stop after N batches, as if interrupted.")
@click.option("--save-state", type=PATH, metavar="FILE", help="Write where the run ended, to go on from.")
@click.option("--resume", type=PATH, metavar="FILE", help="Go on from a state that --save-state wrote.")
@common_options
def command(reporter: Reporter, dataset: Path, **options: Any) -> int:
    """Iterate over a dataset as a training loop does, and count what comes.

    The speed is that of waiting for batches alone. A resumed run goes on to the same last epoch: a run that stopped in
    epoch 1 serves the rest of it and then epoch 2 with --epochs 3.
    """
    from dicom_etl.batches.epoch_statistics import Dump, measure_epochs

    reader = _reader(dataset, options, reporter)
    if options["resume"] is not None:
        reader.load_state_dict(_read_state(options["resume"]))
    dump = None if options["dump"] is None else Dump(options["dump"])
    reporter.line(f"{dataset}: {len(reader.rows)} samples, {len(reader)} batches an epoch")
    reporter.line(_HEAD)
    statistics: list[EpochStatistics] = []
    for epoch in measure_epochs(
        reader, options["epochs"], stop_after=options["stop_after"], take=dump, progress=reporter.progress
    ):
        statistics.append(epoch)
        reporter.line(_ROW.format(**_as_json(epoch)))
    state = reader.state_dict()
    if options["save_state"] is not None:
        with os_errors_as(OutputError, f"cannot write the state {str(options['save_state'])!r}"):
            options["save_state"].write_text(json.dumps(state) + "\n", encoding="utf-8")
    faults = [epoch for epoch in statistics if epoch.repeated or (epoch.complete and epoch.missed)]
    for epoch in faults:
        reporter.line(f"epoch {epoch.epoch}: {epoch.missed} samples missed, {epoch.repeated} repeated")
    if statistics and not statistics[-1].complete:
        reporter.line(f"stopped in epoch {state['epoch']} after step {state['step']}")
    reporter.line(f"{sum(epoch.complete for epoch in statistics)} epochs complete")
    reporter.json(
        {
            "ok": not faults,
            "file": str(dataset),
            "samples": len(reader.rows),
            "epochs": [_as_json(epoch) for epoch in statistics],
            "state": state,
        }
    )
    return FINDINGS if options["check"] and faults else DONE


def _reader(dataset: Path, options: dict[str, Any], reporter: Reporter) -> BatchReader:
    from dicom_etl.batches import BatchReader

    fractions = options["fractions"]
    same = ("batch_size", "split", "fold", "split_seed", "exclude_flagged", "imputed", "seed", "remainder")
    also = ("shuffle", "rank", "world_size", "normalize", "prefetch", "threads")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        reader = BatchReader(
            dataset,
            structures=names_in(options["structures"]),
            fractions=None if fractions is None else SHARES.read("fractions", fractions),
            patients=options["patients"] or None,
            **{name: options[name] for name in (*same, *also)},
        )
    for warning in caught:
        if not reporter.quiet:
            click.echo(f"dicom-etl: {warning.message}", err=True)
    return reader


def _read_state(path: Path) -> dict[str, Any]:
    with os_errors_as(ConfigError, f"cannot read the state {str(path)!r}"):
        text = path.read_bytes()
    try:
        state = json.loads(text)
    except ValueError:
        state = None
    if not isinstance(state, dict):
        raise ConfigError(f"{str(path)!r} holds no state; --save-state writes one")
    return state


def _as_json(epoch: EpochStatistics) -> dict[str, Any]:
    seconds = max(epoch.seconds, 1e-9)
    counts = ("epoch", "batches", "samples", "unique", "padding", "missed", "repeated", "complete")
    found = {name: getattr(epoch, name) for name in (*counts, "foreground_share")}
    speed = {"samples_per_second": epoch.samples, "megabytes_per_second": epoch.nbytes / 1e6}
    return found | {name: amount / seconds for name, amount in speed.items()}
