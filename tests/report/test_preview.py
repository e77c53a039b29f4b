"""preview as a person and a program use it."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from dicom_etl.cli import cli
from dicom_etl.report.overlays import INKS
from dicom_etl.report.preview import TILE, Tile, montage

ROOT = Path(__file__).parents[2]


def run(runner: CliRunner, *words: object) -> Result:
    return runner.invoke(cli, [str(word) for word in words])


def picture(path: Path) -> np.ndarray:
    with Image.open(path) as opened:
        assert opened.format == "PNG"
        return np.asarray(opened.convert("RGB")).astype(int)


def has_colour(pixels: np.ndarray, rgb: tuple[int, int, int]) -> bool:
    return bool((np.abs(pixels - np.array(rgb)).max(axis=2) < 12).any())


def test_a_montage_is_drawn_by_lot_and_the_same_again(
    runner: CliRunner, faulty: Path, tmp_path: Path
) -> None:
    one, two, other = (tmp_path / name for name in ("1.png", "2.png", "3.png"))
    result = run(runner, "preview", faulty, "-o", one, "-n", 4)
    assert result.exit_code == 0, result.output
    assert "drew 4 of 18 samples" in result.stdout
    assert "-n 18 draws all" in result.stdout
    run(runner, "preview", faulty, "-o", two, "-n", 4)
    run(runner, "preview", faulty, "-o", other, "-n", 4, "--seed", 1)
    assert one.read_bytes() == two.read_bytes() != other.read_bytes()
    pixels = picture(one)
    assert pixels.shape[1] // TILE == 2
    assert has_colour(pixels, INKS[0])


def test_samples_patients_and_flags_choose(runner: CliRunner, faulty: Path, tmp_path: Path) -> None:
    def chosen(*words: object) -> list[int]:
        result = run(runner, "preview", faulty, "-o", tmp_path / "p.png", "--overwrite", "--json", *words)
        assert result.exit_code == 0, result.output
        rows: list[int] = json.loads(result.stdout)["samples"]
        return rows

    assert chosen("--sample", 17, "--sample", 3) == [3, 17]
    assert chosen("--patient", "SYN00003") == [12, 13, 14, 15, 16, 17]
    assert chosen("--flagged") == [9]
    assert len(chosen()) == 16


def test_whole_images_are_smaller_on_the_picture(runner: CliRunner, faulty: Path, tmp_path: Path) -> None:
    for name, words in (("close.png", ()), ("whole.png", ("--whole",))):
        assert run(runner, "preview", faulty, "-o", tmp_path / name, "--sample", 0, *words).exit_code == 0

    def width(name: str) -> int:
        blue = np.abs(picture(tmp_path / name)[60:] - np.array(INKS[0])).max(axis=2) < 12
        columns = np.flatnonzero(blue.any(axis=0))
        return int(columns[-1] - columns[0])

    assert width("close.png") > 1.1 * width("whole.png")


def test_one_file_a_sample(runner: CliRunner, faulty: Path, tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    result = run(runner, "preview", faulty, "-o", folder, "--all", "--patient", "SYN00002")
    assert result.exit_code == 0, result.output
    names = sorted(path.name for path in folder.iterdir())
    assert len(names) == 6
    assert names[0] == "SYN00002-slice_0-ED___phase_3-sample_7.png"
    assert all(picture(folder / name).shape[1] >= 768 for name in names)
    again = run(runner, "preview", faulty, "-o", folder, "--all", "--patient", "SYN00002")
    assert again.exit_code == 1
    assert "--overwrite" in again.stderr
    assert run(runner, "preview", faulty, "-o", folder, "--all", "--overwrite", "-q").exit_code == 0
    assert len(list(folder.iterdir())) == 18


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("--sample", "99"), 2, "there is no sample 99"),
        (("--patient", "SYN0001"), 2, "did you mean SYN00001"),
        (("--seed", "-1"), 2, "--seed"),
        (("-n", "0"), 2, "--count"),
        ((), 1, "exists; --overwrite"),
    ],
)
def test_a_bad_run_says_why_and_writes_nothing(
    runner: CliRunner, faulty: Path, tmp_path: Path, words: tuple[str, ...], code: int, said: str
) -> None:
    output = tmp_path / "p.png"
    if not words:
        output.write_bytes(b"old")
    result = run(runner, "preview", faulty, "-o", output, *words)
    assert result.exit_code == code
    assert said in result.stderr
    assert not output.exists() or output.read_bytes() == b"old"


def test_a_file_that_is_no_dataset_is_refused(runner: CliRunner, tmp_path: Path) -> None:
    (tmp_path / "x.h5").write_bytes(b"no")
    result = run(runner, "preview", tmp_path / "x.h5", "-o", tmp_path / "p.png")
    assert result.exit_code == 1
    assert "not an HDF5 file" in result.stderr


def test_captions_and_legend_are_wrapped_and_never_cut() -> None:
    tile = Tile(
        Image.new("RGB", (100, 100)), "patient " * 20, "slice " * 20, "a-very-long-code" * 9, (True, True)
    )
    few = montage([replace(tile, text="slice", alarm="")], ("inner", "outer"), INKS[:2], "title")
    page = montage([tile], ("structure" * 9, "outer"), INKS[:2], "title")
    assert page.width == few.width == 128
    assert page.height > few.height + 9 * 15
    for ink in INKS[:2]:
        assert has_colour(np.asarray(page).astype(int), ink)


def test_the_legend_lists_what_is_drawn_and_explains_dashes() -> None:
    def legend(imputed: bool, *drawn: bool) -> np.ndarray:
        tile = Tile(Image.new("RGB", (600, 100)), "p", "slice", "", drawn, imputed)
        return np.asarray(montage([tile], ("inner", "outer"), INKS[:2], "title")).astype(int)[:44]

    only = legend(False, True, False)
    assert has_colour(only, INKS[0])
    assert not has_colour(only, INKS[1])
    assert (legend(True, True, False) != only).any()


@pytest.mark.parametrize("package", ["PIL", "jinja2"])
def test_a_missing_package_is_named_with_the_extra_that_brings_it(
    faulty: Path, tmp_path: Path, package: str
) -> None:
    code = f"import sys; sys.modules[{package!r}] = None; from dicom_etl.cli import main; main()"
    for command in ("preview", "report"):
        words = [command, str(faulty), "-o", str(tmp_path / "out")]
        done = subprocess.run(
            [sys.executable, "-c", code, *words], capture_output=True, text=True, check=False, cwd=ROOT
        )
        assert done.returncode == 1
        assert done.stderr == (
            'dicom-etl: drawing a dataset needs an optional package: pip install "dicom-etl[report]"\n'
        )
    assert not (tmp_path / "out").exists()
