"""Folder layouts, in the order in which they are tried; what a SOURCE has is recognised unless it is named."""

from __future__ import annotations

from pathlib import Path

from dicom_etl.config import SourceOptions
from dicom_etl.errors import SourceError
from dicom_etl.layouts.base import Layout, SourceRoots
from dicom_etl.layouts.linked_folders import LinkedFolders
from dicom_etl.layouts.rvsc import Rvsc
from dicom_etl.layouts.sunnybrook import SunnybrookAtlas, SunnybrookChallenge
from dicom_etl.layouts.tree import Tree
from dicom_etl.layouts.walk import state

LAYOUTS: tuple[Layout, ...] = (LinkedFolders(), SunnybrookAtlas(), SunnybrookChallenge(), Rvsc(), Tree())

__all__ = ["LAYOUTS", "Layout", "SourceRoots", "layout_of", "locate"]


def layout_of(roots: SourceRoots) -> Layout:
    """Return the layout of a SOURCE that was found."""
    return next(layout for layout in LAYOUTS if layout.name == roots.layout)


def locate(source: Path | None, options: SourceOptions | None = None) -> SourceRoots:
    """Find the parts of a SOURCE, and how it is arranged; it is None where its parts are named one by one."""
    options = options or SourceOptions()
    layout = options.layout
    named = (options.dicoms, options.contours, options.links) != (None, None, None)
    if source is not None and not source.is_dir():
        raise SourceError(f"SOURCE is not a folder: it {state(source)}")
    if source is None or named or layout == LinkedFolders.name:
        found: Layout = LAYOUTS[0]
    elif layout:
        found = next(each for each in LAYOUTS if each.name == layout)
    elif options.patient_from == "header":
        found = LAYOUTS[-1]
    else:
        found = next(each for each in LAYOUTS if each.recognises(source))
    return found.locate(source, options)
