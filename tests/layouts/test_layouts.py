"""Arrangements of folders: each is recognised, and gives the same pairs as linked folders of the same files."""

from __future__ import annotations

import os
import runpy
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from dicom_etl import api
from dicom_etl.cli import cli
from dicom_etl.config import LAYOUTS as NAMES
from dicom_etl.config import IngestConfig
from dicom_etl.errors import SourceError
from dicom_etl.layouts import LAYOUTS, locate
from dicom_etl.pipeline import Plan, Summary
from tests.builders import (
    ORIENTATION,
    TinySource,
    circle,
    make_source,
    write_contour,
    write_dicom,
    write_link,
)


def pairs(source: Path, out: Path, **options: Any) -> tuple[dict[str, str], Summary]:
    """Return image by contour of a dataset made of a SOURCE."""
    summary = api.ingest(source, out, overwrite=True, jobs=1, **options)
    found: dict[str, str] = {}
    with h5py.File(out) as file:
        images = file["samples/source_image"].asstr()[()]
        for structure in summary.structures:
            paths = file[f"samples/source_{structure}"].asstr()[()]
            found |= {path: image for path, image in zip(paths, images, strict=True) if path}
    return found, summary


def arrange(source: TinySource, root: Path, kind: str) -> None:
    """Arrange the files of a small SOURCE in another way, with scouts that have the same numbers beside them."""
    for study in range(source.studies):
        patient, original = source.patient_id(study), source.original_id(study)
        images = {
            "sunnybrook-cap": root / f"SCD_IMAGES_{study + 1:02d}" / patient / "CINESAX_3",
            "sunnybrook-miccai": root / "challenge_training" / original,
            "tree": root / patient / "a" / "b",
        }[kind]
        contours = {
            "sunnybrook-cap": root / "SCD_ManualContours" / original / "contours-manual" / "IRCCI-expert",
            "sunnybrook-miccai": root
            / "Sunnybrook ContoursPart3"
            / "TrainingDataContours"
            / original
            / "manual",
            "tree": root / patient / "labels",
        }[kind]
        images.mkdir(parents=True)
        for path in (source.root / "dicoms" / patient).iterdir():
            shutil.copy(path, images / f"IM-0003-{int(path.stem):04d}.dcm")
        shutil.copytree(source.root / "contourfiles" / original, contours)
        scouts = images.parent / "Localizers_1" if kind == "sunnybrook-cap" else images
        for number in (1, 2, 3):
            write_dicom(
                scouts / f"IM-0002-{number:04d}.dcm",
                np.full((32, 32), number, np.int16),
                PatientID=patient,
                InstanceNumber=number,
                SeriesNumber=2,
                SeriesInstanceUID="1.2.9",
                StudyInstanceUID=None,
                ImageOrientationPatient=[*ORIENTATION[3:], *ORIENTATION[:3]],
            )
    (root / "README.txt").write_text("x")
    rows = [(source.patient_id(s), source.original_id(s), "F") for s in range(source.studies)]
    if kind == "sunnybrook-cap":
        write_link(root / "scd_patientdata.csv", rows, ("PatientID", "OriginalID", "Gender"))


def test_every_layout_can_be_named() -> None:
    assert tuple(layout.name for layout in LAYOUTS) == NAMES


@pytest.mark.parametrize("kind", ["sunnybrook-cap", "sunnybrook-miccai", "tree"])
def test_other_arrangements_give_the_same_pairs(kind: str, tmp_path: Path) -> None:
    source = make_source(tmp_path / "linked", locations=2)
    arrange(source, tmp_path / kind, kind)
    expected, _ = pairs(source.root, tmp_path / "linked.h5")
    found, summary = pairs(tmp_path / kind, tmp_path / "out.h5")
    assert locate(tmp_path / kind).layout == kind
    assert len(found) == len(expected) == summary.contours
    assert not any("IM-0002" in image for image in found.values())
    by_name = {Path(path).name: int(Path(image).stem) for path, image in expected.items()}
    assert all(int(image[-8:-4]) == by_name[Path(path).name] for path, image in found.items())
    assert all(issue.severity == "note" for issue in summary.issues)
    outcome = api.verify(tmp_path / "out.h5", source=tmp_path / kind)
    assert [finding.code for finding in outcome.findings if finding.code == "source-changed"] == []


