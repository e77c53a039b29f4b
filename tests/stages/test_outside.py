"""More than a fifth of the labels on a stack leave their images: all are refused, by every command alike."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

import dicom_etl
from dicom_etl.cli import cli
from dicom_etl.config import IngestConfig
from dicom_etl.layouts import locate
from dicom_etl.pipeline import Plan, ingest
from dicom_etl.records import FloatArray, ImageHeader
from tests.builders import write_contour, write_link
from tests.contours.objects import Contour, Roi, place, structure_set
from tests.contours.workspaces import contour, workspace
from tests.shapes import square

PLANE = ImageHeader(40, 40, pixel_spacing_mm=(1.5, 1.5), orientation=(1, 0, 0, 0, 1, 0))
Write = Callable[[Path, list[str], list[FloatArray]], object]


def as_text(folder: Path, uids: list[str], rings: list[FloatArray]) -> None:
    for number, ring in enumerate(rings, start=1):
        write_contour(folder / f"IM-0001-{number:04d}-icontour-manual.txt", ring)


def as_table(folder: Path, uids: list[str], rings: list[FloatArray]) -> None:
    rows = [
        f"{uid},icontour,{x},{y}\n" for uid, ring in zip(uids, rings, strict=True) for x, y in ring.tolist()
    ]
    folder.mkdir(parents=True)
    (folder / "contours.csv").write_text("image,structure,x,y\n" + "".join(rows))


def as_rtstruct(folder: Path, uids: list[str], rings: list[FloatArray]) -> None:
    drawn = [
        Contour(ring, at(number), uid=uid)
        for number, (uid, ring) in enumerate(zip(uids, rings, strict=True), start=1)
    ]
    structure_set(folder / "RS.dcm", [Roi(1, "LV endo", drawn)])


def as_workspace(folder: Path, uids: list[str], rings: list[FloatArray]) -> None:
    states = [
        (uid, contour("saendocardialContour", (ring * 4).tolist()))
        for uid, ring in zip(uids, rings, strict=True)
    ]
    workspace(folder / "w.cvi42wsx", states)


def at(number: int) -> ImageHeader:
    return PLANE._replace(position_mm=(0.0, 0.0, 8.0 * number))


def make(root: Path, write: Write, labels: int, leaving: int) -> Path:
    """Make a study in which the last of some labels leave their images by 4 pixels."""
    uids = [
        place(root / f"dicoms/P/{number}.dcm", at(number), number, StudyInstanceUID="1.9", SeriesNumber=1)
        for number in range(1, labels + 1)
    ]
    rings = [
        square(31.5 if number > labels - leaving else 10.5 + number / 4, 10.5, 12)
        for number in range(1, labels + 1)
    ]
    write(root / "contourfiles/S", uids, rings)
    write_link(root / "link.csv", [("P", "S")])
    return root


FORMATS = pytest.mark.parametrize("write", [as_text, as_table, as_rtstruct, as_workspace])


@FORMATS
@pytest.mark.parametrize(("labels", "leaving", "left"), [(5, 1, 4), (5, 2, 0)])
def test_more_than_a_fifth_refuses_all(
    tmp_path: Path, write: Write, labels: int, leaving: int, left: int
) -> None:
    source = make(tmp_path / "source", write, labels, leaving)
    config = IngestConfig(unlabeled=True)
    planned = Plan(locate(source), config, read_outlines=True).summary
    made = ingest(locate(source), tmp_path / "out.h5", config)
    outside = [issue for issue in made.issues if issue.code == "contour-outside-image"]
    assert made.structures["icontour"] == left
    assert len(outside) == labels - left
    if not left:
        assert planned.structures == {}
        assert {issue.path for issue in planned.issues if issue.severity == "error"} == {
            issue.path for issue in outside
        }
        assert f"{leaving} of the {labels} " in outside[0].message
        assert "`series` [PATIENT:]NUMBER decides by hand" in outside[0].message
        assert "dicoms/P/" in outside[0].message
    outcome = dicom_etl.verify(tmp_path / "out.h5", source=source)
    found = [finding for finding in outcome.findings if finding.code == "source-changed"]
    assert not found


def test_plan_says_it(tmp_path: Path) -> None:
    source = make(tmp_path / "source", as_text, 5, 2)
    outcome = CliRunner().invoke(cli, ["plan", str(source)])
    assert outcome.exit_code == 1
    assert "2 of the 5 sunnybrook labels" in outcome.output
    assert "contour-outside-image" in outcome.output


def test_a_stack_chosen_by_hand_loses_only_what_leaves_its_images(tmp_path: Path) -> None:
    source = make(tmp_path / "source", as_text, 5, 2)
    made = ingest(locate(source), tmp_path / "out.h5", IngestConfig(series=("1",)))
    assert made.structures == {"icontour": 3}
    assert [issue.code for issue in made.issues if issue.severity == "error"] == ["contour-outside-image"] * 2
