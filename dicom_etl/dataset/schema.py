"""The one place that spells the dataset's names, dtypes, axes and format version, for writer, reader and verifier."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import nan
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dicom_etl._version import __version__
from dicom_etl.config import IngestConfig
from dicom_etl.records import Decided, Issue, StatisticRow, StudyRecord

FORMAT = "dicom-etl"
FORMAT_VERSION = 2

IMAGES = "images"
MASKS = "masks"
CONTOURS = "contours"
SAMPLES = "samples"
STUDIES = "studies"
ISSUES = "issues"
DECISIONS = "decisions"
STATISTICS = "statistics"
VERTICES = "vertices"
OFFSETS = "offsets"
DIMENSIONS = ("sample", "y", "x")
KEY_FINGERPRINT = "key_fingerprint"
"""Root attribute of a dataset of pseudonyms: equal where they were made with the same key."""

PART = "part"
INSTANCE_KEY = "instance_key"
"""Of each row of a part: a number that files of the same SOPInstanceUID share; dropped when parts are merged."""

ROWS_PER_CHUNK = 1024
VERTICES_PER_CHUNK = 4096
"""Rows in one chunk of a column: small enough to buffer, large enough to compress."""

MANUAL = "manual"
IMPUTED = "imputed"
UNLABELED = "unlabeled"


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table, filled from the ``field`` of the record, by default the one of its name.

    ``dtype`` "S" is UTF-8 text whose width the data decides, "S8" one of fixed width; ``doc`` is stored as the
    attribute ``long_name``; ``units`` are spelled as in UDUNITS; ``axes`` (name, length) follow the row. A column
    ``by_structure`` stands for one for each structure, called ``<name>_<structure>``: the field holds a tuple in the
    dataset's order, or is empty, which means ``missing``. `sample_columns` spells them out, each with its
    ``structure``. A ``late`` column is known only when all rows are.
    """

    name: str
    dtype: str
    doc: str
    units: str = ""
    axes: tuple[tuple[str, int], ...] = field(default=())
    field: str = ""
    by_structure: bool = False
    missing: Any = None
    late: bool = False
    structure: str = ""

    @property
    def record_field(self) -> str:
        """The field of the record that it is filled from."""
        return self.field or self.name

    @property
    def kind(self) -> str:
        """The kind of its numpy dtype: "S" for text."""
        return self.dtype[0]


def _by_structure(
    name: str, dtype: str, doc: str, field: str = "", missing: Any = None, **more: Any
) -> Column:
    return Column(name, dtype, doc, field=field, missing=missing, by_structure=True, **more)