def make_rvsc(root: Path, first: int = 0, images: int = 6, **header: Any) -> None:
    """Write a patient whose images are named from ``first`` on, and whose InstanceNumbers begin at 1."""
    folder = root / "patient09"
    for number in range(images):
        write_dicom(
            folder / "P09dicom" / f"P09-{number + first:04d}.dcm",
            np.random.default_rng(number).integers(0, 100, (32, 32)).astype(np.int16),
            PatientID="P09",
            InstanceNumber=number + 1,
            TriggerTime=str(20 * number),
            **header,
        )
    for number in (0, 3):
        for side, radius in (("i", 5.0), ("o", 8.0)):
            write_contour(
                folder / "P09contours-manual" / f"P09-{number + first:04d}-{side}contour-manual.txt",
                circle(16.2 + number / 7, 15.7, radius),
                origin=0,
            )
    (folder / "P09list.txt").write_text("C:\\data\\P09contours-manual\\P09-0000-icontour-manual.txt\r\n")


HEAD = "  patient         number description        size images places x phases contours"
STUDY = "           32x32      8           2 x 4        6"
SCOUTS = "                       2 -                 32x32      3           1 x 3     none"
SURE = "  nothing was left out, and nothing is doubtful"
END = "  plan reads no pixels: whether labels fit their images, ingest says"


def two_studies(first: str, number: str, *, scouts: bool) -> list[str]:
    """Return what `plan` says of the two studies of `arrange`."""
    table = [line for each in "12" for line in (f"  {first + each:<14}{number:>8} -      {STUDY}", SCOUTS)]
    images, bare = (22, 14) if scouts else (16, 8)
    return [
        "series",
        HEAD,
        *(table if scouts else table[::2]),
        "plan for SOURCE",
        "  studies           2",
        f"  images            {images} ({bare} without a contour)",
        "  contours          12",
        "  samples           8 (icontour 8, ocontour 4)",
        SURE,
    ]


PLANS = {
    "linked-folders": [*two_studies("SYN0000", "-", scouts=False), END],
    "sunnybrook-cap": [*two_studies("SYN0000", "3", scouts=True), END],
    "sunnybrook-miccai": [*two_studies("SYN-T-", "3", scouts=True), END],
    "tree": [
        *two_studies("SYN0000", "3", scouts=True),
        "  notes",
        "    note    not-an-image            1 input",
        "            SOURCE, 1 input: it lies beside the folders of patients (README.txt)",
        END,
    ],
    "rvsc": [
        "series",
        HEAD,
        "  patient09            - -                 32x32      6           1 x 6        4",
        "plan for SOURCE",
        "  studies           1",
        "  images            6 (4 without a contour)",
        "  contours          4",
        "  samples           2 (rv_icontour 2, rv_ocontour 2)",
        SURE,
        "  notes",
        "    note    not-an-image            1 input",
        "            patient09, 1 input: it is a list of files (patient09/P09list.txt)",
        "    note    origin-unproven         1 input",
        "            SOURCE, 1 input: pixels of its contours are taken to count from 0,",
        "            which nothing public proves; --contour-origin sets it",
        END,
    ],
}
"""What `plan` prints on each layout."""


@pytest.mark.parametrize("kind", NAMES)
def test_plan_tells_a_stranger_what_will_happen(kind: str, runner: CliRunner, tmp_path: Path) -> None:
    if kind == "rvsc":
        make_rvsc(tmp_path / kind)
    else:
        source = make_source(tmp_path / "linked-folders", locations=2)
        if kind != "linked-folders":
            arrange(source, tmp_path / kind, kind)
    lines = runner.invoke(cli, ["plan", str(tmp_path / kind), "--jobs", "1"]).stdout.splitlines()
    assert [line.replace(str(tmp_path / kind), "SOURCE") for line in lines if line] == PLANS[kind]
    assert all(len(line) <= 80 for line in PLANS[kind])


