"""One colour per structure, told apart by people with any colour vision.

The hues are those of Okabe and Ito, "Color Universal Design" (2008). On a picture they stand on grey
tissue; as ink they stand on the page, which is white or nearly black, and are darkened or lightened there until
they have a contrast of at least 3 to 1 (WCAG 2.2, criterion 1.4.11).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Ink:
    """The colour of one structure, as ``#rrggbb``.

    Attributes
    ----------
    name : str
        The hue, in words.
    picture : str
        On an image.
    light, dark : str
        On a light and on a dark page.
    """

    name: str
    picture: str
    light: str
    dark: str

    @property
    def rgb(self) -> tuple[int, int, int]:
        """Red, green and blue on an image, 0 to 255."""
        return rgb(self.picture)


INKS = (
    Ink("sky blue", "#56b4e9", "#0072b2", "#56b4e9"),
    Ink("orange", "#e69f00", "#b35c00", "#e69f00"),
    Ink("green", "#1fc99a", "#007a5a", "#1fc99a"),
    Ink("purple", "#e08fc0", "#a3497f", "#e08fc0"),
    Ink("yellow", "#f0e442", "#7d7400", "#f0e442"),
    Ink("vermilion", "#ff7a33", "#c04a00", "#ff7a33"),
)
_KNOWN = {"icontour": 0, "ocontour": 1, "p1contour": 2, "p2contour": 3, "p3contour": 4}


def ink_numbers(structures: Sequence[str]) -> tuple[int, ...]:
    """Return the index into `INKS` for each structure.

    The structures of the LV always have the same colour, whatever else a dataset holds; others take those that are
    left, and the colours repeat when there are more structures than inks.
    """
    taken = {_KNOWN[name] for name in structures if name in _KNOWN}
    free = [number for number in range(len(INKS)) if number not in taken] or list(range(len(INKS)))
    others = (name for name in structures if name not in _KNOWN)
    given = {name: free[place % len(free)] for place, name in enumerate(others)}
    return tuple(_KNOWN.get(name, given.get(name, 0)) for name in structures)


def inks(structures: Sequence[str]) -> tuple[Ink, ...]:
    """Return the ink of each structure."""
    return tuple(INKS[number] for number in ink_numbers(structures))


def rgb(colour: str) -> tuple[int, int, int]:
    """Return red, green and blue, 0 to 255, of ``#rrggbb``."""
    red, green, blue = bytes.fromhex(colour.removeprefix("#"))
    return red, green, blue
