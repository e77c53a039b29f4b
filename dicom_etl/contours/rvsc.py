"""The text contours of the Right Ventricle Segmentation Challenge: ``P09-0080-icontour-manual.txt``.

They are written as those of Sunnybrook, but outline the right ventricle, and their number is that in the name of the
image file, which counts from 0. Every public reader takes the coordinates as counted from 0; nothing that is public
proves it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from dicom_etl.config import LabelOptions
from dicom_etl.contours.sunnybrook import SunnybrookText
from dicom_etl.records import ContourRef, Found, ImageHeader, Outlines, SliceNumber

_NAME = re.compile(r"p[0-9]{1,4}-([0-9]{1,6})-([io])contour-(?:manual|auto)\.txt")
ORIGIN = 0


class RvscText(SunnybrookText):
    """`ContourReader` for the text files of the right ventricle challenge."""

    name = "rvsc"
    accepts = frozenset({".txt"})

    def find(self, path: str, options: LabelOptions) -> Found | None:
        """Read structure and number off the name. Opens nothing."""
        found = _NAME.fullmatch(path.rpartition("/")[2].casefold())
        if not found:
            return None
        number, side = found.groups()
        return Found((ContourRef(path, "", self.name, f"rv_{side}contour", SliceNumber(-1, int(number))),))

    def read(
        self, path: str, refs: Sequence[ContourRef], image: ImageHeader, options: LabelOptions
    ) -> Outlines:
        """Read the one ring of the file."""
        given = options.contour_origin
        return super().read(
            path, refs, image, replace(options, contour_origin=ORIGIN if given is None else given)
        )
