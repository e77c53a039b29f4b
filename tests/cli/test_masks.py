"""The options that shape masks and the grid, as a person uses them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from click.testing import CliRunner

from dicom_etl.geometry.polygons import polygon_area
from dicom_etl.stages import rasterize
from tests.builders import TinySource, make_source
from tests.cli.test_ingest import run
from tests.geometry.test_raster import pillow_mask


def ingest(runner: CliRunner, source: TinySource, output: Path, *words: object) -> dict[str, Any]:
    result = run(runner, "ingest", source.root, "-o", output, "--overwrite", "--json", *words)
    assert result.exit_code in (0, 3), result.output
    answer: dict[str, Any] = json.loads(result.stdout)
    return answer


def rings_of(file: h5py.File, structure: str, row: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    group = file["contours"][structure]
    first, last = group["offsets"][row : row + 2]
    vertices: np.ndarray[Any, np.dtype[np.float64]] = group["vertices"][first:last]
    return vertices


def test_the_pillow_rule_draws_what_pillow_draws(
    runner: CliRunner, kept_source: TinySource, tmp_path: Path
) -> None:
    output = tmp_path / "o.h5"
    answer = ingest(runner, kept_source, output, "--raster-rule", "pillow", "--contour-origin", 0)
    assert answer["contour_origin"] == 0
    with h5py.File(output) as file:
        assert bytes(file.attrs["raster_rule"]) == b"pillow"
        assert set(file["samples/pixel_origin_icontour"][()].tolist()) == {0}
        for row, mask in enumerate(file["masks/icontour"]):
            assert (mask == pillow_mask(rings_of(file, "icontour", row), kept_source.shape)).all()


def test_soft_masks_add_up_to_the_area(runner: CliRunner, kept_source: TinySource, tmp_path: Path) -> None:
    output = tmp_path / "o.h5"
    ingest(runner, kept_source, output, "--mask-values", "coverage")
    with h5py.File(output) as file:
        masks = file["masks/icontour"]
        assert masks.attrs["scale_factor"] == pytest.approx(1 / 255)
        assert 0 < np.mean((masks[:] > 0) & (masks[:] < 255)) < 0.2
        area = polygon_area((rings_of(file, "icontour", 0),))
        assert masks[0].sum() * masks.attrs["scale_factor"] == pytest.approx(area, rel=2e-3)


def test_soft_masks_and_another_rule_do_not_go_together(
    runner: CliRunner, kept_source: TinySource, tmp_path: Path
) -> None:
    words = "--mask-values", "coverage", "--raster-rule", "centre"
    result = run(runner, "ingest", kept_source.root, "-o", tmp_path / "o.h5", *words)
    assert result.exit_code == 2
    assert "--mask-values coverage needs --raster-rule coverage, not centre" in result.output


@pytest.fixture(scope="module")
def oblong(tmp_path_factory: pytest.TempPathFactory) -> TinySource:
    """A SOURCE of images and pixels that are not square."""
    root = tmp_path_factory.mktemp("oblong")
    return make_source(root, studies=1, shape=(40, 56), PixelSpacing=[1.5, 1.2])


@pytest.mark.parametrize("spacing", [None, 0.8, 1.7])
@pytest.mark.parametrize("size", [None, (48, 48), (33, 80)])
def test_rows_lie_in_the_patient_where_they_lay(
    runner: CliRunner, oblong: TinySource, tmp_path: Path, size: tuple[int, int] | None, spacing: float | None
) -> None:
    plain, moved = tmp_path / "plain.h5", tmp_path / "moved.h5"
    ingest(runner, oblong, plain)
    words: tuple[str, ...] = () if size is None else ("--size", f"{size[0]}x{size[1]}")
    words += () if spacing is None else ("--spacing", str(spacing))
    answer = ingest(runner, oblong, moved, *words)
    with h5py.File(plain) as before, h5py.File(moved) as after:
        assert after["images"].shape[1:] == tuple(answer["shape"])
        assert after["images"].dtype == before["images"].dtype
        if size is not None:
            assert after["images"].shape[1:] == size
        if spacing is not None:
            assert after["samples/pixel_spacing_mm"][:] == pytest.approx(spacing)
        for row in range(len(before["images"])):
            places = [in_patient(file, row) for file in (before, after)]
            assert places[1] == pytest.approx(places[0], abs=1e-6)
            areas = [
                file["masks/icontour"][row].sum() * np.prod(pixel_mm(file, row)) for file in (before, after)
            ]
            assert areas[1] == pytest.approx(areas[0], rel=0.05)
            # The blood pool is bright: what the mask covers must have moved with the pixels.
            mask = after["masks/icontour"][row].astype(bool)
            assert after["images"][row][mask].mean() > 1.5 * after["images"][row][~mask].mean()


def pixel_mm(file: h5py.File, row: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    spacing: np.ndarray[Any, np.dtype[np.float64]] = file["samples/pixel_spacing_mm"][row]
    return spacing


def in_patient(file: h5py.File, row: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    between_rows, between_columns = pixel_mm(file, row)
    cosines = file["samples/orientation"][row]
    x, y = rings_of(file, "icontour", row).T
    place: np.ndarray[Any, np.dtype[np.float64]] = (
        file["samples/position_mm"][row]
        + np.outer(x * between_columns, cosines[:3])
        + np.outer(y * between_rows, cosines[3:])
    )
    return place


def test_images_of_different_sizes_become_one_dataset(runner: CliRunner, tmp_path: Path) -> None:
    source = make_source(tmp_path / "s", studies=1, shape=(32, 32))
    other = make_source(tmp_path / "t", studies=2, shape=(40, 48))
    for part in ("dicoms", "contourfiles"):
        names = [other.patient_id(1), other.original_id(1)]
        folder = next(path for path in (other.root / part).iterdir() if path.name in names)
        folder.rename(source.root / part / folder.name)
    (source.root / "link.csv").write_bytes((other.root / "link.csv").read_bytes())
    refused = run(runner, "ingest", source.root, "-o", tmp_path / "o.h5")
    assert refused.exit_code == 1
    assert "--size ROWSxCOLUMNS brings all to one size" in refused.output
    answer = ingest(runner, source, tmp_path / "o.h5", "--size", "36x36")
    assert answer["shape"] == [36, 36]
    assert answer["samples"] == 12


def test_an_image_without_spacing_is_named_when_spacing_is_asked_for(
    runner: CliRunner, tmp_path: Path
) -> None:
    source = make_source(tmp_path / "s", studies=1, PixelSpacing=None)
    assert ingest(runner, source, tmp_path / "o.h5")["samples"] == 6
    result = run(runner, "ingest", source.root, "-o", tmp_path / "p.h5", "--spacing", "1.25")
    assert result.exit_code == 1
    assert "unreadable-image" in result.output


def test_a_crop_through_a_contour_is_a_finding(
    runner: CliRunner, kept_source: TinySource, tmp_path: Path
) -> None:
    answer = ingest(runner, kept_source, tmp_path / "o.h5", "--size", "14x14")
    assert {issue["code"] for issue in answer["issues"]} >= {"contour-outside-image"}
    with h5py.File(tmp_path / "o.h5") as file:
        assert file["masks/ocontour"][:].any()


def test_options_of_masks_may_stand_in_a_file(
    runner: CliRunner, kept_source: TinySource, tmp_path: Path
) -> None:
    settings = tmp_path / "run.toml"
    settings.write_text('raster-rule = "centre"\ncontour-origin = 0\nsize = "40x36"\nspacing = 1.25\n')
    answer = ingest(runner, kept_source, tmp_path / "o.h5", "--config", settings)
    assert answer["shape"] == [40, 36]
    with h5py.File(tmp_path / "o.h5") as file:
        recorded = json.loads(file.attrs["config"])
    assert recorded["raster_rule"] == "centre"
    assert recorded["contour_origin"] == 0
    assert recorded["spacing_mm"] == 1.25


@pytest.mark.parametrize("words", [("--raster-rule", "pillow"), ("--spacing", "1")])
def test_a_missing_package_is_named_before_anything_is_read(
    runner: CliRunner,
    kept_source: TinySource,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    words: tuple[str, str],
) -> None:
    monkeypatch.setattr(rasterize, "find_spec", lambda name: None)
    result = run(runner, "ingest", kept_source.root, "-o", tmp_path / "o.h5", *words)
    assert result.exit_code == 1
    assert f"{words[0]}" in result.output
    assert 'pip install "dicom-etl[' in result.output
    assert "discover" not in result.stderr


def test_real_studies_read_from_0_are_misaligned_and_from_1_are_not(
    runner: CliRunner, real_source: Path, tmp_path: Path
) -> None:
    found: dict[int, list[str]] = {}
    for origin in (0, 1):
        words = real_source, "-o", tmp_path / f"{origin}.h5", "--contour-origin", origin, "--json"
        result = run(runner, "ingest", *words)
        assert result.exit_code == (0 if origin else 3)
        answer = json.loads(result.stdout)
        assert answer["contour_origin"] == origin
        found[origin] = [
            issue["path"]
            for issue in answer["issues"]
            if issue["code"] == "misaligned" and "--contour-origin" in issue["message"]
        ]
    assert found[0] == [f"contourfiles/SC-HF-I-{study}" for study in (1, 2, 4)]
    assert found[1] == []


def test_masks_of_real_studies_are_those_of_pillow(
    runner: CliRunner, real_source: Path, tmp_path: Path
) -> None:
    output = tmp_path / "o.h5"
    words = "-o", output, "--raster-rule", "pillow", "--contour-origin", 0, "--json"
    run(runner, "ingest", real_source, *words)
    drawn = 0
    with h5py.File(output) as file:
        for structure in ("icontour", "ocontour"):
            for row in np.flatnonzero(file[f"samples/has_{structure}"][:]):
                name = file[f"samples/source_{structure}"][row].decode()
                written = np.loadtxt(real_source / name)
                assert (file["masks"][structure][row] == pillow_mask(written, (256, 256))).all()
                drawn += 1
    assert drawn == 84
