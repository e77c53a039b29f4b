"""The library: what the commands do, as functions of plain values.

Paths are str or Path. Every option of a command is a keyword of the same name, with underscores (``--max-item-seconds``
is ``max_item_seconds``; ``--spacing`` is ``spacing_mm``), and takes a value of Python or the text that the command line
would take: ``size=(128, 128)`` or ``size="128x128"``.
"""

from __future__ import annotations

import difflib
import inspect
import os
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import cache
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from dicom_etl.checks.limits import VerifyOptions
from dicom_etl.config import DASK, DecisionOptions, IngestConfig, RunOptions, SourceOptions, WorkOptions
from dicom_etl.config.kinds import PATH, Options, options_in
from dicom_etl.errors import ConfigError, os_errors_as
from dicom_etl.workers import Progress, open_executor, silent

if TYPE_CHECKING:
    from dicom_etl.checks.decisions import Decisions
    from dicom_etl.impute.score import Score
    from dicom_etl.layouts import SourceRoots
    from dicom_etl.layouts.pseudonyms import Pseudonyms
    from dicom_etl.pipeline.summary import Summary
    from dicom_etl.verification.outcome import Outcome

AnyPath: TypeAlias = str | os.PathLike[str]
Function = TypeVar("Function", bound=Callable[..., Any])


def _takes(*classes: type[Options]) -> Callable[[Function], Function]:
    """Show the options of some dataclasses in the signature and the docstring of a function."""

    def show(function: Function) -> Function:
        own = inspect.signature(function)
        options = [each for options in classes for each in options_in(options)]
        keywords = [
            inspect.Parameter(each.name, inspect.Parameter.KEYWORD_ONLY, default=each.default)
            for each in options
        ]
        parameters = [each for each in own.parameters.values() if each.kind is not each.VAR_KEYWORD]
        function.__signature__ = own.replace(parameters=parameters + keywords)  # type: ignore[attr-defined]
        lines = [
            f"    {each.name} : {each.metadata['kind'].says}\n        {each.metadata['help']}\n"
            for each in options
        ]
        function.__doc__ = (function.__doc__ or "").replace("    **options\n", "".join(lines))
        return function

    return show


def _sorted(given: dict[str, Any], *classes: type[Options]) -> dict[type[Options], dict[str, Any]]:
    """Return the keywords that were given by the class that has them."""
    owners = {each.name: options for options in classes for each in options_in(options)}
    found: dict[type[Options], dict[str, Any]] = {options: {} for options in classes}
    for keyword, value in given.items():
        if keyword not in owners:
            close = difflib.get_close_matches(keyword, owners, n=1)
            raise ConfigError(
                f"there is no option `{keyword}`" + (f"; did you mean `{close[0]}`?" if close else "")
            )
        found[owners[keyword]][keyword] = value
    return found


def _open_source(
    source: AnyPath | None, options: SourceOptions
) -> tuple[SourceRoots, Pseudonyms | None, list[str]]:
    """Find the parts of a SOURCE and read the key of its pseudonyms; last, what there is to say about that key."""
    from dicom_etl import pipeline
    from dicom_etl.layouts.pseudonyms import read_key

    roots = pipeline.locate(None if source is None else PATH.read("source", source), options)
    if options.pseudonymize is None:
        return roots, None, []
    pseudonyms, warning = read_key(options.pseudonymize, apart_from=roots)
    return roots, pseudonyms, [warning] if warning else []


