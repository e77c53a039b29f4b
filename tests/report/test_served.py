"""preview --batch draws what a reader serves."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from dicom_etl.batches.reader import BatchReader
from dicom_etl.batches.transforms import CropAround
from dicom_etl.cli import cli
from dicom_etl.report.overlays import INKS
from dicom_etl.report.preview import TILE, write_batch


def test_the_picture_is_the_batch_after_its_transforms(dataset: Path, tmp_path: Path) -> None:
    reader = BatchReader(dataset, 1, shuffle=False, transforms=[CropAround(size=(24, 12))])
    made = write_batch(reader, tmp_path / "b.png")
    batch = next(reader.epoch(0))
    assert made.rows == tuple(batch.indices.tolist()) == (0,)
    assert batch.masks.shape == (1, 24, 12)
    with Image.open(tmp_path / "b.png") as opened:
        pixels = np.asarray(opened).astype(int)
    top = int(np.flatnonzero((pixels[:, 14] == 0).all(axis=1))[0])  # pure black is in pictures only
    tile = pixels[top : top + TILE, 14 : 14 + TILE]
    assert not tile[:, : TILE // 4].any(), "a high picture has black on both sides"
    assert not tile[:, -TILE // 4 :].any()
    blue = np.abs(tile - np.array(INKS[0])).max(axis=2) < 20
    rows = np.flatnonzero(blue.any(axis=1))
    inside = np.flatnonzero(batch.masks[0].any(axis=1))
    scale = TILE / 24
    assert rows[0] == pytest.approx(inside[0] * scale, abs=1.5)
    assert rows[-1] == pytest.approx((inside[-1] + 1) * scale, abs=1.5)


def test_as_a_command(runner: CliRunner, faulty: Path, tmp_path: Path) -> None:
    def served(*words: str) -> tuple[list[int], bytes]:
        output = tmp_path / "b.png"
        always = ["preview", str(faulty), "-o", str(output), "--overwrite", "--json", "--batch", "-n", "4"]
        result = runner.invoke(cli, [*always, *words])
        assert result.exit_code == 0, result.output
        rows: list[int] = json.loads(result.stdout)["samples"]
        return rows, output.read_bytes()

    rows, picture = served()
    assert rows == next(BatchReader(faulty, 4).epoch(0)).indices.tolist()
    assert served() == (rows, picture)
    flipped = served("--transform", "RandomFlip(probability=1)")
    assert flipped[0] == rows
    assert flipped[1] != picture
    assert served("--epoch", "1")[0] == next(BatchReader(faulty, 4).epoch(1)).indices.tolist()
    assert served("--seed", "5")[0] == next(BatchReader(faulty, 4, seed=5).epoch(0)).indices.tolist()
    patches = served("--transform", "RandomPatches(size=(16,16), count=2)")[0]
    assert patches == [row for row in rows for _ in range(2)]
    both = served("--structures", "icontour, ocontour", "--patient", "SYN00002")[0]
    assert set(both) == {7, 9, 11}
    wall = ("--structures", "myocardium,icontour")
    assert served(*wall)[0] == served(*wall, "--label-map")[0]
    assert served(*wall)[1] == served(*wall, "--label-map")[1], "muscle and cavity do not overlap"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--batch", "--flagged"), "do not go with it"),
        (("--batch", "--sample", "1"), "do not go with it"),
        (("--transform", "RandomFlip"), "add --batch"),
        (("--epoch", "1"), "add --batch"),
        (("--label-map",), "add --batch"),
        (("--batch", "--transform", "Flip"), "no transform"),
        (("--batch", "--structures", "aorta"), "no aorta"),
        (("--batch", "--patient", "nobody"), "no patient"),
    ],
)
def test_options_that_do_not_fit_are_a_usage_error(
    runner: CliRunner, faulty: Path, tmp_path: Path, words: tuple[str, ...], said: str
) -> None:
    result = runner.invoke(cli, ["preview", str(faulty), "-o", str(tmp_path / "b.png"), *words])
    assert result.exit_code == 2
    assert said in result.stderr
    assert not (tmp_path / "b.png").exists()