SAMPLE_COLUMNS = (
    Column("patient_id", "S", "subject, as the source spells it"),
    Column("original_id", "S", "the subject's id in the contour set"),
    Column("study_index", "i4", "row of /studies"),
    Column("stack_index", "i4", "stack of the study, 0 first; -1 unknown"),
    Column("source_image", "S", "image file, relative to SOURCE"),
    Column("frame", "i4", "frame of the image file, 0 first"),
    _by_structure(
        "source",
        "S",
        "{structure} label: file relative to SOURCE, or file#item; empty where none is drawn",
        "sources",
    ),
    _by_structure(
        "reader", "S", "format that {structure} was read from; empty where none is drawn", "readers", ""
    ),
    _by_structure(
        "pixel_origin",
        "f8",
        "what was taken off the {structure} vertices, as the format counts pixels; NaN for mm or none",
        "pixel_origins",
        nan,
    ),
    _by_structure("has", "u1", "1 where {structure} is drawn or imputed (see origin), else 0"),
    _by_structure("flagged", "u1", "1 where the {structure} label is in doubt, else 0", late=True),
    _by_structure("flag_codes", "S", "codes of the findings that doubt the {structure} label", late=True),
    Column("sha256_image_file", "S64", "SHA-256 of the image file"),
    Column("instance_number", "i4", "InstanceNumber (0020,0013); -1 unknown"),
    Column("location_index", "i4", "slice location along the stack, 0 at the end acquired first; -1 unknown"),
    Column("slice_location_mm", "f8", "image position projected on the stack's normal; NaN unknown", "mm"),
    Column("phase_index", "i4", "time in the cardiac cycle, 0 first; -1 unknown"),
    Column("trigger_time_ms", "f8", "TriggerTime (0018,1060); NaN unknown", "ms"),
    Column("cardiac_phase", "S2", "ED end-diastole, ES end-systole, empty neither or unknown"),
    Column(
        "pixel_spacing_mm", "f8", "between rows, between columns; NaN unknown", "mm", (("row_column", 2),)
    ),
    Column(
        "orientation",
        "f8",
        "direction cosines of a row, then of a column; NaN unknown",
        "1",
        (("cosine", 6),),
    ),
    Column(
        "position_mm", "f8", "patient position of the first pixel's centre; NaN unknown", "mm", (("xyz", 3),)
    ),
    Column("manufacturer", "S", "Manufacturer (0008,0070)"),
    Column("field_strength_t", "f8", "MagneticFieldStrength (0018,0087); NaN unknown", "T"),
    Column("image_min", "f8", "least value of the stored image"),
    Column("image_max", "f8", "largest value of the stored image"),
    Column("image_mean", "f8", "mean of the stored image"),
    Column("image_std", "f8", "population standard deviation of the stored image"),
    Column("origin", "S9", "where the label comes from: manual, imputed or unlabeled"),
    Column("confidence", "f8", "Dice to expect of an imputed label; 1 where drawn, NaN where unlabeled", "1"),
    Column(
        "imputed_distance_mm",
        "f8",
        "to the nearer parent along the stack, the farthest structure's; NaN none",
        "mm",
    ),
    Column(
        "imputed_distance_ms",
        "f8",
        "to the nearer parent along the cycle, the farthest structure's; NaN none",
        "ms",
    ),
    # Relative to the row itself, so that joining files or leaving rows in front of it out does not change it.
    _by_structure(
        "imputed_from",
        "i4",
        "rows that {structure} was imputed from, relative to this one (-3: three rows before); 0 not imputed",
        missing=(0, 0),
        axes=(("parent", 2),),
    ),
    _by_structure(
        "imputed_share",
        "f8",
        "weight of the second parent of {structure}, 0 to 1; NaN not imputed",
        missing=nan,
        units="1",
    ),
    Column("split", "S5", "train, val or test; empty without --split", late=True),
    Column("fold", "i2", "cross-validation fold; -1 without --folds", late=True),
    Column("sha256", "S64", "SHA-256 of the row's image and masks"),
)
STUDY_COLUMNS = (
    Column("patient_id", "S", "subject, as the source spells it"),
    Column("key", "S64", "SHA-256 over all that the rows of the study were made of"),
)
ISSUE_COLUMNS = (
    Column("severity", "S7", "error, warning or note"),
    Column("code", "S", "kind of finding, a stable word"),
    Column("stage", "S", "where it was found"),
    Column("study_index", "i4", "row of /studies; -1 none"),
    Column("path", "S", "input it is about, relative to SOURCE"),
    Column("frame", "i4", "frame of the image file, 0 first; -1 the file as a whole, or no image"),
    Column("structure", "S", "label that it is about; empty for the image or what belongs to no structure"),
    Column("row", "i8", "row of /samples; -1 not in the file"),
    Column("other_path", "S", "second input where two do not go together, relative to SOURCE; else empty"),
    Column("message", "S", "what was wrong"),
)
DECISION_COLUMNS = (
    Column("patient_id", "S", "subject, as the source spells it"),
    Column("row", "i8", "row of /samples; -1 not in the file"),
    Column("structure", "S", "label that was decided on; * for all of the image"),
    Column("code", "S", "finding that was decided on; * for any"),
    Column("decision", "S", "keep or drop"),
)
BOUNDS = {
    "slice_location_mm": (-2e8, 2e8),
    "trigger_time_ms": (-1e7, 1e7),
    "pixel_spacing_mm": (1e-4, 1e3),
    "orientation": (-1.01, 1.01),
    "position_mm": (-1e8, 1e8),
    "field_strength_t": (0.0, 1e5),
    "image_min": (-4e38, 4e38),
    "image_max": (-4e38, 4e38),
    "image_mean": (-4e38, 4e38),
    "image_std": (0.0, 4e38),
    "confidence": (0.0, 1.0),
    "imputed_distance_mm": (0.0, 4e8),
    "imputed_distance_ms": (0.0, 4e7),
}
"""The numbers of a column that ingest can write, NaN aside: what it takes of headers, and moves to other grids."""
FARTHEST_PX = float(1 << 20)
"""No vertex lies farther from the first pixel, on the smallest pixels and the largest grid."""
PERCENTILES = (0.5, 1.0, 5.0, 25.0, 50.0, 75.0, 95.0, 99.0, 99.5)
STATISTIC_COLUMNS = (
    Column("structure", "S", "whose inside was measured; empty for whole images"),
    Column("count", "i8", "pixels", field="pixels"),
    Column("mean", "f8", "mean of the stored pixels; NaN without any"),
    Column("std", "f8", "population standard deviation of the stored pixels; NaN without any"),
    Column(
        "percentiles",
        "f8",
        f"{', '.join(f'{each:g}' for each in PERCENTILES)}%; of whole images every 16th pixel counts",
        axes=(("percentile", len(PERCENTILES)),),
    ),
)
TABLES = {
    STUDIES: ("study", STUDY_COLUMNS),
    ISSUES: ("issue", ISSUE_COLUMNS),
    DECISIONS: ("decision_number", DECISION_COLUMNS),
    STATISTICS: ("statistic", STATISTIC_COLUMNS),
}
"""The tables beside /samples: name of the scale that counts their rows, and columns."""


