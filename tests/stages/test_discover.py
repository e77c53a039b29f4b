"""Names as they are shown: what discover makes of what a layout found."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import pytest

from dicom_etl.layouts import LAYOUTS
from dicom_etl.layouts.pseudonyms import Pseudonyms, real_of
from dicom_etl.pipeline import locate
from dicom_etl.records import StudyFolders
from dicom_etl.stages import discover
from dicom_etl.stages.image_names import numbers_in_name
from dicom_etl.stages.link_folders import link_folders
from tests.builders import TinySource, write_link

KEY = bytes(range(32))


def studies(source: TinySource, pseudonyms: Pseudonyms | None) -> tuple[StudyFolders, ...]:
    folders = discover.find_folders(LAYOUTS[0], locate(source.root), pseudonyms)
    return link_folders(folders)[0]


def test_without_a_key_names_are_as_on_disk(kept_source: TinySource) -> None:
    first, second = studies(kept_source, None)
    assert (first.patient_id, second.original_id, first.name_key) == ("SYN00001", "SYN-T-2", b"")
    files = discover.find_files(LAYOUTS[0], locate(kept_source.root), first)
    assert files.images[0] == "dicoms/SYN00001/1.dcm"
    assert list(files.images) == sorted(files.images)


def test_with_a_key_everything_is_found_and_nothing_shown(source: TinySource) -> None:
    (source.root / "dicoms" / "SYN00001").rename(source.root / "dicoms" / "syn1")
    os.mkfifo(source.root / "dicoms" / "syn1" / "JANE")
    (source.root / "dicoms" / "JANE").mkdir()
    (source.root / "contourfiles" / "JANE.txt").write_text("x")
    write_link(source.root / "link.csv", [("SYN00001", "SYN-T-1"), ("SYN00002", "SYN-T-2")])
    pseudonyms = Pseudonyms(KEY)
    roots = locate(source.root)
    folders = discover.find_folders(LAYOUTS[0], roots, pseudonyms)
    linked, issues = link_folders(folders)
    assert [study.patient_id for study in linked] == sorted(map(pseudonyms.patient, ("SYN00001", "SYN00002")))
    study = next(study for study in linked if real_of(study.images) == "dicoms/syn1")
    assert study.patient_id == pseudonyms.patient("SYN00001")
    assert study.images == f"dicoms/{study.patient_id}"
    files = discover.find_files(LAYOUTS[0], roots, study)
    assert len(files.images) == 12
    assert len(files.labels) == 9
    assert list(files.images) == sorted(files.images)
    for path in (*files.images, *files.labels):
        assert Path(roots.place(path)).is_file()
        assert path.split("/")[1] in (study.patient_id, study.original_id)
    shown = repr((folders, issues, files, linked)).casefold()
    assert "jane" not in shown
    assert "syn" not in shown
    assert "dcm" not in shown
    assert study.name_key.hex() not in shown
    assert repr(study.name_key)[2:-1] not in repr(study)
    assert len(issues) == 1  # the folder that nobody links
    assert [issue.code for issue in (*folders.issues, *files.issues)] == ["link-missing", "unreadable-image"]


def test_a_folder_that_cannot_be_listed_is_shown_by_its_pseudonym(
    kept_source: TinySource, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = next(
        study for study in studies(kept_source, Pseudonyms(KEY)) if real_of(study.images) == "dicoms/SYN00001"
    )
    scandir = os.scandir

    def refusing(path: Path) -> object:
        if Path(path).name == "SYN00001":
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    files = discover.find_files(LAYOUTS[0], locate(kept_source.root), study)
    (issue,) = files.issues
    assert (issue.code, issue.path) == ("unreadable-image", f"dicoms/{study.patient_id}")
    assert files.images == ()


def test_shown_names_travel_to_other_processes(kept_source: TinySource) -> None:
    (study, _) = studies(kept_source, Pseudonyms(KEY))
    files = discover.find_files(LAYOUTS[0], locate(kept_source.root), study)
    again = pickle.loads(pickle.dumps(files))
    assert again == files
    assert list(map(real_of, again.images)) == list(map(real_of, files.images))


def test_names_that_cannot_be_printed_are_escaped_and_still_open(source: TinySource) -> None:
    raw = os.fsdecode(b"a\xff\n1.dcm")
    source.image(0, 0, 0).rename(source.image(0, 0, 0).with_name(raw))
    (study, _) = studies(source, None)
    files = discover.find_files(LAYOUTS[0], locate(source.root), study)
    odd = next(path for path in files.images if "\\" in path)
    assert odd == r"dicoms/SYN00001/a\xff\x0a1.dcm"
    assert Path(locate(source.root).place(odd)).is_file()
    assert numbers_in_name(odd) == {1}
