"""What is added to the house is one class and one line in its registry: a toy of each goes the whole way."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray

import dicom_etl
from dicom_etl import contours, layouts
from dicom_etl.batches import transforms
from dicom_etl.checks import sample_checks
from dicom_etl.checks.limits import LabelLimits
from dicom_etl.checks.sample_checks import Drawn, finding
from dicom_etl.cli import cli
from dicom_etl.config import LabelOptions, SourceOptions
from dicom_etl.layouts import SourceRoots
from dicom_etl.records import (
    ContourRef,
    Found,
    ImageHeader,
    Issue,
    Link,
    Outlines,
    SliceNumber,
    SourceFolders,
    StudyFiles,
    StudyFolders,
)
from dicom_etl.verification.study import study_checks
from tests.builders import TinySource


class ToyContours:
    """Outlines as JSON, counted from 0: ``7.toy`` holds {"endo": [[x, y], ..]} for instance 7."""

    name = "toy"
    accepts = frozenset({".toy"})

    def find(self, path: str, options: LabelOptions) -> Found | None:
        number = int(Path(path).stem)
        names = sorted(json.loads(Path(path).read_bytes()))
        return Found(
            tuple(ContourRef(path, name, self.name, name, SliceNumber(1, number)) for name in names), ()
        )

    def read(
        self, path: str, refs: Sequence[ContourRef], image: ImageHeader, options: LabelOptions
    ) -> Outlines:
        drawn = json.loads(Path(path).read_bytes())
        rings = {ref: (np.array(drawn[ref.item], dtype=np.float64),) for ref in refs}
        return Outlines(rings, dict.fromkeys(refs, 0.0), ())


def test_a_contour_format_is_one_class(
    source: TinySource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = tmp_path / "text.h5"
    expected = dicom_etl.ingest(source.root, first, structures="icontour", jobs=1)
    for study, structure, location, phase in source.drawn():
        text = source.contour(study, structure, location, phase)
        if structure == "icontour":
            ring = np.loadtxt(text) - 1
            toy = text.with_name(f"{source.number(location, phase)}.toy")
            toy.write_text(json.dumps({"endo": ring.tolist()}))
        text.unlink()
    monkeypatch.setattr(contours, "READERS", (*contours.READERS, ToyContours()))
    contours.readers_for.cache_clear()
    made = dicom_etl.ingest(source.root, tmp_path / "toy.h5", structure_map={"endo": "icontour"}, jobs=1)
    assert (made.ok, made.structures) == (True, expected.structures)
    with (
        dicom_etl.BatchReader(first, batch_size=1, shuffle=False) as old,
        dicom_etl.BatchReader(tmp_path / "toy.h5", batch_size=1, shuffle=False) as new,
    ):
        for one, other in zip(old.epoch(0), new.epoch(0), strict=True):
            assert (one.masks == other.masks).all()


class ToyLayout:
    """A folder a patient: ``SYN00001/img/..`` and ``SYN00001/roi/..``."""

    name = "toy"
    name_offset: int | None = None

    def recognises(self, source: Path) -> bool:
        return any(source.glob("*/img"))

    def locate(self, source: Path | None, options: SourceOptions) -> SourceRoots:
        assert source is not None
        return SourceRoots(source, source, source, self.name, source)

    def folders(self, roots: SourceRoots) -> SourceFolders:
        names = tuple(sorted(folder.name for folder in roots.dicoms.iterdir()))
        return SourceFolders(tuple(Link(name, name) for name in names), names, (), (), together=True)

    def files(self, roots: SourceRoots, study: StudyFolders) -> StudyFiles:
        place = Path(roots.place(study.images))
        images, labels = (
            tuple(sorted(f"{study.images}/{path.relative_to(place)}" for path in place.glob(f"{part}/*")))
            for part in ("img", "roi")
        )
        return StudyFiles(images, labels)


def test_a_layout_is_one_class(source: TinySource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = dicom_etl.ingest(source.root, tmp_path / "linked.h5", jobs=1)
    for study in range(source.studies):
        for part, paths in (
            ("img", [source.image(study, 0, 0).parent]),
            ("roi", {source.contour(*drawn).parent for drawn in source.drawn() if drawn[0] == study}),
        ):
            folder = tmp_path / "toy" / source.patient_id(study) / part
            for path in paths:
                shutil.copytree(path, folder, dirs_exist_ok=True)
    monkeypatch.setattr(layouts, "LAYOUTS", (ToyLayout(), *layouts.LAYOUTS))
    made = dicom_etl.ingest(tmp_path / "toy", tmp_path / "toy.h5", jobs=1)
    assert (made.ok, made.structures, made.issues) == (True, expected.structures, [])


def check_toy(drawn: Drawn, limits: LabelLimits) -> Iterator[Issue]:
    """tiny-contour: the image is one that the toy likes.

    A warning for the images of the first location.
    """
    if drawn.facts.location_index == 0:
        yield finding(
            drawn.facts, "warning", "tiny-contour", "the toy does not like it", drawn.facts.contours[0]
        )


@pytest.fixture
def forgotten_checks() -> Iterator[None]:
    """Checks are gathered once a process: so anew for the toy, and once more after it."""
    study_checks.cache_clear()
    yield
    study_checks.cache_clear()


@pytest.mark.usefixtures("forgotten_checks")
def test_a_check_is_one_function(
    kept_source: TinySource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sample_checks, "SAMPLE_CHECKS", (*sample_checks.SAMPLE_CHECKS, check_toy))
    made = dicom_etl.ingest(kept_source.root, tmp_path / "o.h5", jobs=1)
    outcome = dicom_etl.verify(tmp_path / "o.h5", jobs=1)
    for issues in (made.issues, outcome.findings):
        assert [issue.code for issue in issues] == ["tiny-contour"] * 4
    rules = {check["name"]: check["rule"] for check in outcome.to_json()["checks"]}
    assert rules["toy"] == "the image is one that the toy likes."


class ToyTransform:
    """Turns grey values round."""

    def __init__(self, factor: int = 1) -> None:
        self.factor = factor

    def __call__(
        self, image: NDArray[Any], masks: NDArray[np.uint8], rng: np.random.Generator
    ) -> tuple[NDArray[Any], NDArray[np.uint8]]:
        return image * -self.factor, masks


def test_a_transform_is_one_class(
    dataset: Path, tmp_path: Path, runner: CliRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    options: dict[str, Any] = {"batch_size": 4, "shuffle": False}
    with (
        dicom_etl.BatchReader(dataset, **options) as plain,
        dicom_etl.BatchReader(dataset, **options, transforms=[ToyTransform()]) as turned,
    ):
        assert (next(iter(plain.epoch(0))).images == -next(iter(turned.epoch(0))).images).all()
    monkeypatch.setitem(transforms.KNOWN, "ToyTransform", ToyTransform)
    words = [
        "preview",
        str(dataset),
        "--batch",
        "--transform",
        "ToyTransform(factor=2)",
        "-o",
        str(tmp_path / "o.png"),
    ]
    result = runner.invoke(cli, words)
    assert result.exit_code == 0, result.output
