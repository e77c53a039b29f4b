"""dicom-etl impute-score: leave drawn slices out, impute them, and say how well that went."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dicom_etl.cli._boundary import DONE, FINDINGS
from dicom_etl.cli._options import (
    Command,
    common_options,
    log_option,
    options_of,
    output_file,
    source_argument,
)
from dicom_etl.cli._render import Reporter, write_csv
from dicom_etl.config import IngestConfig, SourceOptions

if TYPE_CHECKING:
    from dicom_etl.impute.score import Mean


@click.command(
    name="impute-score",
    cls=Command,
    epilog="Example: dicom-etl impute-score study_data --impute-max-gap 25/1000",
)
@source_argument
@options_of(SourceOptions, IngestConfig)
@output_file("--scores", "scores_csv", help="Write every slice and way to this CSV file.")
@log_option
@common_options
def command(reporter: Reporter, source: Path | None, scores_csv: Path | None, **options: Any) -> int:
    """Show how good imputed contours would be on a SOURCE; write nothing.

    Each drawn slice that lies between drawn ones (along the stack, or around the cardiac cycle) is left out,
    imputed from its neighbours by every way, and compared with what was drawn: Dice overlap of the masks, and
    mean distance of the contours in mm.
    """
    from dicom_etl import api
    from dicom_etl.impute.score import Score, means

    found, summary = api.impute_score(source, progress=reporter.progress, **options)
    for notice in summary.notices:
        reporter.warning(notice)
    scores = [score for _, score in found]
    overall, located = means(scores), means(scores, by_location=True)
    reporter.line(
        f"imputed slices of {api.source_name(source, options['pseudonymize'])} beside what was drawn there"
    )
    _print(reporter, overall, located)
    if summary.issues:
        reporter.line("left out, or to look at:")
        reporter.issues(summary.issues)
    if scores_csv is not None:
        header = ("patient_id", *Score._fields)
        write_csv(scores_csv, header, [(patient, *score) for patient, score in found])
    reporter.json(
        {
            "ok": summary.ok,
            "scores": [_plain(mean) for mean in overall],
            "by_location": [_plain(mean) for mean in located],
            "issues": [issue.to_json() for issue in summary.issues],
        }
    )
    return DONE if summary.ok else FINDINGS


def _print(reporter: Reporter, overall: list[Mean], located: list[Mean]) -> None:
    if not overall:
        reporter.line("  no drawn slice lies between two others within --impute-max-gap")
        return
    reporter.line(
        f"  {'structure':<12}{'along':<10}{'way':<10}{'slices':>6}{'Dice':>8}{'least':>8}{'mm':>7}{'conf.':>8}"
    )
    for mean in overall:
        numbers = f"{mean.dice:>8.3f}{mean.least_dice:>8.3f}{mean.distance_mm:>7.2f}{mean.confidence:>8.3f}"
        reporter.line(f"  {mean.structure:<12}{mean.axis:<10}{mean.way:<10}{mean.slices:>6}{numbers}")
    ways = list(dict.fromkeys(mean.way for mean in overall))
    reporter.line("  Dice by location")
    reporter.line(f"  {'structure':<12}{'along':<10}{'location':>8}" + "".join(f"{way:>10}" for way in ways))
    rows: dict[tuple[str, str, int | None], dict[str, float]] = {}
    for mean in located:
        rows.setdefault((mean.structure, mean.axis, mean.location), {})[mean.way] = mean.dice
    for (structure, axis, location), found in rows.items():
        dice = "".join(f"{found[way]:>10.3f}" if way in found else f"{'':>10}" for way in ways)
        reporter.line(f"  {structure:<12}{axis:<10}{location:>8}{dice}")


def _plain(mean: Mean) -> dict[str, Any]:
    return {name: None if value != value else value for name, value in mean._asdict().items()}
