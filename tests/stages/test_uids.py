"""A label names its image by UID: wherever in SOURCE that lies, if it is there once and of the label's patient."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import h5py
import pytest
from click.testing import CliRunner

import dicom_etl
from dicom_etl.cli import cli
from dicom_etl.layouts import locate
from dicom_etl.pipeline import ingest
from dicom_etl.records import ImageHeader, Issue
from tests.builders import write_link
from tests.contours.objects import Contour, Roi, place, structure_set
from tests.contours.workspaces import contour, workspace
from tests.shapes import square

PLANE = ImageHeader(
    40, 40, pixel_spacing_mm=(1.5, 1.5), orientation=(1, 0, 0, 0, 1, 0), position_mm=(0.0, 0.0, 8.0)
)
RING, OTHER = square(10.5, 10.5, 12), square(12.5, 13.5, 15)


def image(root: Path, patient: str, number: int = 1, **header: object) -> str:
    path = root / f"dicoms/{patient}/{number}.dcm"
    return place(
        path,
        PLANE,
        10 * number + int(patient[1]),
        PatientID=patient,
        StudyInstanceUID=f"1.9.{patient[1:]}",
        **header,
    )


def source_of(root: Path) -> tuple[Path, str, str]:
    """Make two patients with an image each; return their UIDs too."""
    uids = image(root, "P1"), image(root, "P2")
    write_link(root / "link.csv", [("P1", "S1"), ("P2", "S2")])
    for original in ("S1", "S2"):
        (root / "contourfiles" / original).mkdir(parents=True)
    return root, *uids


def drawn_by(path: Path) -> dict[str, str]:
    """Return the label of each image in a dataset."""
    with h5py.File(path) as file:
        columns = [
            file[f"samples/{name}"].asstr()[:].tolist() for name in ("source_image", "source_icontour")
        ]
    return dict(zip(*columns, strict=True))


def codes(issues: Iterable[Issue]) -> set[str]:
    """Return what is wrong, but for what is seen in pixels."""
    seen = {"misaligned", "incomplete-series", "patient-in-two-folders"}
    return {issue.code for issue in issues if issue.severity != "note"} - seen


def test_its_image_may_lie_in_another_study(tmp_path: Path) -> None:
    source, first, second = source_of(tmp_path / "source")
    rois = [Roi(1, "LV endo", [Contour(RING, PLANE, uid=first), Contour(OTHER, PLANE, uid=second)])]
    structure_set(source / "contourfiles/S1/RS.dcm", rois, PatientID="")
    whole = tmp_path / "whole.h5"
    assert not codes(ingest(locate(source), whole).issues)
    assert drawn_by(whole) == {
        "dicoms/P1/1.dcm": "contourfiles/S1/RS.dcm#roi 1 / contours 1",
        "dicoms/P2/1.dcm": "contourfiles/S1/RS.dcm#roi 1 / contours 2",
    }
    assert "source-changed" not in codes(dicom_etl.verify(whole, source=source).findings)
    parts = [tmp_path / f"{number}.h5" for number in (1, 2, 3)]
    for number, part in enumerate(parts, start=1):
        dicom_etl.ingest(source, part, shard=f"{number}/3", jobs=1)
    dicom_etl.merge(parts, tmp_path / "merged.h5")
    assert (tmp_path / "merged.h5").read_bytes() == whole.read_bytes()


def test_it_must_be_of_the_patient_that_the_label_states(tmp_path: Path) -> None:
    source, first, second = source_of(tmp_path / "source")
    rois = [Roi(1, "LV endo", [Contour(RING, PLANE, uid=first), Contour(OTHER, PLANE, uid=second)])]
    structure_set(source / "contourfiles/S1/RS.dcm", rois, PatientID="P1")
    summary = ingest(locate(source), tmp_path / "out.h5")
    errors = [(issue.code, issue.path) for issue in summary.issues if issue.severity == "error"]
    assert errors == [("mixed-patients", "contourfiles/S1/RS.dcm#roi 1 / contours 2")]
    assert summary.structures == {"icontour": 1}


@pytest.mark.parametrize("home", ["S1", "S2"])
def test_it_must_exist_once(tmp_path: Path, home: str) -> None:
    source, first, second = source_of(tmp_path / "source")
    for patient in ("P1", "P2"):
        image(source, patient, 2, SOPInstanceUID="1.2.3.4")
    states = [
        (uid, contour("saendocardialContour", (ring * 4).tolist()))
        for uid, ring in (("1.2.3.4", RING), (first, RING), (second, OTHER))
    ]
    workspace(source / f"contourfiles/{home}/w.cvi42wsx", states)
    summary = ingest(locate(source), tmp_path / "out.h5")
    (error,) = [issue for issue in summary.issues if issue.severity == "error"]
    assert error.code == "duplicate-image"
    assert f"dicoms/P{home[1]}/2.dcm and dicoms/P{3 - int(home[1])}" in error.message
    assert summary.structures == {"icontour": 2}
    assert "source-changed" not in codes(dicom_etl.verify(tmp_path / "out.h5", source=source).findings)


def test_a_label_of_no_image_is_an_orphan(tmp_path: Path) -> None:
    source, first, _ = source_of(tmp_path / "source")
    states = [(uid, contour("saendocardialContour", (RING * 4).tolist())) for uid in ("1.2.3.4", first)]
    workspace(source / "contourfiles/S2/w.cvi42wsx", states)
    outcome = CliRunner().invoke(cli, ["plan", str(source)])
    assert outcome.exit_code == 3
    assert "orphan-contour" in outcome.output