@pytest.mark.parametrize("missing", [44, 4999])
def test_a_table_of_many_that_are_not_there_is_one_line(
    missing: int, runner: CliRunner, tmp_path: Path
) -> None:
    source = make_source(tmp_path / "linked", studies=1, locations=1)
    rows = [(source.patient_id(0), source.original_id(0)), *((f"P{n}", f"O{n}") for n in range(missing))]
    write_link(source.root / "link.csv", rows)
    lines = runner.invoke(cli, ["plan", str(source.root), "--jobs", "1"]).stdout.splitlines()
    where = next(number for number, line in enumerate(lines) if "link-missing" in line)
    assert lines[where + 1 :] == [
        f"            SOURCE, 1 input: {missing} rows without folders (link.csv)",
        END,
    ]
    assert not any("P10" in line for line in lines)
    assert "P0, P1, P10, P1" in runner.invoke(cli, ["plan", str(source.root), "--jobs", "1", "-v"]).stdout


def test_rvsc_labels_mean_the_image_of_their_name(tmp_path: Path) -> None:
    make_rvsc(tmp_path / "rvsc")
    found, summary = pairs(tmp_path / "rvsc", tmp_path / "out.h5")
    assert locate(tmp_path / "rvsc").layout == "rvsc"
    assert {Path(path).name[:8]: Path(image).name for path, image in found.items()} == {
        "P09-0000": "P09-0000.dcm",
        "P09-0003": "P09-0003.dcm",
    }
    assert summary.structures == {"rv_icontour": 2, "rv_ocontour": 2}
    assert {issue.code for issue in summary.issues} == {"not-an-image", "origin-unproven"}


def test_rvsc_names_that_do_not_count_from_0_are_refused(tmp_path: Path) -> None:
    make_rvsc(tmp_path / "rvsc", first=1)
    with pytest.raises(SourceError, match="instance-mismatch"):
        api.ingest(tmp_path / "rvsc", tmp_path / "out.h5", jobs=1)
    found, _ = pairs(tmp_path / "rvsc", tmp_path / "out.h5", number_from="header")
    assert {Path(image).name for image in found.values()} == {"P09-0001.dcm", "P09-0004.dcm"}


def test_a_tree_by_header_has_the_patients_of_the_headers(tmp_path: Path) -> None:
    source = make_source(tmp_path / "linked", locations=2)
    everything = tmp_path / "tree" / "export"
    everything.mkdir(parents=True)
    for study in range(source.studies):
        for path in (source.root / "dicoms" / source.patient_id(study)).iterdir():
            shutil.copy(path, everything / f"{study}{path.stem}")
    (everything / "DICOMDIR").write_bytes(b"x")
    with pytest.raises(SourceError, match="mixed-patients"):
        api.ingest(tmp_path / "tree", tmp_path / "out.h5", unlabeled=True, jobs=1)
    summary = api.ingest(
        tmp_path / "tree", tmp_path / "out.h5", unlabeled=True, patient_from="header", overwrite=True, jobs=1
    )
    assert (summary.studies, summary.samples) == (source.studies, source.image_count)


def header_tree(root: Path, studies: Sequence[str]) -> None:
    """Write studies of two images each into folders, as an archive exports them."""
    for number, folder in enumerate(studies):
        for image in (1, 2):
            write_dicom(
                root / folder / f"{number}{image}",
                np.random.default_rng((number, image)).integers(0, 100, (32, 32)).astype(np.int16),
                PatientID=f"P{number}",
                StudyInstanceUID=f"1.9.{number}",
                SeriesInstanceUID=f"1.8.{number}",
                InstanceNumber=image,
                ImagePositionPatient=[0, 0, 8 * image],
            )


