"""Options of a run: frozen, checked on construction, and split by whether they shape the data.

`IngestConfig` is what the dataset's ``config`` attribute records; nothing in it may depend on the machine, the
number of workers or where things lie on disk.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass, fields
from math import inf
from pathlib import Path
from typing import Any

from dicom_etl.errors import ConfigError

RASTER_RULES = ("coverage", "centre", "pillow")
COMPRESSIONS = ("none", "gzip")
MASK_VALUES = ("binary", "coverage")
IMPUTE_MODES = ("spatial", "temporal", "both", "nearest")
IMPUTE_WAYS = ("image", "contours", "distance")
MAX_SIDE = 65_535
"""DICOM Rows and Columns are 16-bit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelOptions:
    """What of `IngestConfig` the readers of label files go by; see there."""

    contour_origin: float | None = None
    max_bytes: int = 10_000_000
    max_points: int = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class IngestConfig:
    """Every option of ``ingest`` that shapes the data.

    Attributes
    ----------
    structures : tuple of str, optional
        Structures to take; None takes all that are found.
    unlabeled : bool
        Keep images without a contour as samples.
    expect_size : (int, int), optional
        Rows and columns that an image must have; others become findings.
    contour_origin : {0, 0.5, 1}, optional
        What contour files call the first pixel's centre; None takes what each format states.
    raster_rule : str
        One of `RASTER_RULES`.
    mask_values : str
        ``"binary"``: 0 and 1. ``"coverage"``: 0..255, the covered share of each pixel.
    size : (int, int), optional
        Rows and columns of the dataset; images are cropped or padded about their centre.
    spacing_mm : float, optional
        In-plane pixel spacing of the dataset; images are resampled.
    compression : str
        One of `COMPRESSIONS`, for images and masks.
    fletcher32 : bool
        Checksums on image and mask chunks.
    allow_self_intersection : bool
        Fill outlines that cross themselves by the even-odd rule, instead of refusing them.
    impute : str, optional
        One of `IMPUTE_MODES`: fill slices that nobody drew from drawn ones between which they lie.
    impute_max_gap : (float, float)
        Widest gap between the two parents, in mm along the stack and in ms around the cardiac cycle.
    impute_way : str
        One of `IMPUTE_WAYS`: how a slice is made of its parents.
    split : tuple of float, optional
        Shares of the samples for train, validation and test, whole patients each.
    folds : int, optional
        Cross-validation folds, whole patients each; test samples are in none.
    split_seed : int
        Another seed, other sides.
    pseudonymize : bool
        Ids and paths are pseudonyms; the key for them is no option and is recorded nowhere.
    max_image_bytes, max_file_bytes, max_header_bytes, max_item_memory : int
        Images that take more are refused; `dicom_etl.dicom.Limits` says what each bounds.
    max_item_seconds : float
        Images that take longer to decode are refused.
    max_contour_bytes, max_contour_points : int
        Larger contour files are refused.

    Raises
    ------
    ConfigError
        When a value cannot be used.
    """

    structures: tuple[str, ...] | None = None
    unlabeled: bool = False
    expect_size: tuple[int, int] | None = None
    contour_origin: float | None = None
    raster_rule: str = "coverage"
    mask_values: str = "binary"
    size: tuple[int, int] | None = None
    spacing_mm: float | None = None
    compression: str = "none"
    fletcher32: bool = False
    allow_self_intersection: bool = False
    impute: str | None = None
    impute_max_gap: tuple[float, float] = (25.0, 1000.0)
    impute_way: str = "image"
    split: tuple[float, ...] | None = None
    folds: int | None = None
    split_seed: int = 0
    pseudonymize: bool = False
    max_image_bytes: int = 256 << 20
    max_file_bytes: int = 384 << 20
    max_header_bytes: int = 16 << 20
    max_item_memory: int = 400 << 20
    max_item_seconds: float = 4.0
    max_contour_bytes: int = 10_000_000
    max_contour_points: int = 100_000

    def __post_init__(self) -> None:
        _one_of("--raster-rule", self.raster_rule, RASTER_RULES)
        _one_of("--mask-values", self.mask_values, MASK_VALUES)
        if self.mask_values == "coverage" and self.raster_rule != "coverage":
            raise ConfigError(f"--mask-values coverage needs --raster-rule coverage, not {self.raster_rule}")
        if self.compression == "lzf":
            raise ConfigError(
                "--compression lzf is no choice any more: h5py alone reads it, and h5wasm reads wrong numbers from it; "
                "gzip is read everywhere"
            )
        _one_of("--compression", self.compression, COMPRESSIONS)
        if self.contour_origin not in (None, 0, 0.5, 1):
            raise ConfigError(f"--contour-origin must be 0, 0.5 or 1, not {self.contour_origin}")
        if self.contour_origin is not None and self.contour_origin != 0.5:
            object.__setattr__(
                self, "contour_origin", int(self.contour_origin)
            )  # recorded alike, given as 1 or 1.0
        for option, size in (("--size", self.size), ("--expect-size", self.expect_size)):
            if size is not None and not all(1 <= side <= MAX_SIDE for side in size):
                raise ConfigError(
                    f"{option} must be ROWSxCOLUMNS of 1 to {MAX_SIDE}, not {size[0]}x{size[1]}"
                )
        if self.impute is not None:
            _one_of("--impute", self.impute, IMPUTE_MODES)
        _one_of("--impute-way", self.impute_way, IMPUTE_WAYS)
        if not all(0 < gap < inf for gap in self.impute_max_gap):
            raise ConfigError(
                f"--impute-max-gap must be two positive numbers MM/MS, not {self.impute_max_gap}"
            )
        if self.split is not None:
            from dicom_etl.splits import check_fractions  # needs numpy, which help texts do without

            check_fractions(self.split)
        if self.folds is not None and self.folds < 2:
            raise ConfigError(f"--folds must be at least 2, not {self.folds}")
        if self.split_seed < 0:
            raise ConfigError(f"--split-seed must be 0 or more, not {self.split_seed}")
        if self.spacing_mm is not None and not 0.01 <= self.spacing_mm <= 100:
            raise ConfigError(f"--spacing must be 0.01 to 100 mm, not {self.spacing_mm}")
        if self.structures is not None:
            _check_structures(self.structures)
            object.__setattr__(self, "structures", tuple(sorted(set(self.structures))))
        for name in (option.name for option in fields(self) if option.name.startswith("max_")):
            _check_limit(name, getattr(self, name))

    def labels(self) -> LabelOptions:
        """Return what readers of label files go by."""
        return LabelOptions(
            contour_origin=self.contour_origin,
            max_bytes=self.max_contour_bytes,
            max_points=self.max_contour_points,
        )

    def to_json(self) -> str:
        """Return the canonical text that the dataset records."""
        return json.dumps(asdict(self), sort_keys=True, separators=(",", ":"), allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> IngestConfig:
        """Read what `to_json` wrote.

        Raises
        ------
        ConfigError
            When the text holds another set of options or a value that cannot be used.
        """
        try:
            values = json.loads(text)
        except ValueError:
            raise ConfigError("the recorded config is not JSON") from None
        names = {option.name for option in fields(cls)}
        if not isinstance(values, dict) or set(values) != names:
            raise ConfigError("the recorded config does not hold the options of this version")
        return cls(**{name: _tuples(value) for name, value in values.items()})


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """Options of one run that leave no trace in the rows of the dataset.

    Attributes
    ----------
    overwrite : bool
        Replace an existing file.
    list_unlabeled : bool
        Report each image without a contour by name.
    strict : bool
        Fail, and write nothing, when there is any error or warning.
    timestamp : bool
        Record the time of the run; two runs then differ.
    shard : (int, int), optional
        ``(i, n)`` takes the i-th of n parts, counted from 1; each study is in one, by a hash of its patient.
    resume : bool
        Keep finished studies beside the output until it is made, and take those that an earlier run has kept.
    reuse : Path, optional
        An earlier dataset: studies whose inputs did not change since are taken from it.

    Raises
    ------
    ConfigError
        When there is no such part.
    """

    overwrite: bool = False
    list_unlabeled: bool = False
    strict: bool = False
    timestamp: bool = False
    shard: tuple[int, int] | None = None
    resume: bool = False
    reuse: Path | None = None

    def __post_init__(self) -> None:
        if self.shard is not None and not 1 <= self.shard[0] <= self.shard[1]:
            raise ConfigError(
                f"--shard {self.shard[0]}/{self.shard[1]}: parts are counted from 1, as in 1/3, 2/3, 3/3"
            )


def parse_shard(text: str) -> tuple[int, int]:
    """Read ``I/N``, as in ``1/3``."""
    found = re.fullmatch(r"([0-9]{1,6})/([0-9]{1,6})", text.strip(), re.ASCII)
    if not found:
        raise ConfigError(f"{text!r} is not a shard; write I/N, as in 1/3")
    return int(found[1]), int(found[2])


def parse_size(text: str) -> tuple[int, int]:
    """Read ``ROWSxCOLUMNS``, as in ``256x256``."""
    found = re.fullmatch(r"([0-9]{1,5})[xX×]([0-9]{1,5})", text.strip())
    if not found:
        raise ConfigError(f"{text!r} is not a size; write ROWSxCOLUMNS, as in 256x256")
    return int(found[1]), int(found[2])


def parse_gap(text: str) -> tuple[float, float]:
    """Read ``MM/MS``, as in ``25/1000``."""
    found = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)/([0-9]+(?:\.[0-9]+)?)", text.strip(), re.ASCII)
    if not found:
        raise ConfigError(f"{text!r} is not a gap; write MM/MS, as in 25/1000")
    return float(found[1]), float(found[2])


def _tuples(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _one_of(option: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ConfigError(f"{option} must be one of {', '.join(allowed)}, not {value!r}")


def _check_limit(name: str, value: float) -> None:
    least = 0.1 if name == "max_item_seconds" else 1
    # Written so that NaN would fail it too.
    if not least <= value < 1 << 63:
        raise ConfigError(f"--{name.replace('_', '-')} must be at least {least}, not {value}")


def _check_structures(structures: tuple[str, ...]) -> None:
    if not structures:
        raise ConfigError("--structures names no structure; leave it out to take all")
    for structure in structures:
        if not re.fullmatch(r"[a-z][a-z0-9_]{0,31}", structure):
            raise ConfigError(f"--structures: {structure!r} is not a structure; icontour is one")
