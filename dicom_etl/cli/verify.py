"""dicom-etl verify: prove a dataset, and find wrong labels."""

from __future__ import annotations

from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dicom_etl.checks.limits import LIMITS, LabelLimits, VerifyOptions
from dicom_etl.cli._boundary import DONE
from dicom_etl.cli._options import PATH, Command, Option, common_options, options_of, read_toml
from dicom_etl.cli._render import Reporter
from dicom_etl.config import SourceOptions, WorkOptions

if TYPE_CHECKING:
    from dicom_etl.verification.outcome import Outcome

_PICTURES = 8
"""Samples that the command at the end names."""


@click.command(
    name="verify",
    cls=Command,
    epilog="Example: dicom-etl verify dataset.h5 --source study_data",
)
@click.argument("dataset", type=PATH, required=False)
@click.option(
    "--source", cls=Option, section="input", type=PATH, help="Compare with this SOURCE, file by file."
)
@options_of(SourceOptions, VerifyOptions)
@options_of(WorkOptions, only=("jobs",))
@click.option("--show-limits", is_flag=True, help="Print the limits of the label checks; do nothing else.")
@common_options
def command(
    reporter: Reporter,
    dataset: Path | None,
    source: Path | None,
    show_limits: bool,
    limits: str | dict[str, Any] | None,
    **options: Any,
) -> int:
    """Prove a dataset: its bytes, its structure, every row; then look for wrong labels, and for changes of SOURCE.

    Exit code 0: nothing that counts. 1: the bytes are not those that were sealed, and nothing was read from
    them. 3: findings.
    """
    if isinstance(limits, str):
        limits = read_toml(Path(limits))
    options["limits"] = {} if limits is None else limits
    if show_limits:
        _show_limits(reporter, LIMITS.read("limits", options["limits"]))
        return DONE
    if dataset is None:
        raise click.UsageError("Missing argument 'DATASET'.")
    from dicom_etl import api

    outcome = api.verify(dataset, source=source, progress=reporter.progress, **options)
    _print(reporter, outcome)
    reporter.json(outcome.to_json())
    return outcome.exit_code


def _show_limits(reporter: Reporter, limits: LabelLimits) -> None:
    meanings = {each.name: each.metadata["help"] for each in fields(LabelLimits)}
    for name, meaning in meanings.items():
        reporter.line(f"{name.replace('_', '-'):<21} = {getattr(limits, name):<5g} # {meaning}")
    reporter.json({"limits": asdict(limits), "meaning": meanings})


def _print(reporter: Reporter, outcome: Outcome) -> None:
    for notice in outcome.notices:
        reporter.warning(notice)
    reporter.line(_headline(outcome))
    changed = outcome.options.limits.changed().items()
    reporter.facts(
        [
            ("seal", _seal_state(outcome)),
            ("SHA-256", outcome.sha256 or "unknown"),
            ("samples", outcome.samples),
            ("checks", outcome.checks),
            ("source", outcome.source or "not compared"),
            (
                "limits",
                ", ".join(f"{name.replace('_', '-')} {value:g}" for name, value in changed) or "as usual",
            ),
            ("time", f"{reporter.seconds:.1f} s"),
        ]
    )
    reporter.issues(outcome.findings)
    found = (issue for issue in outcome.findings if issue.severity != "note")
    samples = sorted({issue.sample for issue in found if issue.sample is not None})
    if samples:
        chosen = " ".join(f"--sample {sample}" for sample in samples[:_PICTURES])
        reporter.line()
        reporter.line(f"to look at them: dicom-etl preview {outcome.file} {chosen} -o look.png")


def _headline(outcome: Outcome) -> str:
    """Say in one line what came of it: what a person reads who reads nothing else."""
    if outcome.damaged:
        expected = "that --expect names" if outcome.sha256 else "that were sealed"
        return f"FAILED: {outcome.file}: its bytes are not those {expected}"
    count = len(outcome.findings)
    found = f"{count} finding{'s' if count > 1 else ''}" if count else "no findings"
    if outcome.exit_code:
        return f"FAILED: {outcome.file}, {found}"
    what = "seal and structure of " if outcome.options.fast else ""
    return f"verified {what}{outcome.file}, {found}"


def _seal_state(outcome: Outcome) -> str:
    if not outcome.damaged:
        return "holds"
    seal = "holds, but is not the one expected" if outcome.sha256 else "broken"
    return f"{seal}; nothing was read from the file"
