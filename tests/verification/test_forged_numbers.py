"""Numbers that no scanner and no reader of contours gives, in a dataset that was sealed again.

``verify`` names them, and every other command refuses the file or draws it, without a warning: the tests turn those
into errors. A share of the commands runs here, all of them with ``make faults``.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from click.testing import CliRunner

from dicom_etl.cli import cli
from dicom_etl.verification.dataset import verify_dataset
from tests.builders import circle
from tests.costs import little_spent
from tests.verification.tampering import set_rings, tamper

WHOLE = bool(os.environ.get("DICOM_ETL_WHOLE_COUNTS"))
COLUMNS = {
    "pixel_spacing_mm": (1e-310, 1e4, 1e30, 1e300, np.inf),
    "position_mm": (1e10, 1e30, -1e300, np.inf, -np.inf),
    "orientation": (2.0, 1e30, 1e300, np.inf, -np.inf),
    "trigger_time_ms": (1e10, -1e300, np.inf),
    "slice_location_mm": (1e10, 1e300, np.inf),
    "field_strength_t": (-1.0, 1e300, np.inf),
    "image_mean": (1e300, np.inf),
    "image_std": (-1.0, 1e300, np.inf),
    "confidence": (-1.0, 2.0, np.inf),
}
VERTICES = (2.0**21, 1e9, 1e15, -1e150, 1e300, 1.7e308, np.inf, -np.inf)
COMMANDS = (
    "preview {file} -o {out}/o.png",
    "report {file} -o {out}/o.html",
    "batches {file} --epochs 1",
    "info {file}",
)


def forged_column(name: str, value: float) -> Callable[[h5py.File], object]:
    def change(file: h5py.File) -> None:
        file[f"samples/{name}"][1:4] = value

    return change


def forged_vertices(value: float) -> Callable[[h5py.File], object]:
    ring = circle(15, 15, 5, 20)
    ring[3] = value

    return lambda file: set_rings(file, "icontour", 1, (ring,), redraw=False)


FORGED = {
    **{
        f"{name} {value:g}": forged_column(name, value)
        for name, values in COLUMNS.items()
        for value in values
    },
    **{f"vertex {value:g}": forged_vertices(value) for value in VERTICES},
}
RUNS = list(itertools.product(FORGED, COMMANDS))


@pytest.mark.parametrize("forged", FORGED)
def test_verify_names_it(dataset: Path, tmp_path: Path, forged: str) -> None:
    found = verify_dataset(tamper(dataset, tmp_path / "f.h5", FORGED[forged])).findings
    assert {"schema", "derived-differs"} & {issue.code for issue in found}
    what = "icontour" if forged.startswith("vertex") else forged.split()[0]
    named = [issue for issue in found if what in issue.message]
    assert named
    assert named[0].sample == 1


@pytest.mark.parametrize(("forged", "command"), RUNS if WHOLE else RUNS[::5])
def test_every_command_refuses_or_works(dataset: Path, tmp_path: Path, forged: str, command: str) -> None:
    file = tamper(dataset, tmp_path / "f.h5", FORGED[forged])
    done = CliRunner().invoke(cli, command.format(file=file, out=tmp_path).split())
    assert done.exit_code in (0, 1, 3), done.output
    assert "fault of dicom-etl" not in done.output
    if done.exit_code == 1:
        assert "verify" in done.output


@pytest.mark.parametrize("kind", ["scribble", "rings"])
def test_a_thicket_of_lines_costs_little(dataset: Path, tmp_path: Path, kind: str) -> None:
    points = np.random.default_rng(0).uniform(0, 31, (100_000, 2))
    rings = (
        (points,) if kind == "scribble" else tuple(circle(x, y, 0.5, 4) for x, y in points[:50_000].tolist())
    )
    file = tamper(
        dataset, tmp_path / "f.h5", lambda file: set_rings(file, "icontour", 1, rings, redraw=False)
    )
    with little_spent("verify"):
        found = verify_dataset(file).findings
    assert [issue.sample for issue in found if "intricate" in issue.message] == [1]
    for command in COMMANDS:
        with little_spent(command):
            done = CliRunner().invoke(cli, command.format(file=file, out=tmp_path).split())
        assert done.exit_code in (0, 1), done.output
        assert "fault of dicom-etl" not in done.output
