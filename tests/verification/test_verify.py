"""verify as a whole: silent on what ingest makes, whatever its options; what it does with files that are no dataset."""

from __future__ import annotations

import os
import pickle
import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from dicom_etl import pipeline
from dicom_etl.checks.limits import VerifyOptions
from dicom_etl.config import IngestConfig
from dicom_etl.dataset.digest import sha256_of_file
from dicom_etl.errors import ConfigError, DatasetError
from dicom_etl.layouts.pseudonyms import Pseudonyms
from dicom_etl.verification import structure
from dicom_etl.verification.dataset import verify_dataset
from dicom_etl.workers import InProcess
from dicom_etl.workers.pool import ProcessPool
from tests.builders import (
    ORIENTATION,
    TinySource,
    make_source,
    position_mm,
    write_contour,
    write_dicom,
    write_link,
)
from tests.dicom.test_frames import item
from tests.verification.tampering import set_text, tamper

STRICT = VerifyOptions(fail_on="warning")


def ingest(source: TinySource, output: Path, **config: Any) -> Path:
    pipeline.ingest(pipeline.locate(source.root), output, IngestConfig(**config))
    return output


@pytest.mark.parametrize(
    "config",
    [
        {"compression": "gzip"},
        {"compression": "gzip", "unlabeled": True},
        {"fletcher32": True, "raster_rule": "centre"},
        {"mask_values": "coverage"},
        {"structures": ("ocontour",)},
        {"size": (40, 28)},
        {"spacing_mm": 1.1},
        {"spacing_mm": 1.1, "size": (36, 36), "mask_values": "coverage", "compression": "gzip"},
        {"impute": "both"},
        {"impute": "nearest", "unlabeled": True, "compression": "gzip"},
        {"expect_size": (32, 32), "allow_self_intersection": True},
    ],
    ids=str,
)
def test_what_ingest_makes_is_right(kept_source: TinySource, tmp_path: Path, config: dict[str, Any]) -> None:
    path = ingest(kept_source, tmp_path / "out.h5", **config)
    outcome = verify_dataset(path, STRICT, source=pipeline.locate(kept_source.root))
    assert outcome.findings == []
    assert outcome.exit_code == 0
    assert outcome.sha256 == sha256_of_file(path)
    assert outcome.samples > 0


@pytest.mark.parametrize("seconds", [False, True])
def test_what_the_pipeline_left_out_is_no_change(source: TinySource, tmp_path: Path, seconds: bool) -> None:
    source.contour(0, "icontour", 1, source.ed).write_text("1 2\n3 x\n5 6\n")
    image = source.image(1, 2, source.es)
    image.write_bytes(image.read_bytes()[:-100])
    source.image(1, 0, source.ed).unlink()
    (source.root / "dicoms" / "NOBODY").mkdir()
    path = ingest(source, tmp_path / "out.h5", unlabeled=seconds)
    outcome = verify_dataset(path, source=pipeline.locate(source.root))
    # The gaps that the missing images leave are doubts about labels, as ingest said.
    assert {issue.code for issue in outcome.findings} <= {"outer-without-inner", "phase-order"}


def test_frames_of_one_file_are_told_apart(tmp_path: Path) -> None:
    source = make_source(tmp_path / "source", studies=1)
    for path in (source.root / "dicoms" / source.patient_id(0)).iterdir():
        path.unlink()
    places = [(location, phase) for location in range(3) for phase in range(source.phases)]
    frames = np.array([source.pixels(0, location, phase) for location, phase in places])
    groups = [
        item(
            PlaneOrientationSequence={"ImageOrientationPatient": list(ORIENTATION)},
            PixelMeasuresSequence={"PixelSpacing": [1.4, 1.4]},
            PlanePositionSequence={"ImagePositionPatient": position_mm(location)},
            CardiacSynchronizationSequence={"NominalCardiacTriggerDelayTime": 20.0 + 200 * phase},
        )
        for location, phase in places
    ]
    elements = {(0x5200, 0x9229): ("SQ", [item()]), (0x5200, 0x9230): ("SQ", groups)}
    write_dicom(source.root / "dicoms" / source.patient_id(0) / "all.dcm", frames, elements=elements)
    path = ingest(source, tmp_path / "out.h5")
    outcome = verify_dataset(path, STRICT, source=pipeline.locate(source.root))
    assert outcome.samples == 6
    assert outcome.findings == []