def test_by_header_a_label_without_patient_id_is_of_the_study_around_it(tmp_path: Path) -> None:
    header_tree(tmp_path / "tree", ["export/a", "export/b"])
    for folder in ("export/a", "export/b/contours", "export"):
        write_contour(tmp_path / "tree" / folder / "IM-0001-0001-icontour-manual.txt", circle(15.2, 15.7, 5))
    (tmp_path / "tree/export/Thumbs.db").write_bytes(b"\xd0\xcf\x11\xe0" + bytes(99))
    summary = api.plan(tmp_path / "tree", patient_from="header", jobs=1)
    assert summary.structures == {"icontour": 2}, "those beside a's images, and below b's"
    refused = [issue for issue in summary.issues if issue.severity == "error"]
    assert [(issue.code, issue.path) for issue in refused] == [
        ("orphan-contour", "export/IM-0001-0001-icontour-manual.txt")
    ]
    assert "2 studies lie in its folder" in refused[0].message
    assert "move it into the folder of its images" in refused[0].message
    assert [issue.path for issue in summary.issues if issue.code == "not-an-image"] == ["export/Thumbs.db"]


def test_two_studies_of_one_patient_in_a_folder_of_a_tree_are_not_linked_by_number(tmp_path: Path) -> None:
    header_tree(tmp_path / "tree", ["P0"])
    write_dicom(tmp_path / "tree/P0/3", np.ones((32, 32), np.int16), PatientID="P0", StudyInstanceUID="1.9.7")
    write_contour(tmp_path / "tree/P0/IM-0001-0001-icontour-manual.txt", circle(15.2, 15.7, 5))
    with pytest.raises(SourceError) as failed:
        api.plan(tmp_path / "tree", jobs=1)
    refused = [issue for issue in failed.value.issues if issue.severity == "error"]
    assert [issue.code for issue in refused] == ["ambiguous-series"]
    assert "2 studies (StudyInstanceUID)" in refused[0].message
    found = api.plan(tmp_path / "tree", patient_from="header", jobs=1, unlabeled=True)
    assert (found.studies, found.images) == (2, 3)


@pytest.fixture(scope="module")
def real_atlas(real_source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the real studies as the Cardiac Atlas Project arranges them, with real localizers beside one."""
    shared = real_source.parent / "formats"
    if not shared.is_dir():
        pytest.skip("the samples of layouts are not here")
    root = tmp_path_factory.mktemp("cap") / "source"
    module = runpy.run_path(str(shared / "arrange_sunnybrook.py"))
    module["arrange_cap"](real_source, shared / "sunnybrook_cap", root, sorted(module["CAP"])[:3])
    return root


def test_the_real_atlas_is_paired_whole_and_without_a_localizer(real_atlas: Path, tmp_path: Path) -> None:
    found, summary = pairs(real_atlas, tmp_path / "out.h5")
    assert len(found) == 84
    assert summary.images == 715
    assert all("/CINESAX_" in image for image in found.values())
    assert {int(Path(path).name[8:12]) - int(image[-8:-4]) for path, image in found.items()} == {0}


@settings(max_examples=60 if os.environ.get("DICOM_ETL_WHOLE_COUNTS") else 6)
@given(st.data())
def test_a_drawn_image_that_is_lost_costs_exactly_its_labels(real_atlas: Path, data: st.DataObject) -> None:
    found, _ = planned(real_atlas)
    image = data.draw(st.sampled_from(sorted(set(found.values()))))
    path = real_atlas / image
    whole = path.read_bytes()
    try:
        if data.draw(st.booleans()):
            path.unlink()
        else:
            path.write_bytes(whole[: data.draw(st.sampled_from([0, 300, 2_000, len(whole) - 10]))])
        left, orphans = planned(real_atlas)
    finally:
        path.write_bytes(whole)
    lost = {label for label, theirs in found.items() if theirs == image}
    assert left == {label: theirs for label, theirs in found.items() if label not in lost}
    assert orphans == lost


def planned(root: Path) -> tuple[dict[str, str], set[str]]:
    """Return image by contour, and the orphans, from names and headers alone."""
    plan = Plan(locate(root), IngestConfig())
    found = {
        label.ref.path: sample.image
        for study in plan.studies()
        for sample in study.samples
        for label in sample.labels
    }
    return found, {issue.path for issue in plan.summary.issues if issue.code == "orphan-contour"}
