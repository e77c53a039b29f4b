"""The verdict on every kind of contour file: accepted as this outline, or refused with this code and reason."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dicom_etl.config import IngestConfig, LabelOptions
from dicom_etl.contours.sunnybrook import SunnybrookText
from dicom_etl.errors import ContourError
from dicom_etl.geometry.polygons import farthest_outside_image, first_self_intersection, measure, polygon_area
from dicom_etl.records import Rings
from tests.builders import write_anew
from tests.contours.reading import read_label
from tests.costs import little_spent

SHAPE = (64, 48)
SQUARE = b"11 11\n31 11\n31 31\n11 31\n"
AREA = 400.0
NAME = "IM-0001-0007-icontour-manual.txt"


def verdict(folder: Path, data: bytes, **config: Any) -> Rings:
    write_anew(folder / NAME, data)
    return read_label(folder, NAME, SHAPE, IngestConfig(**config))


def square(x0: float, y0: float, x1: float, y1: float) -> bytes:
    return f"{x0} {y0}\n{x1} {y0}\n{x1} {y1}\n{x0} {y1}\n".encode()


def points(rows: list[tuple[float, float]]) -> bytes:
    return "".join(f"{float(x)!r} {float(y)!r}\n" for x, y in rows).encode()


def circle(count: int, radius: float = 10.0) -> list[tuple[float, float]]:
    angles = np.linspace(0, 2 * np.pi, count, endpoint=False)
    return list(
        zip((24 + radius * np.cos(angles)).tolist(), (24 + radius * np.sin(angles)).tolist(), strict=True)
    )


ACCEPTED: dict[str, tuple[bytes, float]] = {
    "plain": (SQUARE, AREA),
    "crlf": (SQUARE.replace(b"\n", b"\r\n"), AREA),
    "mixed line ends": (SQUARE.replace(b"\n", b"\r\n", 2), AREA),
    "bom": (b"\xef\xbb\xbf" + SQUARE, AREA),
    "bom and crlf": (b"\xef\xbb\xbf" + SQUARE.replace(b"\n", b"\r\n"), AREA),
    "no last line end": (SQUARE.rstrip(), AREA),
    "blank lines at the end": (SQUARE + b"\n\n \n\t\n\r\n", AREA),
    "closing point": (SQUARE + b"11 11\n", AREA),
    "closing point twice": (SQUARE + b"11 11\n11 11\n", AREA),
    "closing point spelled otherwise": (SQUARE + b"11.0 1.1e1\n", AREA),
    "every point twice": (b"".join(line + b"\n" + line + b"\n" for line in SQUARE.split(b"\n")[:-1]), AREA),
    "tabs": (SQUARE.replace(b" ", b"\t"), AREA),
    "many spaces": (SQUARE.replace(b" ", b"   \t "), AREA),
    "spaces around": (b"  " + SQUARE.replace(b"\n", b" \n  ").rstrip(), AREA),
    "decimals": (SQUARE.replace(b"31", b"31.000000"), AREA),
    "exponents": (SQUARE.replace(b"31", b"3.1e+1"), AREA),
    "signs": (SQUARE.replace(b"11", b"+11"), AREA),
    "points without digits before": (b".5 .5\n9.5 .5\n9.5 9.5\n.5 9.5\n", 81.0),
    "points without digits behind": (SQUARE.replace(b"11", b"11."), AREA),
    "leading zeros": (SQUARE.replace(b"31", b"00031"), AREA),
    "many digits": (SQUARE.replace(b"31", b"31." + b"0" * 300), AREA),
    "other direction": (b"\n".join(SQUARE.strip().split(b"\n")[::-1]), AREA),
    "half-pixel grid": (SQUARE.replace(b"31", b"30.5"), 380.25),
    "triangle": (b"11 11\n31 11\n11 31\n", 200.0),
    "tiny": (square(11, 11, 11.001, 11.001), 1e-6),
    "on the edge of the image": (square(0.5, 0.5, 48.5, 64.5), 48.0 * 64),
    "a little outside": (square(0.45, 11, 20.45, 31), AREA),
    "touches itself in a point": (b"11 11\n21 21\n31 11\n31 31\n21 21\n11 31\n", 200.0),
    "line there and back": (b"11 11\n31 11\n40 11\n31 11\n31 31\n11 31\n", AREA),
    "as many points as allowed": (points(circle(100_000)), np.pi * 100),
}


@dataclass(frozen=True)
class Refused:
    """A file, why it is refused, and the options it is read with."""

    data: bytes
    said: str
    code: str = "unreadable-contour"
    config: dict[str, Any] = field(default_factory=dict)


REFUSED = {
    "empty": Refused(b"", "empty"),
    "only a bom": Refused(b"\xef\xbb\xbf", "empty"),
    "only line ends": Refused(b"\n\r\n\n", "empty"),
    "only spaces": Refused(b"  \t \n", "empty"),
    "one point": Refused(b"11 11\n", "only 1 distinct points"),
    "two points": Refused(b"11 11\n31 11\n", "only 2 distinct points"),
    "two points over and over": Refused(b"11 11\n31 11\n" * 50, "only 2 distinct points"),
    "one point over and over": Refused(b"11 11\n" * 9, "only 1 distinct points"),
    "a line": Refused(b"11 11\n21 11\n31 11\n", "no area"),
    "a slanted line": Refused(b"11 11\n21 21\n31 31\n", "no area"),
    "nan": Refused(SQUARE + b"nan 3\n", "line 5: .* value 1 is no plain number"),
    "NaN": Refused(SQUARE + b"3 NaN\n", "line 5: .* value 2"),
    "inf": Refused(SQUARE + b"inf 3\n", "line 5: .* value 1"),
    "-Infinity": Refused(SQUARE + b"3 -Infinity\n", "line 5: .* value 2"),
    "1e999": Refused(SQUARE + b"3 1e999\n", "line 5: .* value 2"),
    "1e99": Refused(SQUARE + b"3 1e99\n", "line 5: a coordinate is beyond 1000000 pixels"),
    "a million and a bit": Refused(SQUARE + b"1000001 3\n", "line 5: a coordinate is beyond"),
    "400 digits": Refused(SQUARE + b"9" * 400 + b" 3\n", "line 5: a coordinate is beyond"),
    "underscores": Refused(SQUARE + b"1_0 3\n", "line 5: .* value 1"),
    "hexadecimal": Refused(SQUARE + b"0x1F 3\n", "line 5: .* value 1"),
    "hexadecimal float": Refused(SQUARE + b"3 0x1p3\n", "line 5: .* value 2"),
    "fraction": Refused(SQUARE + b"3 1/2\n", "line 5: .* value 2"),
    "two signs": Refused(SQUARE + b"3 --1\n", "line 5: .* value 2"),
    "two points in a number": Refused(SQUARE + b"3 1.2.3\n", "line 5: .* value 2"),
    "only a sign": Refused(SQUARE + b"3 -\n", "line 5: .* value 2"),
    "only a point": Refused(SQUARE + b". 3\n", "line 5: .* value 1"),
    "exponent without digits": Refused(SQUARE + b"3 1e\n", "line 5: .* value 2"),
    "long exponent": Refused(SQUARE + b"3 1e-0000001\n", "line 5: .* value 2"),
    "complex": Refused(SQUARE + b"3 1j\n", "line 5: .* value 2"),
    "arabic digits": Refused(SQUARE + "٣ 3\n".encode(), "line 5: .* value 1"),
    "full-width digits": Refused(SQUARE + "３ 3\n".encode(), "line 5: .* value 1"),
    "unicode minus": Refused(SQUARE + "\u22123 3\n".encode(), "line 5: .* value 1"),
    "no-break space": Refused(SQUARE + "3\u00a03\n".encode(), "line 5: .* one value"),
    "decimal comma": Refused(b"11,5 11\n", "line 1: .* value 1"),
    "commas between": Refused(SQUARE.replace(b" ", b","), "line 1: .* one value"),
    "commas and spaces": Refused(SQUARE.replace(b" ", b", "), "line 1: .* value 1"),
    "semicolons": Refused(SQUARE.replace(b" ", b";"), "line 1: .* one value"),
    "quoted": Refused(b'"11" "11"\n' + SQUARE, "line 1: .* value 1"),
    "brackets": Refused(b"[11 11]\n" + SQUARE, "line 1: .* value 1"),
    "one column": Refused(b"11\n12\n13\n", "line 1: .* one value"),
    "three columns": Refused(b"11 11 0\n31 11 0\n31 31 0\n", "line 1: .* 3 values"),
    "a third value in one line": Refused(SQUARE + b"1 2 3\n", "line 5: .* 3 values"),
    "header": Refused(b"x y\n" + SQUARE, "line 1: .* value 1"),
    "comment": Refused(b"# drawn by someone\n" + SQUARE, "line 1: .* 4 values"),
    "comment behind": Refused(SQUARE + b"11 12 # checked\n", "line 5: .* 4 values"),
    "count in the first line": Refused(b"4\n" + SQUARE, "line 1: .* one value"),
    "blank line in the middle": Refused(b"11 11\n\n31 11\n31 31\n", "line 2: .* an empty line"),
    "blank line first": Refused(b"\n" + SQUARE, "line 1: .* an empty line"),
    "nul at the end": Refused(SQUARE + b"\0", "line 5"),
    "nul in a number": Refused(SQUARE + b"1\x001 3\n", "line 5: .* value 1"),
    "form feed between": Refused(SQUARE + b"1\x0c3\n", "line 5: .* another sign than a space"),
    "vertical tab between": Refused(SQUARE + b"1\x0b3\n", "line 5: .* another sign than a space"),
    "old mac line ends": Refused(SQUARE.replace(b"\n", b"\r"), "line 1: .* 8 values"),
    "control-z at the end": Refused(SQUARE + b"\x1a", "line 5"),
    "utf-16": Refused(SQUARE.decode().encode("utf-16"), "line 1"),
    "bom in the middle": Refused(SQUARE + b"\xef\xbb\xbf" + SQUARE, "line 5: .* value 1"),
    "cut off in a line": Refused(SQUARE + b"11", "line 5: .* one value"),
    "xml": Refused(b"<contour>\n" + SQUARE, "line 1"),
    "a picture": Refused(b"\x89PNG\r\n\x1a\n" + bytes(range(256)), "line 1"),
    "bow tie": Refused(b"11 11\n31 31\n31 11\n11 31\n", "crosses itself", "self-intersection"),
    "figure of eight": Refused(b"11 11\n31 11\n11 31\n31 31\n", "crosses itself", "self-intersection"),
    "twice around": Refused(SQUARE * 2 + b"11.5 12\n", "crosses itself", "self-intersection"),
    "two outlines in one file": Refused(
        SQUARE + square(35, 35, 40, 41), "crosses itself", "self-intersection"
    ),
    "outside on the left": Refused(square(-1, 11, 20, 31), "1.50 px beyond", "contour-outside-image"),
    "outside below": Refused(square(11, 41, 31, 66), "1.50 px beyond", "contour-outside-image"),
    "outside altogether": Refused(square(200, 200, 240, 240), "100.0%", "contour-outside-image"),
    "x and y exchanged": Refused(square(50, 20, 60, 40), "px beyond", "contour-outside-image"),
    "a spike outside": Refused(
        b"11 11\n20 -2\n31 11\n31 31\n11 31\n", "2.50 px beyond", "contour-outside-image"
    ),
    "too much of it outside": Refused(square(0.1, 11, 20.1, 31), "2.0%", "contour-outside-image"),
    "negative coordinates": Refused(square(-31, -31, -11, -11), "100.0%", "contour-outside-image"),
    "too many points": Refused(b"1 2\n" * 100_001, "`max_contour_points`"),
    "too many bytes": Refused(b"1 2 \n" * 2_000_001, "`max_contour_bytes`"),
    "more points than asked for": Refused(SQUARE, "`max_contour_points`", config={"max_contour_points": 3}),
    "more bytes than asked for": Refused(SQUARE, "`max_contour_bytes`", config={"max_contour_bytes": 20}),
}
"""Errors of the file as such have one code, those of a readable outline their own."""


@pytest.mark.parametrize(("data", "area"), ACCEPTED.values(), ids=ACCEPTED.keys())
def test_what_is_harmless_is_accepted(tmp_path: Path, data: bytes, area: float) -> None:
    rings = verdict(tmp_path, data)
    assert polygon_area(rings) == pytest.approx(area, rel=1e-6)


@pytest.mark.parametrize("refused", REFUSED.values(), ids=REFUSED.keys())
def test_what_is_wrong_is_refused_by_its_kind(tmp_path: Path, refused: Refused) -> None:
    with pytest.raises(ContourError, match=refused.said) as caught:
        verdict(tmp_path, refused.data, **refused.config)
    assert caught.value.code == refused.code
    assert str(caught.value).isprintable()


def test_there_are_as_many_cases_as_promised() -> None:
    assert len(ACCEPTED) + len(REFUSED) >= 80


def test_what_crosses_itself_is_filled_on_request(tmp_path: Path) -> None:
    assert polygon_area(verdict(tmp_path, REFUSED["bow tie"].data, allow_self_intersection=True)) == 200


def test_the_origin_decides_what_is_outside(tmp_path: Path) -> None:
    at_the_edge = square(-0.5, 11, 20, 31)
    assert verdict(tmp_path, at_the_edge, contour_origin=0)
    with pytest.raises(ContourError, match="`contour_origin`"):
        verdict(tmp_path, at_the_edge)


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("IM-0001-0048-icontour-manual.txt", True),
        ("im-0001-0048-ICONTOUR-MANUAL.TXT", True),
        ("IM-0001-999999-icontour-manual.txt", True),
        ("IM-0001-19550203-icontour-manual.txt", False),
        ("IM-0001-٤٨-icontour-manual.txt", False),
        ("IM-0001-0048-p19550203contour-manual.txt", False),
        ("IM-0001-0048-janecontour-manual.txt", False),
        ("IM-0001-0048-icontour-manual.txt~", False),
        ("IM-0001-0048-icontour-jane.txt", False),
        ("IM-0001--048-icontour-manual.txt", False),
        ("IM-0001-0048-icontour-manual.txt\n", False),
    ],
)
def test_a_name_passes_on_a_structure_and_a_slice_and_nothing_of_a_person(name: str, known: bool) -> None:
    assert (SunnybrookText().find(f"contourfiles/A/{name}", LabelOptions()) is not None) == known


WHOLE_COUNT = bool(os.environ.get("DICOM_ETL_WHOLE_COUNTS"))
NUMBERS = st.one_of(
    st.floats(-5, 80).map(lambda value: f"{value:.3f}"),
    st.integers(-2, 70).map(str),
    st.sampled_from(["nan", "inf", "1e9", "1_0", "٣", "", "0x1", "+1", ".5", "1e1", "-"]),
    st.text(max_size=3),
)
FILES = st.one_of(
    st.binary(max_size=80),
    st.lists(st.tuples(NUMBERS, NUMBERS), max_size=12).map(
        lambda rows: "\n".join(f"{x} {y}" for x, y in rows).encode("utf-8", "surrogatepass")
    ),
    st.lists(st.tuples(st.integers(-4, 130), st.integers(-4, 130)), min_size=3, max_size=12).map(
        lambda rows: points([(x / 2, y / 2) for x, y in rows])
    ),
)


@settings(max_examples=5000 if WHOLE_COUNT else 300)
@given(FILES)
def test_any_file_is_an_outline_by_the_rules_or_one_clear_error(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    try:
        rings = verdict(tmp_path_factory.getbasetemp(), data)
    except ContourError as error:
        assert str(error).isprintable()  # noqa: PT017  - either outcome is right
        return
    (ring,) = rings
    text = data.decode("utf-8-sig").split()
    assert np.isfinite(ring).all()
    assert len(ring) >= 3
    assert not (ring == np.roll(ring, 1, axis=0)).all(axis=1).any()
    assert {float(word) - 1 for word in text} == set(ring.ravel().tolist())
    assert polygon_area(rings) > 0
    assert first_self_intersection(measure(rings)) is None
    assert farthest_outside_image(measure(rings), SHAPE) <= 1


HOSTILE = {
    "zigzag": points([(x % 2 * 40 + 1, 1 + 60 * x / 100_000) for x in range(100_000)]),
    "scribble": points([((x * 7919) % 40 + 1.5, (x * 104_729) % 60 + 1.5) for x in range(50_000)]),
    "spiral": points(
        [(24 + r * np.cos(r * 40) / 60, 24 + r * np.sin(r * 40) / 60) for r in np.linspace(1, 1000, 90_000)]
    ),
    "comb": points([(1 + x / 2500, 1 + 50 * (x % 2)) for x in range(99_000)]),
    "spaces": b" " * 9_999_990 + b"x",
    "digits": b"1" * 9_999_990,
    "long lines": (b"1 " * 4_999_000 + b"\n"),
    "points on one spot": b"5 5\n" * 99_999,
    "nearly a good line": (b"1" * 99 + b" ") * 99_000,
}


@pytest.mark.parametrize("allowed", [False, True], ids=["strict", "even-odd"])
@pytest.mark.parametrize("data", HOSTILE.values(), ids=HOSTILE.keys())
def test_no_file_takes_long_or_much_memory(tmp_path: Path, data: bytes, allowed: bool) -> None:
    with little_spent():
        try:
            verdict(tmp_path, data, allow_self_intersection=allowed)
        except ContourError as error:
            assert str(error).isprintable()  # noqa: PT017  - either outcome is right
