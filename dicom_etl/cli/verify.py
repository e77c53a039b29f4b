"""dicom-etl verify: prove a dataset, and find wrong labels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from dicom_etl.cli._options import PATH, common_options
from dicom_etl.cli._render import Reporter
from dicom_etl.cli._source import Source, pseudonymize_option

if TYPE_CHECKING:
    from dicom_etl.records import Issue
    from dicom_etl.verification.outcome import Outcome

_SHOWN = 20
"""Findings of a severity that are printed without -v."""
_PICTURES = 8
"""Samples that the command at the end names."""


def _limit_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add an option for each limit of the label checks."""
    from dicom_etl.checks.limits import LabelLimits

    for limit in reversed(fields(LabelLimits)):
        name = f"--{limit.name.replace('_', '-')}"
        text = limit.metadata["help"]
        command = click.option(name, type=float, default=limit.default, show_default=True, help=text)(command)
    return command


@click.command(
    name="verify",
    epilog="Example: dicom-etl verify dataset.h5 --source study_data --waive area-jump:SYN00001",
)
@click.argument("dataset", type=PATH)
@click.option("--source", type=PATH, help="Compare with this SOURCE, file by file.")
@click.option("--fast", is_flag=True, help="Stop after the seal and the structure.")
@click.option("--expect", metavar="SHA256", default="", help="What the file must hash to, seal included.")
@click.option(
    "--fail-on",
    type=click.Choice(("error", "warning")),
    default="error",
    show_default=True,
    help="Least severity of a finding for exit code 3.",
)
@click.option(
    "--waive",
    metavar="CODE[:PATIENT]",
    multiple=True,
    help="Findings that do not count; may be repeated. They stay in the output.",
)
@click.option(
    "--look-inside",
    is_flag=True,
    help="When the seal is broken, have a child process with limits on time and memory say what still holds.",
)
@pseudonymize_option
@_limit_options
@common_options
def command(
    dataset: Path,
    source: Path | None,
    fast: bool,
    expect: str,
    fail_on: Literal["error", "warning"],
    waive: tuple[str, ...],
    look_inside: bool,
    pseudonymize: Path | None,
    quiet: bool,
    verbose: bool,
    as_json: bool,
    **limits: float,
) -> None:
    """Prove a dataset: its bytes, its structure, every row; then look for wrong labels, and for changes of SOURCE.

    Exit code 0: nothing that counts. 1: the bytes are not those that were sealed, and nothing was read from
    them. 3: findings.
    """
    from dicom_etl.checks.limits import LabelLimits, VerifyOptions, Waiver
    from dicom_etl.verification.dataset import verify_dataset

    options = VerifyOptions(
        fast=fast,
        look_inside=look_inside,
        expect=expect,
        fail_on=fail_on,
        waivers=tuple(map(Waiver.parse, waive)),
        limits=LabelLimits(**limits),
    )
    with Reporter(quiet=quiet, verbose=verbose, as_json=as_json) as reporter:
        compared = None if source is None else Source(source, None, None, None, pseudonymize)
        roots, pseudonyms = (None, None) if compared is None else compared.open(reporter.warning)
        outcome = verify_dataset(
            dataset, options, source=roots, pseudonyms=pseudonyms, progress=reporter.progress
        )
        outcome.source = "" if compared is None else str(compared)
        _print(reporter, outcome, verbose)
        reporter.json(outcome.to_json())
    raise click.exceptions.Exit(outcome.exit_code)


def _print(reporter: Reporter, outcome: Outcome, verbose: bool) -> None:
    reporter.line(_headline(outcome))
    reporter.facts(
        [
            ("seal", _seal_said(outcome)),
            ("SHA-256", outcome.sha256 or "unknown"),
            ("samples", outcome.samples),
            ("checks", outcome.checks),
            ("source", outcome.source or "not compared"),
            ("waived", f"{len(outcome.waived)} findings" if outcome.waived else "nothing"),
            ("time", f"{reporter.seconds:.1f} s"),
        ]
    )
    for severity in ("error", "warning", "note"):
        found = [issue for issue in outcome.findings if issue.severity == severity]
        if found:
            reporter.line()
            reporter.line(f"{len(found)} {severity}{'s' if len(found) > 1 else ''}")
            _print_table(reporter, found if verbose else found[:_SHOWN])
            if len(found) > _SHOWN and not verbose:
                reporter.line(f"  .. and {len(found) - _SHOWN} more; -v prints all")
    samples = sorted({issue.sample for issue in outcome.findings if issue.sample is not None})
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


def _seal_said(outcome: Outcome) -> str:
    if not outcome.damaged:
        return "holds"
    seal = "holds, but is not the one expected" if outcome.sha256 else "broken"
    return f"{seal}; nothing was read from the file"


def _print_table(reporter: Reporter, findings: list[Issue]) -> None:
    """Print each finding on two lines: where it is and what kind, then how far off it is."""
    wide = max((len(issue.patient_id) for issue in findings), default=0)
    reporter.line(f"  {'sample':>6}  {'patient':<{wide}}  finding")
    for issue in findings:
        sample = "" if issue.sample is None else str(issue.sample)
        reporter.line(f"  {sample:>6}  {issue.patient_id:<{wide}}  {issue.code}  {issue.path}".rstrip())
        reporter.line(f"          {issue.message}")