def _run(
    source: AnyPath | None,
    output: Path | None,
    config: IngestConfig | None,
    run: RunOptions,
    given: dict[type[Options], dict[str, Any]],
    progress: Progress,
) -> Summary:
    """Plan, and make the output if there is to be one; workers of a cluster must see SOURCE as this process does."""
    where, work = SourceOptions(**given[SourceOptions]), WorkOptions(**given[WorkOptions])
    opened = cache(lambda: _open_source(source, where))
    # Before anything of ours is imported, which takes as long as a worker takes to start.
    with open_executor(
        work.jobs,
        kind=work.executor,
        scheduler=work.scheduler,
        source=lambda: attrgetter("dicoms", "contours", "links")(opened()[0].resolved()),
        preload="dicom_etl.stages.study",
    ) as executor:
        from dicom_etl import pipeline

        decided = _decisions(given[DecisionOptions])
        data = replace(_config(config, given[IngestConfig], where), decisions_sha256=decided.sha256)
        roots, pseudonyms, notices = opened()
        if work.executor == DASK:
            roots = roots.resolved()
        common: dict[str, Any] = {"executor": executor, "progress": progress}
        common |= {"pseudonyms": pseudonyms, "decisions": decided}
        if output is not None:
            summary = pipeline.ingest(roots, output, data, run, **common)
        else:
            planned = pipeline.Plan(roots, data, run, **common, read_outlines=True)
            planned.spec()
            summary = planned.summary
            summary.issues = planned.ledger.settle(summary.issues, {})
    summary.notices[:0] = notices
    return summary


@_takes(SourceOptions, DecisionOptions, IngestConfig, RunOptions, WorkOptions)
def ingest(
    source: AnyPath | None,
    output: AnyPath,
    *,
    config: IngestConfig | None = None,
    progress: Progress = silent,
    **options: Any,
) -> Summary:
    """Turn a SOURCE of DICOM images and contour files into one HDF5 dataset.

    Inputs that cannot be used are left out; ``issues`` of the result names each, with the reason.

    Parameters
    ----------
    source : str or Path, optional
        The folder; None where its parts are named one by one.
    output : str or Path
        The file to make. It appears whole, or not at all.
    config : IngestConfig, optional
        Values of the options that shape the data; keywords win.
    progress : callable, optional
        Called as ``progress(stage, done, total)``.
    **options

    Returns
    -------
    Summary
        Counts, issues, and the digest of the file.

    Raises
    ------
    ConfigError
        When there is no such option, or its value cannot be used.
    SourceError
        When the SOURCE as a whole cannot be used; nothing is written.
    OutputError
        When the file cannot be written; an older one stays as it was.
    MissingExtraError
        When an option needs an optional package that is not installed.

    Examples
    --------
    >>> import dicom_etl
    >>> dicom_etl.ingest("study", "dataset.h5", structures="icontour", size=(128, 128), jobs=2)  # doctest: +SKIP
    <dataset.h5: 86 samples of 5 studies, 0 errors, 2 warnings, sha256 0f2a81c6c2a4..>
    """
    given = _sorted(options, SourceOptions, DecisionOptions, IngestConfig, RunOptions, WorkOptions)
    run, target = RunOptions(**given[RunOptions]), PATH.read("output", output)
    return _run(source, target, config, run, given, progress)


@_takes(SourceOptions, DecisionOptions, IngestConfig, WorkOptions)
def plan(
    source: AnyPath | None,
    *,
    config: IngestConfig | None = None,
    list_unlabeled: bool = False,
    progress: Progress = silent,
    **options: Any,
) -> Summary:
    """Say what `ingest` would make of a SOURCE, from names and headers alone; write nothing.

    Pixels and points of contours are not read, so `ingest` can still find more.

    Parameters
    ----------
    source : str or Path, optional
        The folder; None where its parts are named one by one.
    config : IngestConfig, optional
        Values of the options that shape the data; keywords win.
    list_unlabeled : bool
        Report each image without a contour by name.
    progress : callable, optional
        Called as ``progress(stage, done, total)``.
    **options

    Returns
    -------
    Summary
        Counts and issues.

    Raises
    ------
    ConfigError
        When there is no such option, or its value cannot be used.
    SourceError
        When the SOURCE as a whole cannot be used.
    """
    given = _sorted(options, SourceOptions, DecisionOptions, IngestConfig, WorkOptions)
    return _run(source, None, config, RunOptions(list_unlabeled=list_unlabeled), given, progress)


