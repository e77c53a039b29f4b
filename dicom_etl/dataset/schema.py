"""The one place that spells the dataset's names, dtypes, axes and format version, for writer, reader and verifier."""

from __future__ import annotations

from dataclasses import dataclass, field

FORMAT = "dicom-etl"
FORMAT_VERSION = 1

IMAGES = "images"
MASKS = "masks"
CONTOURS = "contours"
SAMPLES = "samples"
ISSUES = "issues"
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
    """One column of a table.

    Attributes
    ----------
    name : str
        Name of the dataset, and of the field of the record it is filled from.
    dtype : str
        numpy dtype; ``"S"`` is UTF-8 text whose width the data decides, ``"S8"`` one of fixed width.
    doc : str
        What it means; stored as the attribute ``long_name``.
    units : str
        UDUNITS spelling, "" where there is none.
    axes : tuple of (name, length)
        Axes after the row.
    """

    name: str
    dtype: str
    doc: str
    units: str = ""
    axes: tuple[tuple[str, int], ...] = field(default=())


LEADING_COLUMNS = (
    Column("patient_id", "S", "subject, as the link table spells it"),
    Column("original_id", "S", "the subject's id in the contour set"),
    Column("source_image", "S", "image file, relative to SOURCE"),
)
TRAILING_COLUMNS = (
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
    Column("split", "S5", "train, val or test; empty without --split"),
    Column("fold", "i2", "cross-validation fold; -1 without --folds"),
    Column("sha256", "S64", "SHA-256 of the row's image and masks"),
)
ISSUE_COLUMNS = (
    Column("severity", "S7", "error, warning or note"),
    Column("code", "S", "kind of finding, a stable word"),
    Column("stage", "S", "where it was found"),
    Column("path", "S", "input it is about, relative to SOURCE"),
    Column("other_path", "S", "second input where two do not go together, relative to SOURCE; else empty"),
    Column("message", "S", "what was wrong"),
)


def source_column(structure: str) -> Column:
    """Return the column that names the contour file of a structure."""
    return Column(
        f"source_{structure}", "S", f"{structure} file, relative to SOURCE; empty where none is drawn"
    )


def has_column(structure: str) -> Column:
    """Return the column that says whether a structure is drawn."""
    return Column(f"has_{structure}", "u1", f"1 where {structure} is drawn or imputed (see origin), else 0")


def imputed_from_column(structure: str) -> Column:
    """Return the column that names the rows an imputed structure was made of.

    Relative to the row itself, so that joining files or leaving rows in front of it out does not change it.
    """
    doc = (
        f"rows that {structure} was imputed from, relative to this one (-3: three rows before); 0 not imputed"
    )
    return Column(f"imputed_from_{structure}", "i4", doc, axes=(("parent", 2),))


def imputed_share_column(structure: str) -> Column:
    """Return the column that says how an imputed structure was weighted."""
    return Column(
        f"imputed_share_{structure}", "f8", "weight of the second parent, 0 to 1; NaN not imputed", "1"
    )


def sample_columns(structures: tuple[str, ...]) -> tuple[Column, ...]:
    """Return all columns of ``/samples``, in the order they are written."""
    return (
        *LEADING_COLUMNS,
        *(source_column(structure) for structure in structures),
        *(has_column(structure) for structure in structures),
        *TRAILING_COLUMNS,
        *(imputed_from_column(structure) for structure in structures),
        *(imputed_share_column(structure) for structure in structures),
    )


@dataclass(frozen=True, slots=True)
class DatasetSpec:
    """What must be known before the first row is written.

    Attributes
    ----------
    shape : (int, int)
        Rows and columns of every image.
    dtype : str
        numpy dtype of the images, little endian (``"<i2"``).
    structures : tuple of str
        In alphabetical order; the order of masks and contours everywhere.
    widths : tuple of (str, int)
        Bytes needed by each ``"S"`` column.
    compression : str
        ``"none"``, or a filter of `config.COMPRESSIONS`, for images and masks.
    fletcher32 : bool
        Checksums on image and mask chunks.
    mask_values : str
        ``"binary"`` (0/1) or ``"coverage"`` (0..255 for 0..1).
    part : bool
        It is one part of a sharded ingest, and also holds what only `merge` needs.
    """

    shape: tuple[int, int]
    dtype: str
    structures: tuple[str, ...]
    widths: tuple[tuple[str, int], ...]
    compression: str = "none"
    fletcher32: bool = False
    mask_values: str = "binary"
    part: bool = False

    def bytes_per_row(self) -> int:
        """Return the least that a row takes on disk; 0 when a filter makes that unknown."""
        if self.compression != "none":
            return 0
        rows, columns = self.shape
        return rows * columns * (int(self.dtype[2:]) + len(self.structures))
