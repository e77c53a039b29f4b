"""The options that shape the data: every one of `IngestConfig`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import click

from dicom_etl.cli._types import GAP, SIZE, SPLIT
from dicom_etl.config import COMPRESSIONS, IMPUTE_MODES, IMPUTE_WAYS, MASK_VALUES, RASTER_RULES, IngestConfig

Decorated = TypeVar("Decorated", bound=Callable[..., Any])
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
            metavar=f"[{'|'.join(COMPRESSIONS)}]",
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
            type=SIZE,
            help="Crop images to this size about their centre, or pad them with their least value.",
        ),
        click.option(
            "--contour-origin",
            type=click.Choice(("0", "0.5", "1")),
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
        click.option("--expect-size", type=SIZE, help="Leave out images of any other size, and report them."),
        click.option(
            "--impute-way",
            type=click.Choice(IMPUTE_WAYS),
            default=default.impute_way,
            show_default=True,
            help="Contours moved to the slice's own image, contours blended, or signed distances blended.",
        ),
        click.option(
            "--impute-max-gap",
            type=GAP,
            default="{:g}/{:g}".format(*default.impute_max_gap),
            show_default=True,
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
            type=SPLIT,
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


def ingest_config(values: dict[str, Any], *, pseudonymize: bool = False) -> IngestConfig:
    """Take the options of `IngestConfig` out of a command's values.

    Raises
    ------
    ConfigError
        When a value cannot be used.
    """
    values["spacing_mm"] = values.pop("spacing", None)
    chosen = {name: values.pop(name) for name in IngestConfig.__dataclass_fields__ if name in values}
    if chosen.get("contour_origin") is not None:
        chosen["contour_origin"] = float(chosen["contour_origin"])
    if chosen.get("structures") is not None:
        chosen["structures"] = tuple(part.strip() for part in chosen["structures"].split(",") if part.strip())
    return IngestConfig(**chosen, pseudonymize=pseudonymize)
