"""What verify says of a dataset that was changed and sealed again: the words that lead to the place."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from dicom_etl import pipeline
from dicom_etl.checks.limits import VerifyOptions
from dicom_etl.config import IngestConfig
from dicom_etl.dataset.digest import SEAL_BYTES, append_seal
from dicom_etl.verification.dataset import verify_dataset
from tests.builders import TinySource, make_source
from tests.verification.tampering import replace_dataset, rings_of, set_column, set_rings, tamper

Change = Callable[[h5py.File], object]
ROW = 3
STRICT = VerifyOptions(fail_on="warning")


def empty(file: h5py.File) -> None:
    """Leave out all rows, and whatever belongs to one."""
    growing: list[h5py.Dataset] = []
    file.visititems(
        lambda _, item: (
            growing.append(item) if isinstance(item, h5py.Dataset) and item.maxshape[0] is None else None
        )
    )
    for dataset in growing:
        if not dataset.name.startswith("/issues"):
            dataset.resize(dataset.name.endswith(("/offsets", "/offset")), axis=0)


def lone_points(file: h5py.File) -> None:
    """Add a ring of two points to a contour."""
    set_rings(
        file,
        "icontour",
        ROW,
        (*rings_of(file, "icontour", ROW), np.array([[1.0, 1.0], [2.0, 2.0]])),
        redraw=False,
    )


def group_for_column(file: h5py.File) -> None:
    del file["samples/fold"]
    file["samples"].create_group("fold")


def other_axes(file: h5py.File) -> None:
    scales = [file["samples/pixel_spacing_mm"].dims[axis][0] for axis in range(2)]
    del file["samples/pixel_spacing_mm"]
    column = file["samples"].create_dataset(
        "pixel_spacing_mm", data=np.ones((12, 3)), chunks=(1024, 3), maxshape=(None, 3), compression="gzip",
        shuffle=True, fletcher32=True,
    )  # fmt: skip
    column.dims[0].attach_scale(scales[0])


def one_more_code(file: h5py.File) -> None:
    file["issues/code"].resize(1, axis=0)
    file["issues/code"][0] = "x"


def imputed(file: h5py.File) -> None:
    for name, value in (
        ("origin", "imputed"),
        ("imputed_share_icontour", 0.5),
        ("imputed_from_icontour", [-1, 1]),
    ):
        set_column(file, name, ROW, value)


def column(name: str, value: object, rows: object = ROW) -> Change:
    return lambda file: set_column(file, name, rows, value)


SCHEMA: dict[str, tuple[Change, str]] = {
    "no rows": (empty, "the dataset has no rows"),
    "large attribute": (
        lambda f: f.attrs.modify("config", np.bytes_(b"[" * 60_000)),
        "nothing says how the file should be laid out",
    ),
    "longer offsets": (
        lambda f: f["contours/icontour/offsets"].resize(14, axis=0),
        "14 entries instead of 13",
    ),
    "shorter scale of vertices": (
        lambda f: f["contours/icontour/vertex"].resize(9, axis=0),
        "differ in length",
    ),
    "one column of issues": (one_more_code, "different lengths"),
    "infinite vertex": (
        lambda f: f["contours/icontour/vertices"].write_direct(np.array([np.inf, 1.0]), None, np.s_[4]),
        "not a number",
    ),
    "ring of two points": (lone_points, "fewer than three points"),
    "group for a column": (group_for_column, "/samples/fold should be a dataset"),
    "another length of an axis": (other_axes, "/samples/pixel_spacing_mm: shape (12, 3)"),
    "another filter": (
        lambda f: replace_dataset(f, "samples/fold", compression_opts=9),
        "/samples/fold: filters",
    ),
}
DERIVED: dict[str, tuple[Change, str]] = {
    "digest that is none": (column("sha256_image_file", "x" * 64), "sha256_image_file is no SHA-256"),
    "position": (column("position_mm", [1.0, np.nan, 1.0]), "position_mm is"),
    "number": (column("instance_number", -2), "below -1"),
    "no location": (column("slice_location_mm", np.nan), "location_index is 1, with slice_location_mm nan"),
    "folder of another": (column("source_icontour", "x/SYN-T-9/y.txt"), "'SYN-T-1', but the file is"),
    "word of a split": (column("split", "half", slice(0, 12)), "split is 'half'"),
    "fold below all": (column("fold", -7, slice(0, 12)), "fold is -7"),
    "imputed without the option": (imputed, "was made without `impute`"),
}
NEVER_WRITTEN: dict[str, tuple[Change, str]] = {
    "spacing": (column("pixel_spacing_mm", [1.0, np.inf]), "pixel_spacing_mm is"),
    "field strength": (column("field_strength_t", -3.0), "field_strength_t is -3"),
}
"""Numbers that ingest cannot write are against the format."""


@pytest.mark.parametrize(("change", "said"), SCHEMA.values(), ids=SCHEMA.keys())
def test_another_layout_is_named(dataset: Path, tmp_path: Path, change: Change, said: str) -> None:
    outcome = verify_dataset(tamper(dataset, tmp_path / "changed.h5", change), STRICT)
    assert {issue.code for issue in outcome.findings} == {"schema"}
    assert any(said in issue.message for issue in outcome.findings), outcome.findings


@pytest.mark.parametrize("case", [*DERIVED, *NEVER_WRITTEN])
def test_a_value_that_cannot_be_is_named_with_its_row(dataset: Path, tmp_path: Path, case: str) -> None:
    change, said = (DERIVED | NEVER_WRITTEN)[case]
    outcome = verify_dataset(tamper(dataset, tmp_path / "changed.h5", change), STRICT)
    named = [issue for issue in outcome.findings if said in issue.message]
    assert named, outcome.findings
    assert ROW in {issue.sample for issue in named}
    assert {issue.code for issue in named} == {"schema" if case in NEVER_WRITTEN else "derived-differs"}


def test_a_seal_of_another_version_is_no_seal_of_ours(dataset: Path, tmp_path: Path) -> None:
    path = tmp_path / "later.h5"
    path.write_bytes(dataset.read_bytes()[:-SEAL_BYTES])
    append_seal(path, 3)
    (finding,) = verify_dataset(path).findings
    assert finding.code == "seal-broken"
    assert "format version 3" in finding.message


@pytest.fixture(scope="module")
def imputed_dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("imputed")
    source = make_source(folder / "source", studies=1, locations=3, structures=("icontour",))
    for phase in (source.es, source.ed):
        source.contour(0, "icontour", 1, phase).unlink()
    config = IngestConfig(impute="spatial")
    pipeline.ingest(pipeline.locate(source.root), folder / "out.h5", config)
    assert verify_dataset(folder / "out.h5", STRICT).findings == []
    return folder / "out.h5"


@pytest.mark.parametrize(
    ("column", "value", "said"),
    [
        ("imputed_from_icontour", [-9, 2], "which no contour is made of"),
        ("imputed_from_icontour", [0, 2], "which no contour is made of"),
        ("imputed_share_icontour", 1.5, "which no contour is made of"),
        ("imputed_share_icontour", 0.2, "is not what the rows"),
        ("imputed_from_icontour", [-1, 2], "is not what the rows"),
    ],
)
def test_an_imputed_contour_that_its_parents_do_not_give_is_named(
    imputed_dataset: Path, tmp_path: Path, column: str, value: object, said: str
) -> None:
    with h5py.File(imputed_dataset) as file:
        (row, *_) = np.flatnonzero(file["samples/origin"].asstr()[()] == "imputed").tolist()
    path = tamper(imputed_dataset, tmp_path / "changed.h5", lambda f: set_column(f, column, row, value))
    outcome = verify_dataset(path, STRICT)
    named = [issue for issue in outcome.findings if said in issue.message]
    assert {(issue.sample, issue.structure) for issue in named} == {(row, "icontour")}, outcome.findings


def test_a_contour_that_can_be_used_only_now_is_new(source: TinySource, tmp_path: Path) -> None:
    """What ingest left out, with its reason, is no finding while it stays as bad, and one when it was repaired."""
    path = source.contour(0, "icontour", 0, source.es)
    good = path.read_bytes()
    path.write_bytes(b"")
    roots = pipeline.locate(source.root)
    pipeline.ingest(roots, tmp_path / "out.h5")
    assert verify_dataset(tmp_path / "out.h5", STRICT, source=roots).findings == []
    path.write_bytes(good)
    (finding,) = verify_dataset(tmp_path / "out.h5", STRICT, source=roots).findings
    assert (finding.code, finding.path) == (
        "source-changed",
        source.image(0, 0, source.es).relative_to(source.root).as_posix(),
    )
