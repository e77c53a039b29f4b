"""One colour per structure, told apart by people with any colour vision.

The hues are those of Okabe and Ito, "Color Universal Design" (2008). On a picture they stand on grey
tissue; as ink they stand on the page, which is white or nearly black, and are darkened or lightened there until
they have a contrast of at least 3 to 1 (WCAG 2.2, criterion 1.4.11).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

RGB: TypeAlias = tuple[int, int, int]
"""Red, green and blue, 0 to 255."""
INKS: tuple[RGB, ...] = (
    (0x56, 0xB4, 0xE9),  # sky blue
    (0xE6, 0x9F, 0x00),  # orange
    (0x1F, 0xC9, 0x9A),  # green
    (0xE0, 0x8F, 0xC0),  # purple
    (0xF0, 0xE4, 0x42),  # yellow
    (0xFF, 0x7A, 0x33),  # vermilion
)
"""On an image; ``report.css`` has those of the page too."""
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


def inks(structures: Sequence[str]) -> tuple[RGB, ...]:
    """Return the ink of each structure."""
    return tuple(INKS[number] for number in ink_numbers(structures))