@_takes(SourceOptions, VerifyOptions)
def verify(
    dataset: AnyPath,
    *,
    source: AnyPath | None = None,
    jobs: int | None = None,
    progress: Progress = silent,
    **options: Any,
) -> Outcome:
    """Prove a dataset: its bytes, its structure, every row; then look for wrong labels, and for changes of SOURCE.

    Parameters
    ----------
    dataset : str or Path
        The file.
    source : str or Path, optional
        Compare it with this SOURCE, file by file.
    jobs : int, optional
        Processes to work in, this one included; by default one a core.
    progress : callable, optional
        Called as ``progress(stage, done, total)``.
    **options

    Returns
    -------
    Outcome
        ``ok``, and the findings.

    Raises
    ------
    ConfigError
        When there is no such option, or its value cannot be used.
    DatasetError
        When there is no such file.
    SourceError
        When the SOURCE as a whole cannot be used.
    """
    given = _sorted(options, SourceOptions, VerifyOptions)
    where = SourceOptions(**given[SourceOptions])
    roots, pseudonyms = None, None
    notices: list[str] = []
    with open_executor(WorkOptions(jobs=jobs).jobs, preload="dicom_etl.verification.study") as executor:
        from dicom_etl.verification.dataset import verify_dataset

        if source is not None or where.dicoms is not None:
            roots, pseudonyms, notices = _open_source(source, where)
        outcome = verify_dataset(
            PATH.read("dataset", dataset),
            VerifyOptions(**given[VerifyOptions]),
            source=roots,
            pseudonyms=pseudonyms,
            executor=executor,
            progress=progress,
        )
    outcome.notices = notices
    outcome.source = "" if roots is None else source_name(source, where.pseudonymize)
    return outcome


def merge(
    parts: Iterable[AnyPath], output: AnyPath, *, overwrite: bool = False, progress: Progress = silent
) -> Summary:
    """Join datasets: the parts of a sharded ingest.

    Parameters
    ----------
    parts : iterable of str or Path
        The files, in any order.
    output : str or Path
        The file to make. It appears whole, or not at all.
    overwrite : bool
        Replace an existing file.
    progress : callable, optional
        Called as ``progress(stage, done, total)``.

    Returns
    -------
    Summary
        Counts, issues, and the digest of the file.

    Raises
    ------
    ConfigError
        When a value cannot be used.
    DatasetError
        When a file is damaged, or files do not go together.
    OutputError
        When the file cannot be written.
    """
    from dicom_etl.pipeline.merge import merge as merge_parts

    if isinstance(parts, str | os.PathLike):
        raise ConfigError("`parts` must be several paths, not one")
    run = RunOptions(overwrite=overwrite)
    paths = [PATH.read("parts", part) for part in parts]
    return merge_parts(paths, PATH.read("output", output), overwrite=run.overwrite, progress=progress)


def impute_score(
    source: AnyPath | None, *, progress: Progress = silent, **options: Any
) -> tuple[list[tuple[str, Score]], Summary]:
    """Leave drawn slices out, impute them, and compare; see `dicom_etl.pipeline.score.score_source`."""
    from dicom_etl.pipeline.score import score_source

    given = _sorted(options, SourceOptions, IngestConfig)
    where = SourceOptions(**given[SourceOptions])
    roots, pseudonyms, notices = _open_source(source, where)
    config = _config(None, given[IngestConfig], where)
    scores, summary = score_source(roots, config, progress=progress, pseudonyms=pseudonyms)
    summary.notices[:0] = notices
    return scores, summary


def source_name(source: AnyPath | None, pseudonymize: Path | None) -> str:
    """Name a SOURCE in a title; with pseudonyms its path is not repeated, since a folder can be a person's name."""
    if source is None:
        return "the named folders"
    return str(source) if pseudonymize is None else "SOURCE, with pseudonyms"


def _decisions(given: dict[str, Any]) -> Decisions:
    from dicom_etl.checks.decisions import Decisions

    path = DecisionOptions(**given).decisions
    if path is None:
        return Decisions()
    with os_errors_as(ConfigError, f"`decisions`: {str(path)!r} cannot be read"):
        return Decisions.parse(path.read_bytes(), str(path))


def _config(base: IngestConfig | None, given: dict[str, Any], where: SourceOptions) -> IngestConfig:
    return replace(base or IngestConfig(), **given, pseudonymize=where.pseudonymize is not None)
