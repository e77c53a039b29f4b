from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dicom_etl import pipeline
from dicom_etl.config import IngestConfig
from dicom_etl.report.charts import MARGIN, count_intensities
from dicom_etl.report.contents import Contents
from tests.builders import make_source


def middle(edges: np.ndarray, shares: np.ndarray) -> float:
    return float(np.average((edges[1:] + edges[:-1]) / 2, weights=shares))


def test_blood_is_bright_and_the_wall_is_dark(dataset: Path) -> None:
    with Contents(dataset) as contents:
        found = count_intensities(contents, range(len(contents)))
    assert found is not None
    assert found.samples == 12
    inner, outer = found.inside
    assert middle(found.edges, inner) > 350
    assert middle(found.edges, outer) < 120, "pixels of the cavity count for the cavity"
    for shares in (*found.inside, found.outside):
        assert len(shares) == len(found.edges) - 1
        assert 0.9 < shares.sum() <= 1 + 1e-9


def test_it_counts_what_is_near_and_every_pixel_once(dataset: Path) -> None:
    with Contents(dataset) as contents:
        found = count_intensities(contents, [1])
        image, masks = contents.reader.image(1), contents.reader.masks(1)
        x, y = contents.rings(1, 1)[0].T
    assert found is not None
    rows, columns = np.indices(image.shape)
    near = (columns >= int(x.min()) - MARGIN) & (columns <= np.ceil(x.max()) + MARGIN)
    near &= (rows >= int(y.min()) - MARGIN) & (rows <= np.ceil(y.max()) + MARGIN)
    wanted = image[near & (masks[0] == 0) & (masks[1] == 0)]
    inside = (wanted >= found.edges[0]) & (wanted < found.edges[-1])
    assert found.outside.sum() == pytest.approx(inside.mean())
    assert np.histogram(wanted, found.edges)[0] / len(wanted) == pytest.approx(found.outside)


def test_whole_numbers_make_no_comb(tmp_path: Path) -> None:
    """Every bin of a flat distribution of integers holds as many of them as the next."""
    source = make_source(tmp_path / "source", studies=1, shape=(128, 128))
    pipeline.ingest(pipeline.locate(source.root), tmp_path / "d.h5")
    with Contents(tmp_path / "d.h5") as contents:
        found = count_intensities(contents, range(len(contents)))
    assert found is not None
    steps = np.diff(found.edges)
    assert steps == pytest.approx(steps[0])
    assert steps[0] == round(steps[0])


def test_without_outlines_there_is_nothing_to_count(tmp_path: Path) -> None:
    source = make_source(tmp_path / "source", studies=1, structures=())
    (source.root / "contourfiles" / source.original_id(0)).mkdir(parents=True)
    pipeline.ingest(pipeline.locate(source.root), tmp_path / "d.h5", IngestConfig(unlabeled=True))
    with Contents(tmp_path / "d.h5") as contents:
        assert count_intensities(contents, range(len(contents))) is None
