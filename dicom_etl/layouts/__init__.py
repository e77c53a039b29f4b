"""Folder layouts; the first one is what SOURCE has unless another is named."""

from __future__ import annotations

from dicom_etl.layouts.base import Layout, SourceRoots
from dicom_etl.layouts.linked_folders import LinkedFolders

LAYOUTS: tuple[Layout, ...] = (LinkedFolders(),)

__all__ = ["LAYOUTS", "Layout", "SourceRoots"]
