"""The faults that are planted in the sample data: each kind once, each where a careless reader would trip."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from phantom.names import contour_path, image_path
from phantom.study import Study
from phantom.trace import trace, write_contour

MISSING_STUDY = ("SYN09999", "SYN-Z-99")
SHIFT = (3.0, -2.5)
"""Pixels by which one contour is off."""


@dataclass(frozen=True)
class Planted:
    """One planted fault, or (without a code) an oddity that must be accepted."""

    code: str
    path: str
    what: str
    structure: str = ""
    image: str = ""
    """Path of the image that is no sample because of it."""
    extra: bool = False
    """Whether the file is one more than the set would have without the fault."""

    def finding(self) -> dict[str, str]:
        """Return the part that ``expected.json`` holds."""
        return {"code": self.code, "path": self.path, "what": self.what}


def plant(root: Path, studies: Sequence[Study]) -> list[Planted]:
    """Plant the faults in a set on disk. The link table is left to `link_rows_with_faults`.

    - an orphan: a contour of an image one past the last, so that the stack itself is complete;
    - a truncated image, cut in its pixels so that the header still reads, with a contour on it;
    - a contour with a letter O in a number;
    - a contour with a byte order mark and CRLF line ends, which is no fault;
    - a row of the link table whose folders do not exist;
    - a contour that was shifted;
    - two contours of one slice location, at end-diastole and end-systole, that were exchanged.

    Raises
    ------
    ValueError
        With fewer than three studies, since each of the first three gets faults of its own, or where they
        have less than two drawn locations or four phases.
    """
    if len(studies) < 3:
        raise ValueError(f"the faults need 3 studies, not {len(studies)}: raise --studies")
    if any(len(study.drawn_locations) < 2 or study.phases < 4 for study in studies[:3]):
        raise ValueError("the faults need studies of 2 drawn locations and 4 phases or more")
    first, second, third = studies[:3]
    return [
        _orphan(root, first),
        _truncated(root, second),
        _bad_line(root, third),
        Planted("link-missing", "link.csv", f"row `{','.join(MISSING_STUDY)}`: neither folder exists"),
        _shifted(root, second),
        _exchanged(root, third),
        _windows_file(root, first),
    ]


def link_rows_with_faults(rows: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return the rows of the link table with the missing study, and the first id without its zero padding."""
    patient_id, original_id = rows[0]
    stem, _, number = original_id.rpartition("-")
    return [(patient_id, f"{stem}-{int(number)}"), *rows[1:], MISSING_STUDY]


def _orphan(root: Path, study: Study) -> Planted:
    location = study.drawn_locations[-1]
    path = contour_path(study, "icontour", study.locations * study.phases + 1)
    # Drawn at a phase that has no contour of its own, so that it repeats no other.
    write_contour(root / path, trace(study.ring("icontour", location, study.es + 1)))
    return Planted("orphan-contour", path, "its image is missing", "icontour", extra=True)


def _truncated(root: Path, study: Study) -> Planted:
    path = image_path(study, study.drawn_locations[0], study.es)
    data = (root / path).read_bytes()
    (root / path).write_bytes(data[: len(data) * 6 // 10])
    return Planted("unreadable-image", path, "truncated; it has an `icontour`", image=path)


def _bad_line(root: Path, study: Study) -> Planted:
    location = study.drawn_locations[0]
    path = contour_path(study, "icontour", study.number(location, study.es))
    lines = (root / path).read_bytes().split(b"\n")
    lines[6] = lines[6][:-2] + b"O" + lines[6][-1:]
    (root / path).write_bytes(b"\n".join(lines))
    image = image_path(study, location, study.es)
    return Planted("unreadable-contour", path, "line 7 has a letter O for a zero", "icontour", image)


def _shifted(root: Path, study: Study) -> Planted:
    """Shift a contour by more than its observer could be wrong, and less than anybody would see in a list of files."""
    location = study.drawn_locations[len(study.drawn_locations) // 2]
    path = contour_path(study, "icontour", study.number(location, study.ed))
    write_contour(root / path, trace(study.ring("icontour", location, study.ed)) + SHIFT)
    what = f"shifted by {SHIFT[0]} px in x and {SHIFT[1]} px in y; it stays in the dataset, flagged"
    return Planted("misaligned", path, what)


def _exchanged(root: Path, study: Study) -> Planted:
    location = study.drawn_locations[len(study.drawn_locations) // 2]
    one, other = (contour_path(study, "icontour", study.number(location, p)) for p in (study.ed, study.es))
    first, second = (root / one).read_bytes(), (root / other).read_bytes()
    (root / one).write_bytes(second)
    (root / other).write_bytes(first)
    return Planted(
        "misaligned", one, f"exchanged with `{Path(other).name}`; both stay in the dataset, flagged"
    )


def _windows_file(root: Path, study: Study) -> Planted:
    location = study.drawn_locations[1]
    path = contour_path(study, "icontour", study.number(location, study.ed))
    text = (root / path).read_bytes().replace(b"\n", b"\r\n")
    (root / path).write_bytes(b"\xef\xbb\xbf" + text)
    return Planted("", path, "byte order mark and CRLF line ends", "icontour")
