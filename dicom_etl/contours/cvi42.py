"""Workspaces of cvi42 (``.cvi42wsx``): XML with points by image (SOPInstanceUID) and kind of contour.

Points count ``SubpixelResolution`` steps a pixel. What the centre of the first pixel is called is documented nowhere,
and public readers disagree (0, 0.5, 1): here 0, unless ``--contour-origin`` says otherwise.
"""

from __future__ import annotations

import re
from array import array
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from dicom_etl.config import LabelOptions
from dicom_etl.contours.parsed import LabelFile, Listed, ManyLabels, Notes, parsed_once, table_bytes
from dicom_etl.contours.rings import are_nested, joined, ring_of, too_many, without_repeated
from dicom_etl.errors import ContourError
from dicom_etl.records import ImageHeader, Instance, Rings

if TYPE_CHECKING:
    from xml.parsers.expat import XMLParserType

ORIGIN = 0.0
"""What these files call the centre of the first pixel, as far as anybody knows."""
_RING_NUMBER = re.compile(r"[0-9]{4}\Z")
_KNOWN = re.compile(
    r"(?:sa|la)(?:rv)?(?:endo|epi)cardial(?:Open)?Contour|sapapilMuscContour|sa?ReferenceMyoContour|la(?:la|ra)Contour"
    r"|(?:excludeEnhancementArea|noReflowArea|freeDrawRoi)(?:Contour)?|lax\w{0,20}ExtentPoints"
)
"""Kinds that may be named; another one is free text to us."""
_NUMBER = re.compile(r"[+-]?[0-9]{1,9}(?:\.[0-9]{0,9})?", re.ASCII)
_DEEPEST = 64
_MOST_ELEMENTS = 4_000_000
"""2,000 labels of 250 points have 1.5 million; more take longer than one file may."""
_LONGEST = 32
_FARTHEST = 1e6
_CHUNK = 1 << 16


@dataclass(slots=True)
class _Ring:
    """One outline as it stands: its points, and the steps a pixel, 0 where the file does not say."""

    points: array[float] = field(default_factory=lambda: array("d"))
    steps: float = 0.0
    problem: str = ""


class Cvi42Workspace(ManyLabels[list[_Ring]]):
    """`ContourReader` for cvi42; a label is what one image has of one kind of contour."""

    name = "cvi42"
    accepts = frozenset({".cvi42wsx", ".cvi42ws"})

    @parsed_once
    def labels(self, path: str, options: LabelOptions) -> LabelFile[list[_Ring]]:
        """Read a workspace."""
        from xml.parsers import expat

        if path.casefold().endswith(".cvi42ws"):
            raise ContourError(
                "a binary workspace, which is not read; export as .cvi42wsx", code="unknown-format"
            )
        data = table_bytes(path, options)
        parser = expat.ParserCreate()
        workspace = _Workspace(parser)
        try:
            for start in range(0, len(data), _CHUNK):
                parser.Parse(data[start : start + _CHUNK], False)
            parser.Parse(b"", True)
        except expat.ExpatError as error:
            raise ContourError(f"line {error.lineno}: it is no well-formed XML") from None
        except (LookupError, ValueError):
            raise ContourError(f"line {parser.CurrentLineNumber}: its text cannot be decoded") from None
        return LabelFile(workspace.labels)

    def rings(self, drawn: list[_Ring], image: ImageHeader, notes: Notes, options: LabelOptions) -> Rings:
        """Bring the points of a label into the pixel frame."""
        origin = self.origin(drawn, options)
        rings = without_repeated(_in_pixels(ring, origin, options) for ring in drawn)
        if not are_nested(rings):
            return rings
        # Each numbered contour is an outline of its own, never a hole in another.
        notes.append(("self-intersection", f"its {len(rings)} contours overlap; they are joined"))
        return joined(rings)

    def origin(self, drawn: list[_Ring], options: LabelOptions) -> float:
        """Return what the first pixel is called."""
        return ORIGIN if options.contour_origin is None else float(options.contour_origin)


