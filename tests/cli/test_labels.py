"""Commands on labels of other makers than Sunnybrook's: from plan to report, and what of their names is shown."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np
import pytest
from click.testing import CliRunner, Result

from dicom_etl.cli import cli
from dicom_etl.records import ImageHeader
from tests.canaries import Canaries, everything_in
from tests.contours.objects import Contour, Roi, Segment, place, segmentation, structure_set
from tests.contours.workspaces import contour, workspace
from tests.shapes import disc

PLANE = ImageHeader(
    64, 64, pixel_spacing_mm=(0.8, 0.8), position_mm=(-30.0, -20.0, 0.0), orientation=(1, 0, 0, 0, 1, 0)
)
STUDY = "1.2.3.4"
HEART_WORDS = ("cardiac", "heart", "ventric", "diastol", "systol", "myocard", "endocard", "epicard", "phase")


def run(runner: CliRunner, *words: object) -> Result:
    return runner.invoke(cli, [str(word) for word in words], catch_exceptions=False)


@pytest.fixture
def pelvis(tmp_path: Path) -> Path:
    """Return a SOURCE of 12 axial CT slices, a structure set with two organs in millimetres, and a SEG of one more."""
    source = tmp_path / "source"
    contours: dict[str, list[Contour]] = {"Prostate": [], "Bladder (outer)": []}
    segments = []
    for index in range(12):
        plane = PLANE._replace(position_mm=(-30.0, -20.0, 3.0 * index))
        path = source / "dicoms" / "P1" / f"{index}.dcm"
        uid = place(
            path, plane, index + 1, PatientID="P1", StudyInstanceUID=STUDY, Modality="CT", TriggerTime=None,
            SOPClassUID="1.2.840.10008.5.1.4.1.1.2", MagneticFieldStrength=None, Manufacturer="GE",
        )  # fmt: skip
        contours["Prostate"].append(Contour(disc((30, 30), 8 + index / 3, 60), plane, uid=uid))
        contours["Bladder (outer)"].append(Contour(disc((40, 44), 9 + index / 5, 60), plane, uid=uid))
        mask = np.zeros((64, 64), dtype=np.bool_)
        mask[10:20, 8 : 14 + index] = True
        segments.append(Segment(1, "Femur", mask, plane, uid))
    labels = source / "contourfiles" / "S1"
    rois = [Roi(number, name, of) for number, (name, of) in enumerate(contours.items(), start=1)]
    structure_set(labels / "RS.dcm", rois, PatientID="P1", StudyInstanceUID=STUDY)
    segmentation(source / "dicoms" / "P1" / "SEG.dcm", segments, PatientID="P1", StudyInstanceUID=STUDY)
    (source / "link.csv").write_text("patient_id,original_id\nP1,S1\n")
    return source


def test_a_pelvis_goes_all_the_way_without_a_word_of_hearts(
    runner: CliRunner, pelvis: Path, tmp_path: Path
) -> None:
    output = tmp_path / "o.h5"
    done = run(runner, "ingest", pelvis, "-o", output, "--split", "1/0/0")
    assert done.exit_code == 0, done.output
    checked = run(runner, "verify", output, "--source", pelvis)
    assert checked.exit_code == 0, checked.output
    with h5py.File(output) as file:
        assert set(file["masks"]) == {"bladder_outer", "femur", "prostate"}
        assert file["samples/source_femur"][0] == b"dicoms/P1/SEG.dcm#frame 1 / segment 1"
        assert file["samples/source_prostate"][0] == b"contourfiles/S1/RS.dcm#roi 1 / contours 1"
        assert file["masks/femur"][3].sum() == 10 * 9
        assert file["samples/location_index"][()].tolist() in (list(range(12)), list(range(12))[::-1])
    for words in (
        ("preview", output, "-o", tmp_path / "p.png"),
        ("report", output, "-o", tmp_path / "r.html"),
        ("info", output),
    ):
        shown = run(runner, *words)
        assert shown.exit_code == 0, shown.output
    for text in (done.output, checked.output):
        assert not [word for word in HEART_WORDS if word in text.casefold()]


def test_plan_shows_what_names_become(runner: CliRunner, pelvis: Path) -> None:
    answer = json.loads(run(runner, "plan", pelvis, "--json", "--structure-map", "prostate=gland").stdout)
    assert answer["names"] == [
        {"name": "Bladder (outer)", "structure": "bladder_outer", "labels": 12},
        {"name": "Femur", "structure": "femur", "labels": 12},
        {"name": "Prostate", "structure": "gland", "labels": 12},
    ]
    assert "'Prostate' = prostate (12)" in run(runner, "plan", pelvis).output


def test_labels_chooses_a_format_or_files(runner: CliRunner, pelvis: Path) -> None:
    for choice, structures in (("seg", {"femur"}), ("RS*", {"bladder_outer", "prostate"})):
        answer = json.loads(run(runner, "plan", pelvis, "--json", "--labels", choice).stdout)
        assert set(answer["structures"]) == structures


def test_with_pseudonyms_no_name_of_a_label_leaves(runner: CliRunner, pelvis: Path, tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text("0123456789abcdef" * 4)
    key.chmod(0o600)
    refused = run(runner, "plan", pelvis, "--pseudonymize", key, "--labels", "RS*")
    assert refused.exit_code == 2, refused.output
    options = ("--pseudonymize", key, "--structure-map", "Prostate=gland,Femur=femur")
    done = run(runner, "ingest", pelvis, "-o", tmp_path / "o.h5", *options)
    assert done.exit_code == 3
    data = everything_in(tmp_path / "o.h5") + done.output.encode()
    assert not [word for word in (b"Bladder", b"bladder", b"Prostate", b"RS.dcm") if word in data]
    checked = run(runner, "verify", tmp_path / "o.h5", "--source", pelvis, "--pseudonymize", key)
    assert checked.exit_code == 0, checked.output


def test_resume_and_merge_take_labels_of_one_file(runner: CliRunner, pelvis: Path, tmp_path: Path) -> None:
    whole = tmp_path / "whole.h5"
    run(runner, "ingest", pelvis, "-o", whole)
    again = run(runner, "ingest", pelvis, "-o", tmp_path / "again.h5", "--reuse", whole)
    assert again.exit_code == 0, again.output
    assert (tmp_path / "again.h5").read_bytes() == whole.read_bytes()
    parts = [tmp_path / f"{number}.h5" for number in (1, 2)]
    for number, part in enumerate(parts, start=1):
        run(runner, "ingest", pelvis, "-o", part, "--shard", f"{number}/2")
    merged = run(runner, "merge", *parts, "-o", tmp_path / "merged.h5")
    assert merged.exit_code == 0, merged.output
    assert (tmp_path / "merged.h5").read_bytes() == whole.read_bytes()


def test_no_text_of_a_label_file_reaches_an_output(runner: CliRunner, tmp_path: Path) -> None:
    canaries, source = Canaries(), tmp_path / "source"
    uid = place(source / "dicoms" / "P1" / "0.dcm", PLANE, PatientID="P1")
    labels = source / "contourfiles" / "S1"
    name, label, kind = (canaries.word(place) for place in ("ROI name", "segment label", "kind of contour"))
    ring = disc((30, 30), 8, 60)
    rois = [
        Roi(1, name, [Contour(ring, PLANE, uid=uid)]),
        Roi(2, f"{name}+", [Contour(ring[:2], PLANE, uid=uid)]),
    ]
    structure_set(
        labels / "RS.dcm", rois, PatientID="P1", PatientName=canaries.word("PatientName"),
        StructureSetLabel=canaries.word("set label"), StructureSetDescription=canaries.word("description"),
    )  # fmt: skip
    mask = np.zeros((64, 64), dtype=np.bool_)
    mask[3:9, 4:11] = True
    segmentation(
        labels / "SEG.dcm", [Segment(1, label, mask, PLANE, uid)], PatientID="P1",
        ContentDescription=canaries.word("content"), SeriesDescription=canaries.word("series"),
    )  # fmt: skip
    text = f'<Hash:item Hash:key="Label">{canaries.word("label in XML")}</Hash:item>'
    states = contour("saendocardialContour", (ring * 4).tolist(), more=text) + contour(
        kind, (ring * 4).tolist()
    )
    bad = contour("saepicardialContour", (ring * 4).tolist(), steps=canaries.word("scale"))
    workspace(labels / "w.cvi42wsx", [(uid, states + bad), (canaries.word("UID"), states)])
    (labels / "contours.csv").write_text(
        f"image,structure,x,y,who\n0,{canaries.word('structure')},1,1,{canaries.word('column')}\n"
        f"{canaries.word('image')},lv endo,{canaries.word('x')},1,a\n"
    )
    (source / "link.csv").write_text("patient_id,original_id\nP1,S1\n")
    mapped = f"{name}=gland,{label}=femur"
    output = tmp_path / "o.h5"
    done = run(
        runner, "ingest", source, "-o", output, "-v", "--structure-map", mapped, "--log", tmp_path / "log"
    )
    assert output.exists(), done.output
    checked = run(runner, "verify", output, "--source", source, "-v")
    run(runner, "report", output, "-o", tmp_path / "r.html")
    shown = (done.output + checked.output).encode() + (tmp_path / "log").read_bytes()
    slugs = {"kind of contour", "structure"}  # of names that nobody mapped: what may leave
    assert canaries.found_in(shown + (tmp_path / "r.html").read_bytes()) <= slugs
    assert canaries.found_in(everything_in(output)) <= slugs


def test_labels_beside_a_tree_of_images_go_by_header(runner: CliRunner, pelvis: Path, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (pelvis / "dicoms" / "P1").rename(tree)
    images = tree / "images"
    images.mkdir()
    for path in tree.glob("[0-9]*.dcm"):
        path.rename(images / path.name)
    plan = run(runner, "plan", tree)
    assert "lie beside the folders of patients" in " ".join(plan.output.split())
    output = tmp_path / "o.h5"
    done = run(runner, "ingest", tree, "-o", output, "--patient-from", "header", "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["structures"] == {"femur": 12}
    checked = run(runner, "verify", output, "--source", tree, "--patient-from", "header")
    assert checked.exit_code == 0, checked.output
