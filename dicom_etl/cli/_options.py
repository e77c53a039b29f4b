"""Options that several commands share, each spelled once."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from dicom_etl.config import (
    IMPUTE_MODES,
    IMPUTE_WAYS,
    MASK_VALUES,
    RASTER_RULES,
    IngestConfig,
    parse_gap,
    parse_shard,
    parse_size,
)
from dicom_etl.errors import ConfigError
from dicom_etl.executors import KINDS, PROCESSES
from dicom_etl.pseudonyms import Pseudonyms
from dicom_etl.schema import COMPRESSIONS

if TYPE_CHECKING:
    from dicom_etl.layouts import SourceRoots

Decorated = TypeVar("Decorated", bound=Callable[..., Any])
PATH = click.Path(path_type=Path)
LIMITS = {
    "max_image_bytes": "Largest decoded image.",
    "max_file_bytes": "Largest DICOM file.",
    "max_header_bytes": "Most bytes before the pixels of a DICOM file.",
    "max_item_memory": "Most memory for decoding one DICOM file, in bytes.",
    "max_item_seconds": "Longest time for decoding one DICOM file.",
    "max_contour_bytes": "Largest contour file.",
    "max_contour_points": "Most points of a contour file.",
}
"""What protects a run from one hostile or damaged input; the error of a refused input names its option."""


class GapType(click.ParamType[tuple[float, float]]):
    """``MM/MS``."""

    name = "MM/MS"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[float, float]:
        """Read the text, or pass on what was read before."""
        if isinstance(value, tuple):
            return value
        try:
            return parse_gap(str(value))
        except ConfigError as error:
            self.fail(str(error), param, ctx)


class SplitType(click.ParamType[tuple[float, ...]]):
    """``TRAIN/VAL/TEST``."""

    name = "TRAIN/VAL/TEST"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[float, ...]:
        """Read the text, or pass on what was read before."""
        if isinstance(value, tuple):
            return value
        from dicom_etl.splits import parse_fractions

        try:
            return parse_fractions(str(value))
        except ConfigError as error:
            self.fail(str(error), param, ctx)


class ShardType(click.ParamType[tuple[int, int]]):
    """``I/N``."""

    name = "I/N"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, int]:
        """Read the text, or pass on what was read before."""
        if isinstance(value, tuple):
            return value
        try:
            return parse_shard(str(value))
        except ConfigError as error:
            self.fail(str(error), param, ctx)


class SizeType(click.ParamType[tuple[int, int]]):
    """``ROWSxCOLUMNS``."""

    name = "ROWSxCOLUMNS"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, int]:
        """Read the text, or pass on what was read before."""
        if isinstance(value, tuple):
            return value
        try:
            return parse_size(str(value))
        except ConfigError as error:
            self.fail(str(error), param, ctx)


def _read_config(ctx: click.Context, param: click.Parameter, value: Path | None) -> None:
    """Take the options of a TOML file as defaults, so that the command line wins."""
    if value is None:
        return
    try:
        settings = tomllib.loads(value.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise click.BadParameter(f"{value}: {error}", ctx, param) from None
    known = {p.name: p for p in ctx.command.params if isinstance(p, click.Option) and p.name != "config"}
    defaults: dict[str, Any] = {}
    for key, setting in settings.items():
        name = key.replace("-", "_")
        if name not in known:
            allowed = ", ".join(sorted(str(name).replace("_", "-") for name in known))
            raise click.BadParameter(f"{value}: unknown key {key!r}; known are {allowed}", ctx, param)
        defaults[name] = (
            ",".join(map(str, setting)) if name == "structures" and isinstance(setting, list) else setting
        )
    ctx.default_map = {**(ctx.default_map or {}), **defaults}


def common_options(command: Decorated) -> Decorated:
    """Add what every command has: --config, --json, -q, -v."""
    for option in (
        click.option(
            "-v", "--verbose", is_flag=True, help="Print every issue, not only counts and examples."
        ),
        click.option("-q", "--quiet", is_flag=True, help="Print nothing but errors."),
        click.option(
            "--json", "as_json", is_flag=True, help="Print one JSON object on stdout and nothing else there."
        ),
        click.option(
            "--config",
            type=click.Path(path_type=Path, dir_okay=False),
            is_eager=True,
            expose_value=False,
            callback=_read_config,
            help="TOML file with any of these options; the command line wins.",
        ),
    ):
        command = option(command)
    return command


def source_options(command: Decorated) -> Decorated:
    """Add SOURCE and the options that name its parts."""
    for option in (
        click.option("--links", type=PATH, help="Link table, when not SOURCE/link.csv."),
        click.option("--contours", type=PATH, help="Contours, when not SOURCE/contourfiles."),
        click.option("--dicoms", type=PATH, help="Images, when not SOURCE/dicoms."),
        click.argument("source", type=PATH, required=False),
    ):
        command = option(command)
    return command


def jobs_option(command: Decorated) -> Decorated:
    """Add --jobs, --executor and --scheduler."""
    command = click.option(
        "--scheduler",
        metavar="ADDRESS",
        help="Of a Dask cluster, as in tcp://host:8786; else one is started.",
    )(command)
    command = click.option(
        "--executor",
        "kind",
        type=click.Choice(KINDS),
        default=PROCESSES,
        show_default=True,
        help="Where the work runs: processes of this machine, or a Dask cluster.",
    )(command)
    return click.option(
        "--jobs",
        type=click.IntRange(min=1),
        metavar="N",
        help="Processes to work in; as many as there are cores for this one to use when not given.",
    )(command)


def data_options(command: Decorated) -> Decorated:
    """Add every option of `IngestConfig`."""
    default = IngestConfig()
    for option in (
        *_limit_options(default),
        click.option(
            "--allow-self-intersection", is_flag=True, help="Fill outlines that cross themselves (even-odd)."
        ),
        click.option("--fletcher32", is_flag=True, help="Store a checksum with each image and mask."),
        click.option(
            "--compression",
            type=click.Choice(COMPRESSIONS),
            default=default.compression,
            show_default=True,
            help="Filter for images and masks; none reads fastest.",
        ),
        click.option(
            "--spacing",
            type=float,
            metavar="MM",
            help="Resample images to pixels of this size; contours are moved, and drawn on the new grid.",
        ),
        click.option(
            "--size",
            type=SizeType(),
            help="Crop images to this size about their centre, or pad them with their least value.",
        ),
        click.option(
            "--contour-origin",
            type=click.IntRange(0, 1),
            help="What contour files call the first pixel's centre; by default what their format says.",
        ),
        click.option(
            "--mask-values",
            type=click.Choice(MASK_VALUES),
            default=default.mask_values,
            show_default=True,
            help="0 and 1, or 0 to 255: the share of each pixel that is covered.",
        ),
        click.option(
            "--raster-rule",
            type=click.Choice(RASTER_RULES),
            default=default.raster_rule,
            show_default=True,
            help="A pixel is in when half of it is covered, when its centre is inside, or when Pillow says so.",
        ),
        click.option(
            "--expect-size", type=SizeType(), help="Leave out images of any other size, and report them."
        ),
        click.option(
            "--impute-way",
            type=click.Choice(IMPUTE_WAYS),
            default=default.impute_way,
            show_default=True,
            help="Contours moved to the slice's own image, contours blended, or signed distances blended.",
        ),
        click.option(
            "--impute-max-gap",
            type=GapType(),
            default=default.impute_max_gap,
            show_default="25/1000",
            help="Widest gap between the two slices that a third is made of, in mm and in ms.",
        ),
        click.option(
            "--impute",
            type=click.Choice(IMPUTE_MODES),
            help="Fill slices that nobody drew, between drawn locations (spatial), between ED and ES "
            "(temporal), or both; nearest copies, as a baseline.",
        ),
        click.option(
            "--split-seed", type=int, default=default.split_seed, show_default=True, help="Seed of the sides."
        ),
        click.option(
            "--folds", type=int, metavar="K", help="Give each sample one of K cross-validation folds."
        ),
        click.option(
            "--split",
            type=SplitType(),
            help="Shares of train/val/test, as in 0.7/0.15/0.15; patients that share data stay together.",
        ),
        click.option("--unlabeled", is_flag=True, help="Keep images without a contour, with empty masks."),
        click.option(
            "--structures", metavar="A,B", help="Take only these structures, such as icontour,ocontour."
        ),
    ):
        command = option(command)
    return command


def _limit_options(default: IngestConfig) -> Iterator[Callable[[Decorated], Decorated]]:
    """Yield the options that bound what one input may cost, the last one of the help first."""
    for name, meaning in reversed(LIMITS.items()):
        value = getattr(default, name)
        yield click.option(
            f"--{name.replace('_', '-')}", type=type(value), default=value, show_default=True, help=meaning
        )


def pseudonymize_option(command: Decorated) -> Decorated:
    """Add the option that names the key file."""
    option = click.option(
        "--pseudonymize",
        metavar="KEYFILE",
        type=PATH,
        help="Replace ids and paths by pseudonyms made with the key in this file (32 random bytes or more).",
    )
    return option(command)


def read_pseudonyms(
    key_file: Path | None, roots: SourceRoots, warn: Callable[[str], None]
) -> Pseudonyms | None:
    """Read the key file of `pseudonymize_option`, and warn when others may read it too.

    Raises
    ------
    ConfigError
        When it holds no usable key, or lies among the data.
    """
    if key_file is None:
        return None
    from dicom_etl.layouts.keyfile import read_key

    pseudonyms, warning = read_key(key_file, apart_from=roots)
    if warning:
        warn(warning)
    return pseudonyms


def ingest_config(values: dict[str, Any], *, pseudonymize: bool = False) -> IngestConfig:
    """Take the options of `IngestConfig` out of a command's values.

    Raises
    ------
    ConfigError
        When a value cannot be used.
    """
    values["spacing_mm"] = values.pop("spacing", None)
    chosen = {name: values.pop(name) for name in IngestConfig.__dataclass_fields__ if name in values}
    if chosen.get("structures") is not None:
        chosen["structures"] = tuple(part.strip() for part in chosen["structures"].split(",") if part.strip())
    return IngestConfig(**chosen, pseudonymize=pseudonymize)


__all__ = [
    "MASK_VALUES",
    "PATH",
    "RASTER_RULES",
    "ShardType",
    "common_options",
    "data_options",
    "ingest_config",
    "jobs_option",
    "pseudonymize_option",
    "read_pseudonyms",
    "source_options",
]