def test_unknown_geometry_is_no_finding(tmp_path: Path) -> None:
    source = make_source(tmp_path / "source", TriggerTime=None, ImagePositionPatient=None, PixelSpacing=None)
    path = ingest(source, tmp_path / "out.h5")
    assert verify_dataset(path, STRICT, source=pipeline.locate(source.root)).findings == []


def test_pseudonyms_need_their_key(kept_source: TinySource, dataset: Path, tmp_path: Path) -> None:
    roots, key = pipeline.locate(kept_source.root), Pseudonyms(bytes(range(32)))
    path = tmp_path / "hidden.h5"
    pipeline.ingest(roots, path, IngestConfig(pseudonymize=True), pseudonyms=key)
    assert verify_dataset(path, STRICT).findings == []
    assert verify_dataset(path, STRICT, source=roots, pseudonyms=key).findings == []
    with pytest.raises(ConfigError, match="`pseudonymize` KEYFILE"):
        verify_dataset(path, source=roots)
    with pytest.raises(ConfigError, match="leave `pseudonymize` out"):
        verify_dataset(dataset, source=roots, pseudonyms=key)
    with pytest.raises(ConfigError, match="another key"):
        verify_dataset(path, source=roots, pseudonyms=Pseudonyms(bytes(range(1, 33))))


class Elsewhere(InProcess):
    """Sends work and items through pickle, as to another process."""

    def map(self, function: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[tuple[Any, Any]]:
        return super().map(
            pickle.loads(pickle.dumps(function)), (pickle.loads(pickle.dumps(i)) for i in items)
        )


def test_the_key_stays_in_this_process(kept_source: TinySource, tmp_path: Path) -> None:
    """A SOURCE that took longer than the start of a process failed: the key was to be sent there."""
    roots, key = pipeline.locate(kept_source.root), Pseudonyms(bytes(range(32)))
    path = tmp_path / "hidden.h5"
    pipeline.ingest(roots, path, IngestConfig(pseudonymize=True), pseudonyms=key)
    assert verify_dataset(path, STRICT, source=roots, pseudonyms=key, executor=Elsewhere()).findings == []


@pytest.mark.parametrize("text", ["", "a free text about Jane"])
def test_a_fingerprint_that_is_none_is_found(kept_source: TinySource, tmp_path: Path, text: str) -> None:
    roots, key = pipeline.locate(kept_source.root), Pseudonyms(bytes(range(32)))
    path = tmp_path / "hidden.h5"
    pipeline.ingest(roots, path, IngestConfig(pseudonymize=True), pseudonyms=key)

    def change(file: h5py.File) -> None:
        if text:
            set_text(file, "key_fingerprint", text)
        else:
            del file.attrs["key_fingerprint"]

    outcome = verify_dataset(tamper(path, tmp_path / "changed.h5", change), STRICT)
    assert {issue.code for issue in outcome.findings} == {"schema"}
    assert "key_fingerprint" in outcome.findings[0].message


def test_floats_and_long_studies(tmp_path: Path) -> None:
    source = make_source(
        tmp_path / "source", studies=1, locations=9, phases=8, RescaleSlope=0.37, RescaleIntercept=-3
    )
    path = ingest(source, tmp_path / "out.h5")
    with h5py.File(path) as file:
        assert file["images"].dtype.kind == "f"
    assert verify_dataset(path, STRICT, source=pipeline.locate(source.root)).findings == []


def test_expect_is_the_digest_of_the_whole_file(dataset: Path) -> None:
    right = sha256_of_file(dataset)
    assert verify_dataset(dataset, VerifyOptions(expect=right.upper())).exit_code == 0
    outcome = verify_dataset(dataset, VerifyOptions(expect="0" * 64))
    assert outcome.exit_code == 1
    assert [issue.code for issue in outcome.findings] == ["seal-broken"]
    assert outcome.samples == 0


def test_fast_stops_after_the_structure(dataset: Path, tmp_path: Path) -> None:
    def wrong_mask(file: h5py.File) -> None:
        file["masks/icontour"][0, 0, 0] = 1

    path = tamper(dataset, tmp_path / "changed.h5", wrong_mask)
    assert verify_dataset(path, VerifyOptions(fast=True)).exit_code == 0
    assert verify_dataset(path).exit_code == 3


def test_it_never_stops_at_the_first_finding(dataset: Path, tmp_path: Path) -> None:
    def much(file: h5py.File) -> None:
        file["masks/icontour"][2, 0, 0] = 1
        file["samples/image_mean"][5] += 1
        file["samples/cardiac_phase"][7] = "ES"
        file["samples/split"][:] = ["train"] * 11 + ["val"]

    outcome = verify_dataset(tamper(dataset, tmp_path / "changed.h5", much))
    assert {issue.code for issue in outcome.findings} == {
        "digest-mismatch",
        "mask-differs",
        "derived-differs",
        "patient-in-two-splits",
    }
    rows = [-1 if issue.sample is None else issue.sample for issue in outcome.findings]
    assert rows == sorted(rows)


def test_patients_who_share_an_image_belong_together(dataset: Path, tmp_path: Path) -> None:
    def split(file: h5py.File) -> None:
        file["images"][11] = file["images"][3]
        file["samples/split"][:] = ["train"] * 6 + ["val"] * 6

    outcome = verify_dataset(tamper(dataset, tmp_path / "changed.h5", split))
    (sides,) = (issue for issue in outcome.findings if issue.code == "patient-in-two-splits")
    assert "SYN00001, SYN00002 share" in sides.message


def test_a_missing_file_a_folder_and_a_pipe_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="cannot be read"):
        verify_dataset(tmp_path / "none.h5")
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe"):
        with pytest.raises(DatasetError, match="not a regular file"):
            verify_dataset(path)