def _in_pixels(ring: _Ring, origin: float, options: LabelOptions) -> np.ndarray:
    if ring.problem:
        raise ContourError(ring.problem)
    if not ring.steps:
        raise ContourError("it has no SubpixelResolution, and a scale must not be guessed")
    points = np.array(ring.points).reshape(-1, 2)
    if not len(points):
        raise ContourError("it has no points")
    if len(points) > options.max_contour_points:
        raise ContourError(too_many(options.max_contour_points))
    if not np.abs(points).max() <= _FARTHEST:
        raise ContourError(f"a coordinate is beyond {_FARTHEST:.0f}")
    return ring_of(points / ring.steps - origin)


class _Workspace:
    """Collects contours while the file streams by; nothing else of it is kept.

    Elements tell where they are by the keys around them: ImageStates > UID > Contours > kind > Points > item > x, y.
    """

    def __init__(self, parser: XMLParserType) -> None:
        self.labels: dict[str, Listed[list[_Ring]]] = {}
        self._parser = parser
        self._keys: list[str] = []
        self._elements = 0
        self._images = 0
        self._others: dict[str, int] = {}
        self._ring: _Ring | None = None
        self._text: str | None = None
        self._x = ""
        parser.buffer_text = True
        parser.StartDoctypeDeclHandler = self._refuse
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._characters

    def _refuse(self, *_: object) -> None:
        raise ContourError("it has a document type (DOCTYPE), which no workspace has and which is not read")

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        self._elements += 1
        if self._elements > _MOST_ELEMENTS or len(self._keys) >= _DEEPEST:
            raise ContourError(
                f"more than {_MOST_ELEMENTS} elements, or {_DEEPEST} inside each other, which no workspace has"
            )
        local = tag.rpartition(":")[2]
        key = next((text for name, text in attributes.items() if name.rpartition(":")[2] == "key"), "")
        self._keys.append(key or local)
        keys = self._keys
        if self._ring is not None:
            if local in ("x", "y") or key == "SubpixelResolution":
                self._text = ""
        elif len(keys) >= 4 and keys[-2] == "Contours" and keys[-4] == "ImageStates" and key:
            self._ring = _Ring()
            self._rings(keys[-3], key).append(self._ring)
        elif len(keys) >= 2 and keys[-2] == "ImageStates":
            self._images += 1
            self._others.clear()

    def _rings(self, uid: str, key: str) -> list[_Ring]:
        """Return the rings of a kind on the image that is read; numbered keys of one kind are rings of one label."""
        word = kind = _RING_NUMBER.sub("", key)
        if not _KNOWN.fullmatch(kind):
            word = f"contour {self._others.setdefault(kind, len(self._others) + 1)}"
        label = Listed[list[_Ring]](kind, Instance(uid), [])
        return self.labels.setdefault(f"image {self._images} / {word}", label).drawn

    def _end(self, tag: str) -> None:
        key = self._keys.pop()
        if self._ring is None:
            return
        if self._text is not None:
            self._take(key, self._text.strip())
            self._text = None
        elif len(self._keys) >= 3 and self._keys[-1] == "Contours" and self._keys[-3] == "ImageStates":
            self._ring = None

    def _take(self, key: str, text: str) -> None:
        ring = self._ring
        assert ring is not None
        problem = ""
        if not _NUMBER.fullmatch(text):
            problem = "a value is no plain number"
        elif key == "SubpixelResolution":
            ring.steps = float(text)
            if not 0 < ring.steps <= _FARTHEST:
                problem = "SubpixelResolution is no scale"
        elif len(self._keys) >= 2 and self._keys[-2] == "Points":
            if key == "x":
                self._x = text
            elif self._x:
                ring.points.extend((float(self._x), float(text)))
                self._x = ""
            else:
                problem = "a point has no x"
        if problem and not ring.problem:
            ring.problem = f"line {self._parser.CurrentLineNumber}: {problem}"

    def _characters(self, text: str) -> None:
        if self._text is not None:
            self._text += text if len(self._text) + len(text) <= _LONGEST else "?"
