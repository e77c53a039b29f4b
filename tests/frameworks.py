"""Frameworks that cannot be loaded together, so that tests of them are skipped with the reason."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

CLASH = "TensorBoard loads TensorFlow, which ends the process beside a CUDA build of torch; use its CPU build"


def clash() -> bool:
    """Tell whether Lightning and MONAI, which load TensorBoard, would end the process."""
    try:
        cpu_only = version("torch").endswith("+cpu") or find_spec("nvidia") is None
    except PackageNotFoundError:
        return False
    return not cpu_only and find_spec("tensorflow") is not None