@pytest.mark.parametrize("data", [b"", b"short", b"\x89HDF\r\n\x1a\n" + bytes(4000)])
def test_a_file_that_is_no_dataset_is_damaged(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "other.h5"
    path.write_bytes(data)
    outcome = verify_dataset(path)
    assert outcome.exit_code == 1
    assert [issue.code for issue in outcome.findings] == ["seal-broken"]


class TestInputs:
    """What SOURCE gives now, compared with the rows."""

    @staticmethod
    def changes(source: TinySource, path: Path) -> list[tuple[str, str, str]]:
        outcome = verify_dataset(path, STRICT, source=pipeline.locate(source.root))
        assert {issue.code for issue in outcome.findings} <= {"source-changed"}
        return [(issue.severity, issue.path, issue.message) for issue in outcome.findings]

    def test_a_changed_pixel(self, source: TinySource, tmp_path: Path) -> None:
        path = ingest(source, tmp_path / "out.h5")
        image = source.image(0, 1, source.ed)
        data = bytearray(image.read_bytes())
        data[-700] ^= 1
        image.write_bytes(data)
        ((severity, name, message),) = self.changes(source, path)
        assert (severity, name) == ("error", image.relative_to(source.root).as_posix())
        assert "the image file changed" in message
        assert "sha256" in message

    def test_changed_bytes_that_change_nothing_else(self, source: TinySource, tmp_path: Path) -> None:
        path = ingest(source, tmp_path / "out.h5")
        image = source.image(0, 1, source.ed)
        data = bytearray(image.read_bytes())
        data[5] = 7  # the preamble means nothing
        image.write_bytes(data)
        ((_, _, message),) = self.changes(source, path)
        assert message.startswith("sha256_image_file differ")

    def test_a_changed_contour(self, source: TinySource, tmp_path: Path) -> None:
        path = ingest(source, tmp_path / "out.h5")
        contour = source.contour(1, "icontour", 0, source.es)
        ring = source.ring(1, "icontour", 0, source.es) + 0.5
        write_contour(contour, ring)
        ((severity, name, message),) = self.changes(source, path)
        assert (severity, name) == ("error", contour.relative_to(source.root).as_posix())
        assert "another outline" in message

    def test_missing_and_unusable_files(self, source: TinySource, tmp_path: Path) -> None:
        path = ingest(source, tmp_path / "out.h5")
        source.image(0, 0, source.ed).unlink()
        cut = source.image(0, 1, source.ed)
        cut.write_bytes(cut.read_bytes()[:-9])
        source.contour(1, "icontour", 0, source.ed).unlink()
        source.contour(1, "ocontour", 1, source.ed).write_text("nothing\n")
        found = self.changes(source, path)
        errors = [message for severity, _, message in found if severity == "error"]
        assert sum("is not in SOURCE" in message for message in errors) == 2
        assert sum("cannot be used now" in message or "the file ends" in message for message in errors) == 2
        assert any(severity == "warning" and "orphan-contour" in text for severity, _, text in found)

    def test_new_files(self, source: TinySource, tmp_path: Path) -> None:
        late = source.contour(0, "icontour", 1, source.ed)
        later = source.contour(0, "icontour", 2, source.es)
        kept = {contour: contour.read_bytes() for contour in (late, later)}
        late.unlink()
        later.unlink()
        path = ingest(source, tmp_path / "out.h5", structures=("icontour",))
        for contour, data in kept.items():
            contour.write_bytes(data)
        found = self.changes(source, path)
        assert [severity for severity, _, _ in found] == ["warning", "warning"]
        assert all("no row" in message for _, _, message in found)

    def test_a_new_structure_on_an_old_row(self, source: TinySource, tmp_path: Path) -> None:
        outer = source.contour(0, "ocontour", 1, source.ed)
        data = outer.read_bytes()
        outer.unlink()
        path = ingest(source, tmp_path / "out.h5")
        outer.write_bytes(data)
        ((severity, name, message),) = self.changes(source, path)
        assert (severity, name) == ("warning", outer.relative_to(source.root).as_posix())
        assert "does not have" in message

    def test_a_mended_file_is_new(self, source: TinySource, tmp_path: Path) -> None:
        contour = source.contour(0, "icontour", 1, source.es)
        data = contour.read_bytes()
        contour.write_text("broken\n")
        path = ingest(source, tmp_path / "out.h5")
        assert self.changes(source, path) == []
        contour.write_bytes(data)
        ((severity, _, message),) = self.changes(source, path)
        assert severity == "warning"
        assert "no row" in message

    def test_studies_gone_and_come(self, source: TinySource, tmp_path: Path) -> None:
        path = ingest(source, tmp_path / "out.h5")
        write_link(source.root / "link.csv", [(source.patient_id(1), source.original_id(1))])
        found = self.changes(source, path)
        assert sum(severity == "error" for severity, _, _ in found) == 6
        fresh = ingest(source, tmp_path / "one.h5")
        write_link(
            source.root / "link.csv", [(source.patient_id(n), source.original_id(n)) for n in range(2)]
        )
        found = self.changes(source, fresh)
        assert sum("no row" in message for _, _, message in found) == 6

    def test_a_contour_that_went_to_another_image(self, source: TinySource, tmp_path: Path) -> None:
        path = ingest(source, tmp_path / "out.h5")
        one, other = (source.contour(0, "icontour", 0, phase) for phase in (source.ed, source.es))
        data = one.read_bytes()
        one.write_bytes(other.read_bytes())
        other.write_bytes(data)
        assert len([text for _, _, text in self.changes(source, path) if "another outline" in text]) == 2


def test_what_is_found_never_depends_on_the_processes(
    kept_source: TinySource, dataset: Path, tmp_path: Path
) -> None:
    def much(file: h5py.File) -> None:
        file["masks/icontour"][2, 0, 0] = 1
        file["samples/image_mean"][5] += 1

    path, roots = tamper(dataset, tmp_path / "changed.h5", much), pipeline.locate(kept_source.root)
    alone = verify_dataset(path, STRICT, source=roots)
    with ProcessPool(2, patience_seconds=0) as pool:
        together = verify_dataset(path, STRICT, source=roots, executor=pool)
    assert alone.findings
    assert together.to_json() == alone.to_json()


def test_a_file_that_takes_the_place_of_the_one_hashed_is_not_looked_at(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, other = (Path(shutil.copy(dataset, tmp_path / name)) for name in ("one.h5", "other.h5"))
    hashed = structure.check_seal

    def swap(path: Path) -> Any:
        found = hashed(path)
        other.replace(path)
        return found

    monkeypatch.setattr(structure, "check_seal", swap)
    outcome = verify_dataset(path)
    assert [issue.code for issue in outcome.findings] == ["schema"]
    assert "was replaced while it was verified" in outcome.findings[0].message
