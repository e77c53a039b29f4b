from __future__ import annotations

from pathlib import Path

import pytest

from tests.batches.datasets import Content, content, write_dataset


@pytest.fixture(scope="session")
def made() -> Content:
    """Return 40 samples of two structures and five patients."""
    return content()


@pytest.fixture(scope="session")
def plain(made: Content, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return `made` as an uncompressed dataset that tests only read."""
    return write_dataset(tmp_path_factory.mktemp("batches") / "plain.h5", made)