def beyond(values: NDArray[np.float64], bounds: tuple[float, float]) -> int | None:
    """Return the first row of (row, ..) numbers with one beyond its bounds, None where there is none."""
    if not len(values) or (
        np.fmin.reduce(values, None) >= bounds[0] and np.fmax.reduce(values, None) <= bounds[1]
    ):
        return None
    outside = (values < bounds[0]) | (values > bounds[1])
    rows = np.flatnonzero(outside.reshape(len(values), -1).any(axis=1))
    return int(rows[0]) if len(rows) else None


def sample_columns(structures: Iterable[str]) -> tuple[Column, ...]:
    """Return all columns of ``/samples``, those by structure spelled out."""
    names = tuple(structures)
    return tuple(
        replace(
            column,
            name=f"{column.name}_{name}",
            doc=column.doc.format(structure=name),
            field=column.record_field,
            structure=name,
        )
        if column.by_structure
        else column
        for column in SAMPLE_COLUMNS
        for name in (names if column.by_structure else ("",))
    )


@dataclass(frozen=True, slots=True)
class DatasetSpec:
    """What must be known before the first row is written.

    ``shape`` is rows and columns of every image, ``dtype`` that of the images, little endian ("<i2"). ``structures``
    are in alphabetical order, that of masks and contours everywhere. ``widths`` are the bytes needed by the "S" columns
    of /samples that are known before all rows are. A ``part`` of a sharded ingest also holds what only `merge` needs.
    """

    shape: tuple[int, int]
    dtype: str
    structures: tuple[str, ...]
    widths: tuple[tuple[str, int], ...]
    compression: str = "none"
    fletcher32: bool = False
    mask_values: str = "binary"
    part: bool = False

    @property
    def full_mask(self) -> int:
        """The mask value of a pixel that is covered whole."""
        return 255 if self.mask_values == "coverage" else 1

    def bytes_per_row(self) -> int:
        """Return the least that a row takes on disk; 0 when a filter makes that unknown."""
        if self.compression != "none":
            return 0
        rows, columns = self.shape
        return rows * columns * (int(self.dtype[2:]) + len(self.structures))


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """What is known of a dataset only when all its rows are: split and fold of each, a study for each `end_study`.

    ``flags`` are by structure, for each row the codes of the findings that doubt its label, with blanks between; "" for
    none.
    """

    splits: Sequence[tuple[str, int]]
    attributes: Mapping[str, str | int | float]
    studies: Sequence[StudyRecord] = ()
    issues: Sequence[Issue] = ()
    flags: Mapping[str, Sequence[str]] = field(default_factory=dict)
    decisions: Sequence[Decided] = ()
    statistics: Sequence[StatisticRow] = ()


def dataset_attributes(
    config: IngestConfig, structures: tuple[str, ...], issues: Sequence[Issue], key_fingerprint: str = ""
) -> dict[str, str | int | float]:
    """Return the attributes at the root of the dataset; ``key_fingerprint`` is `Pseudonyms.fingerprint`, "" without."""
    counts = Counter(issue.severity for issue in issues)
    of_pseudonyms = {KEY_FINGERPRINT: key_fingerprint} if config.pseudonymize else {}
    return {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "software_version": __version__,
        "config": config.to_json(),
        "structures": " ".join(structures),
        "raster_rule": config.raster_rule,
        **{f"issues_{severity}": counts[severity] for severity in ("error", "warning", "note")},
        **of_pseudonyms,
    }
