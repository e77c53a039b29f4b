"""The standard layout: what is found, and that nothing but regular files of the study is ever opened."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from dicom_etl.config import SourceOptions
from dicom_etl.errors import SourceError
from dicom_etl.layouts import LAYOUTS, SourceRoots
from dicom_etl.records import Issue, Link, StudyFiles, StudyFolders
from tests.builders import TinySource

STUDY = StudyFolders("SYN00001", "SYN-T-1", "dicoms/SYN00001", "contourfiles/SYN-T-1")


def roots_of(source: TinySource) -> SourceRoots:
    return LAYOUTS[0].locate(source.root, SourceOptions())


def files(source: TinySource) -> StudyFiles:
    return LAYOUTS[0].files(roots_of(source), STUDY)


def found(issues: tuple[Issue, ...]) -> list[tuple[str, str, str]]:
    return [(issue.severity, issue.code, issue.path) for issue in issues]


def test_files_are_found_at_any_depth_and_hidden_ones_are_not_looked_at(source: TinySource) -> None:
    study = source.root / "dicoms" / "SYN00001"
    deep = study / "a" / "b"
    deep.mkdir(parents=True)
    (study / "1.dcm").rename(deep / "1.IMA")
    (study / "._2.dcm").write_bytes(b"x")
    (study / ".hidden").mkdir()
    listed = files(source)
    assert len(listed.images) == 12
    assert "dicoms/SYN00001/a/b/1.IMA" in listed.images
    assert len(listed.labels) == 9
    assert listed.issues == ()


def test_links_to_other_places_pipes_and_sockets_are_never_opened(
    source: TinySource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "x.dcm").write_bytes(b"x")
    study = source.root / "dicoms" / "SYN00001"
    (study / "file").symlink_to(secret / "x.dcm")
    (study / "folder").symlink_to(secret)
    (study / "neighbour").symlink_to(source.root / "dicoms" / "SYN00002")
    (study / "nowhere").symlink_to(study / "missing")
    (study / "self").symlink_to(study / "self")
    os.mkfifo(study / "pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        with monkeypatch.context() as here:
            # The name of a socket holds 108 bytes at most; a temporary folder's may be longer.
            here.chdir(study)
            listener.bind("socket")
        listed = files(source)
    assert len(listed.images) == 12
    names = ("file", "folder", "neighbour", "nowhere", "pipe", "self", "socket")
    assert found(listed.issues) == [
        ("error", "unreadable-image", f"dicoms/SYN00001/{name}") for name in names
    ]
    assert not any(str(tmp_path) in issue.message for issue in listed.issues)


def test_links_within_a_study_are_followed_once(source: TinySource) -> None:
    study = source.root / "dicoms" / "SYN00001"
    (study / "sub").mkdir()
    (study / "sub" / "100.dcm").write_bytes(b"x")
    (study / "again").symlink_to(study / "sub")
    (study / "sub" / "up").symlink_to(study)
    (study / "200.dcm").symlink_to(study / "sub" / "100.dcm")
    listed = files(source)
    assert len(listed.images) == 12 + 2
    assert [issue.path.rpartition("/")[2] for issue in listed.issues] == ["up", "sub"]


def test_a_folder_that_cannot_be_listed_costs_that_folder(
    source: TinySource, monkeypatch: pytest.MonkeyPatch
) -> None:
    locked = source.root / "dicoms" / "SYN00001" / "locked"
    locked.mkdir()
    scandir = os.scandir

    def refusing(path: Path) -> object:
        if Path(path) == locked:
            raise PermissionError(13, "Permission denied", str(locked))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    listed = files(source)
    assert len(listed.images) == 12
    assert found(listed.issues) == [("error", "unreadable-image", "dicoms/SYN00001/locked")]
    assert listed.issues[0].message == "the folder cannot be listed: Permission denied; left out"


def test_folders_nested_without_end_are_cut_off(source: TinySource) -> None:
    deep = source.root / "dicoms" / "SYN00001"
    for _ in range(40):
        deep = deep / "d"
        deep.mkdir()
    (deep / "1.dcm").write_bytes(b"x")
    listed = files(source)
    assert len(listed.images) == 12
    assert "folders deep" in listed.issues[0].message


def test_top_level_links_and_strays_are_reported(source: TinySource, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (source.root / "dicoms" / "away").symlink_to(tmp_path / "elsewhere")
    (source.root / "contourfiles" / "loop").symlink_to(source.root / "contourfiles" / "loop")
    (source.root / "dicoms" / "notes.txt").write_text("x")
    folders = LAYOUTS[0].folders(roots_of(source))
    assert folders.images == ("dicoms/SYN00001", "dicoms/SYN00002")
    assert found(folders.issues) == [
        ("error", "unreadable-image", "dicoms/away"),
        ("warning", "link-missing", "dicoms/notes.txt"),
        ("error", "unreadable-contour", "contourfiles/loop"),
    ]


@pytest.mark.parametrize(
    ("remove", "said"),
    [
        ("dicoms", "SOURCE has no folder dicoms: it does not exist; `dicoms`"),
        ("contourfiles", "SOURCE has no folder contourfiles"),
    ],
)
def test_a_missing_part_is_named_with_its_option(source: TinySource, remove: str, said: str) -> None:
    (source.root / remove).rename(source.root.parent / "moved")
    with pytest.raises(SourceError, match=said) as caught:
        roots_of(source)
    assert str(source.root) not in str(caught.value)


def test_without_a_table_folders_of_one_name_belong_together(source: TinySource) -> None:
    (source.root / "link.csv").unlink()
    with pytest.raises(
        SourceError, match=r"SOURCE has no link.csv, and no folder of dicoms has the name of one"
    ):
        LAYOUTS[0].folders(roots_of(source))
    (source.root / "contourfiles" / "SYN-T-1").rename(source.root / "contourfiles" / "syn1")
    folders = LAYOUTS[0].folders(roots_of(source))
    assert folders.links == (Link("SYN00001", "syn1"),)


def test_a_part_of_the_wrong_kind_is_named_with_its_option(source: TinySource) -> None:
    root = source.root
    os.mkfifo(root / "pipe")
    for given, said in (
        (SourceOptions(links=root), "`links` is not a file: it is a folder"),
        (SourceOptions(links=root / "pipe"), "`links` is not a file: it is a device or pipe"),
        (SourceOptions(dicoms=root / "link.csv"), "`dicoms` is not a folder: it is a file"),
        (SourceOptions(contours=root / "link.csv" / "x"), "`contours` is not a folder: it cannot be read"),
    ):
        with pytest.raises(SourceError, match=said):
            LAYOUTS[0].locate(root, given)
    with pytest.raises(SourceError, match="no SOURCE, so `dicoms` must say"):
        LAYOUTS[0].locate(None, SourceOptions())


def test_a_root_that_cannot_be_listed_stops_the_run(
    source: TinySource, monkeypatch: pytest.MonkeyPatch
) -> None:
    roots = roots_of(source)

    def refuse(path: Path) -> None:
        raise OSError(5, "Input/output error", str(path))

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(SourceError, match="folder of the dicoms cannot be listed: Input/output error"):
        LAYOUTS[0].folders(roots)
