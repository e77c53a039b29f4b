"""The options about where the work runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import TYPE_CHECKING, Any

import click

from dicom_etl.workers import KINDS, PROCESSES

if TYPE_CHECKING:
    from dicom_etl.workers import Executor


@dataclass(frozen=True, slots=True)
class Work:
    """What the options of `work_options` say."""

    jobs: int | None
    executor: str
    scheduler: str | None

    def open(self) -> Executor:
        """Return the executor; see `dicom_etl.workers.open_executor`."""
        from dicom_etl.workers import open_executor

        return open_executor(self.jobs, kind=self.executor, scheduler=self.scheduler)


def work_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add --jobs, --executor and --scheduler; the command gets them as ``work``, one `Work`."""

    @wraps(command)
    def gathered(**values: Any) -> Any:
        work = Work(*(values.pop(name) for name in Work.__slots__))
        return command(work=work, **values)

    for option in (
        click.option(
            "--scheduler",
            metavar="ADDRESS",
            help="Of a Dask cluster, as in tcp://host:8786; else one is started.",
        ),
        click.option(
            "--executor",
            type=click.Choice(KINDS),
            default=PROCESSES,
            show_default=True,
            help="Where the work runs: processes of this machine, or a Dask cluster.",
        ),
        click.option(
            "--jobs",
            type=click.IntRange(min=1),
            metavar="N",
            help="Processes to work in, this one included; as many as there are cores to use when not given.",
        ),
    ):
        gathered = option(gathered)
    return gathered
