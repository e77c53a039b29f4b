"""A builder of cvi42 workspaces."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

_HEAD = (
    '<?xml version="1.0" encoding="UTF-8"?>\n<Workspace:Workspace xmlns:Workspace="http://w/" xmlns:Hash="http://h/" '
    'xmlns:List="http://l/" xmlns:Point="http://p/">\n<Hash:item Hash:key="StudyMapStates"><List:item>\n'
    '<Hash:item Hash:key="StudyUid">1.2.3</Hash:item>\n<Hash:item Hash:key="ImageStates">\n'
)
_TAIL = "</Hash:item>\n</List:item></Hash:item>\n</Workspace:Workspace>\n"
Contours = Mapping[str, Iterable[Sequence[float]]]


def contour(kind: str, points: Iterable[Sequence[float]], steps: str = "4", more: str = "") -> str:
    """Return the element of one contour; points are those of the file."""
    items = "".join(
        f"<List:item><Point:x>{x:g}</Point:x><Point:y>{y:g}</Point:y></List:item>\n" for x, y in points
    )
    scale = f'<Hash:item Hash:key="SubpixelResolution">{steps}</Hash:item>' if steps else ""
    return f'<Hash:item Hash:key="{kind}"><Hash:item Hash:key="Points">{items}</Hash:item>{scale}{more}</Hash:item>\n'


def workspace(path: Path, images: Iterable[tuple[str, str]], head: str = _HEAD) -> Path:
    """Write a workspace of (UID, its contours as `contour` gives them)."""
    states = (
        f'<Hash:item Hash:key="{uid}"><Hash:item Hash:key="Brightness">0.5</Hash:item>'
        f'<Hash:item Hash:key="Contours">{contours}</Hash:item></Hash:item>\n'
        for uid, contours in images
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(head + "".join(states) + _TAIL, encoding="utf-8")
    return path
