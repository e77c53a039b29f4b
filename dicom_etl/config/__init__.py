"""Options of a run: frozen, checked on construction, and split by whether they shape the data.

`IngestConfig` is what the dataset's ``config`` attribute records; nothing in it may depend on the machine, the
number of workers or where things lie on disk.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from dicom_etl.config.kinds import (
    COLUMNS,
    FLAG,
    GAP,
    NAME_MAP,
    NAMES,
    PATH,
    SERIES,
    SHARD,
    SHARES,
    SIZE,
    TEXT,
    WORDS,
    Options,
    choice,
    documented,
    in_content,
    in_input,
    in_labels,
    in_limits,
    in_output,
    in_work,
    number,
    recorded,
    whole,
)
from dicom_etl.errors import ConfigError

LAYOUTS = ("linked-folders", "sunnybrook-cap", "sunnybrook-miccai", "rvsc", "tree")
RASTER_RULES = ("coverage", "centre", "pillow")
_PSEUDONYM = re.compile("[a-z2-7]{16}:[0-9]+").fullmatch
_GONE = {"lzf": "h5py alone reads it, and h5wasm reads wrong numbers from it; gzip is read everywhere"}
IMPUTE_MODES = ("spatial", "temporal", "both", "nearest")
IMPUTE_WAYS = ("image", "contours", "distance")
PROCESSES, DASK = "processes", "dask"
EXECUTORS = (PROCESSES, DASK)
_EXCLUDED = replace(WORDS, metavar="PATIENT[:STRUCTURE]")
_BYTES = whole(1, (1 << 63) - 1, "BYTES")


@documented
@dataclass(frozen=True, slots=True, kw_only=True)
class SourceOptions(Options):
    """Where the parts of a SOURCE lie, and how its patients are named."""

    dicoms: Path | None = in_input(None, PATH, "Images, when not SOURCE/dicoms.")
    contours: Path | None = in_input(None, PATH, "Contours, when not SOURCE/contourfiles.")
    links: Path | None = in_input(None, PATH, "Link table, when not SOURCE/link.csv.")
    link_columns: tuple[str, ...] = in_input(
        (), COLUMNS, "Headings of the link table: the patient's, then the original's."
    )
    layout: str | None = in_input(
        None, choice(*LAYOUTS), "How SOURCE is arranged; by default it is recognised."
    )
    patient_from: str | None = in_input(
        None, choice("folder", "header"), "What names a patient of a tree: its folder, or PatientID."
    )
    pseudonymize: Path | None = in_input(
        None, PATH, "Key file (32 random bytes or more): ids and paths become pseudonyms."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelOptions(Options):
    """What of `IngestConfig` is about label files; their readers go by it."""

    structures: tuple[str, ...] | None = in_labels(
        None, NAMES, "Take only these structures, such as icontour,ocontour."
    )
    structure_map: tuple[str, ...] = in_labels(
        (), NAME_MAP, "What names of labels stand for; recorded as digests of the names."
    )
    labels: tuple[str, ...] = in_labels(
        (), WORDS, "Take only labels of this format, or of files that fit this pattern."
    )
    number_from: str | None = in_labels(
        None, choice("header", "name"), "What the numbers of labels mean: InstanceNumber or file names."
    )
    series: tuple[str, ...] = in_labels(
        (), SERIES, "Series that the labels of a patient, or of all, are drawn on."
    )
    contour_origin: float | None = in_labels(
        None, choice(0, 0.5, 1), "What contour files call the first pixel; by default as their format."
    )
    max_image_bytes: int = in_limits(256 << 20, _BYTES, "Largest decoded image.")
    max_file_bytes: int = in_limits(384 << 20, _BYTES, "Largest DICOM file.")
    max_header_bytes: int = in_limits(16 << 20, _BYTES, "Most bytes before the pixels of a DICOM file.")
    max_item_memory: int = in_limits(400 << 20, _BYTES, "Most memory for decoding one DICOM file.")
    max_item_seconds: float = in_limits(
        4.0, number(0.1, 1e9, "S"), "Longest time for decoding one DICOM file."
    )
    max_contour_bytes: int = in_limits(10_000_000, _BYTES, "Largest contour file.")
    max_contour_points: int = in_limits(100_000, whole(1, (1 << 63) - 1), "Most points of a contour file.")


@documented
@dataclass(frozen=True, slots=True, kw_only=True)
class IngestConfig(LabelOptions):
    """Every option of ``ingest`` that shapes the data."""

    allow_self_intersection: bool = in_labels(
        False, FLAG, "Fill outlines that cross themselves (even-odd), do not refuse them."
    )
    raster_rule: str = in_labels(
        "coverage", choice(*RASTER_RULES), "When a pixel is in: half covered, centre inside, or as Pillow."
    )
    mask_values: str = in_labels(
        "binary", choice("binary", "coverage"), "Masks of 0 and 1, or of 0 to 255: the covered share."
    )
    impute: str | None = in_labels(
        None, choice(*IMPUTE_MODES), "Fill slices that nobody drew, between drawn ones."
    )
    impute_max_gap: tuple[float, float] = in_labels(
        (25.0, 1000.0), GAP, "Widest gap between the two drawn slices, in mm and in ms."
    )
    impute_way: str = in_labels(
        "image", choice(*IMPUTE_WAYS), "How a slice is imputed from the two drawn ones."
    )
    unlabeled: bool = in_content(False, FLAG, "Keep images without a contour, with empty masks.")
    expect_size: tuple[int, int] | None = in_content(
        None, SIZE, "Leave out images of any other size, and report them."
    )
    size: tuple[int, int] | None = in_content(
        None, SIZE, "Crop or pad images to this size, about their centre."
    )
    spacing_mm: float | None = in_content(
        None, number(0.01, 100, "MM"), "Resample images, and move contours, to pixels of this size."
    )
    exclude: tuple[str, ...] = in_content(
        (), _EXCLUDED, "Leave out a patient, or the labels of one structure of it; may be repeated."
    )
    drop_flagged: bool = in_content(
        False, FLAG, "Leave out every label that a finding doubts (looks at all of them first)."
    )
    split: tuple[float, ...] | None = in_content(
        None, SHARES, "Shares, as in 0.7/0.15/0.15; patients that share data stay together."
    )
    folds: int | None = in_content(
        None, whole(2, metavar="K"), "Give each sample one of K cross-validation folds."
    )
    split_seed: int = in_content(0, whole(0), "Seed of the split and of the folds.")
    group_by: str | None = in_content(
        None,
        choice("folder", "header"),
        "One patient of a split: a folder, or a PatientID (default: one not all share).",
    )
    compression: str = in_output(
        "none", choice("none", "gzip", gone=_GONE), "Filter for images and masks; none reads fastest."
    )
    fletcher32: bool = in_output(False, FLAG, "Store a checksum with each image and mask.")
    decisions_sha256: str = recorded("", TEXT, "SHA-256 of the decisions file; empty for none.")
    pseudonymize: bool = recorded(False, FLAG, "Ids and paths are pseudonyms; the key is recorded nowhere.")

    def _check(self) -> None:
        if self.mask_values == "coverage" and self.raster_rule != "coverage":
            raise ConfigError(f"`mask_values` coverage needs `raster_rule` coverage, not {self.raster_rule}")
        if self.pseudonymize and any(":" in text and not _PSEUDONYM(text) for text in self.series):
            raise ConfigError(
                "`series` with `pseudonymize`: name patients by pseudonym, as `plan` shows them"
            )

    @property
    def keeps_unlabeled(self) -> bool:
        """Whether images without a label are looked at too."""
        return self.unlabeled or self.impute is not None

    def to_json(self) -> str:
        """Return the canonical text that the dataset records."""
        return json.dumps(asdict(self), sort_keys=True, separators=(",", ":"), allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> IngestConfig:
        """Read what `to_json` of this or an earlier release wrote; refuse an option that this one does not know.

        An option that the text lacks takes the value that reproduces what was done before there was one: a new option
        is no new format.
        """
        try:
            values = json.loads(text)
        except (ValueError, RecursionError):
            raise ConfigError("the recorded config is not JSON") from None
        if not isinstance(values, dict):
            raise ConfigError("the recorded config is no table of options")
        unknown = sorted(values.keys() - {each.name for each in fields(cls)})
        if unknown:
            raise ConfigError(
                f"the recorded config has the option {unknown[0]!r}, which this release does not know; a later one "
                "made the dataset"
            )
        return cls(**_BEFORE_THERE_WAS_ONE | values)


_BEFORE_THERE_WAS_ONE: dict[str, Any] = {"group_by": "folder"}
"""Options whose default is not what was done before they existed: that value, for datasets of that time."""


@documented
@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionOptions(Options):
    """What a person decided about labels and findings."""

    decisions: Path | None = in_labels(
        None, PATH, "CSV file of what was decided: labels to drop, findings to keep."
    )


@documented
@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions(Options):
    """Options of one run that leave no trace in the rows of the dataset."""

    overwrite: bool = in_output(False, FLAG, "Replace an existing file.")
    list_unlabeled: bool = in_content(False, FLAG, "Report each image without a contour by name.")
    strict: bool = in_output(False, FLAG, "Fail, and write nothing, on any error or warning.")
    timestamp: bool = in_output(False, FLAG, "Record the time; two runs then make different bytes.")
    shard: tuple[int, int] | None = in_output(
        None, SHARD, "Make the I-th of N parts, counted from 1; merge joins them."
    )
    resume: bool = in_output(
        False, FLAG, "Keep finished studies beside the output, and take those kept before."
    )
    reuse: Path | None = in_output(
        None, PATH, "Take from this earlier dataset the studies that did not change."
    )


@documented
@dataclass(frozen=True, slots=True, kw_only=True)
class WorkOptions(Options):
    """Where the work of a run is done; the output never depends on it."""

    jobs: int | None = in_work(
        None, whole(1), "Processes to work in, this one included; by default one a core."
    )
    executor: str = in_work(PROCESSES, choice(*EXECUTORS), "Processes of this machine, or a Dask cluster.")
    scheduler: str | None = in_work(
        None, TEXT, "Address of a Dask cluster, tcp://host:8786; else one is started."
    )

    def _check(self) -> None:
        if self.scheduler is not None and self.executor != DASK:
            raise ConfigError(f"`scheduler` is for `executor` {DASK}")
