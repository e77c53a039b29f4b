"""Folder layouts, in the order in which they are tried; what a SOURCE has is recognised unless it is named."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

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


def locate(
    source: Path | None,
    *,
    dicoms: Path | None = None,
    contours: Path | None = None,
    links: Path | None = None,
    layout: str = "",
    link_columns: Sequence[str] = (),
    patient_from_header: bool = False,
) -> SourceRoots:
    """Find the parts of a SOURCE, and how it is arranged; a ``layout`` of "" is recognised.

    ``source`` is None where its parts are named one by one. What the other keywords mean, `SourceRoots` says.
    """
    named = dicoms is not None or contours is not None or links is not None
    if source is not None and not source.is_dir():
        raise SourceError(f"SOURCE is not a folder: it {state(source)}")
    if source is None or named or layout == LinkedFolders.name:
        found: Layout = LAYOUTS[0]
    elif layout:
        found = next(each for each in LAYOUTS if each.name == layout)
    elif patient_from_header:
        found = LAYOUTS[-1]
    else:
        found = next(each for each in LAYOUTS if each.recognises(source))
    return found.locate(
        source,
        dicoms=dicoms,
        contours=contours,
        links=links,
        link_columns=tuple(link_columns),
        patient_from_header=patient_from_header,
    )
