"""The walls of the house: who may import whom, and what is known where. An `ast` walk; nothing is imported."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "dicom_etl"
FLOORS: tuple[frozenset[str], ...] = (
    frozenset({"_version", "errors"}),
    frozenset({"records", "splits"}),
    frozenset({"config"}),
    frozenset({"geometry", "workers"}),
    frozenset({"dataset", "dicom", "impute"}),
    frozenset({"contours"}),
    frozenset({"layouts", "checks"}),
    frozenset({"stages", "batches"}),
    frozenset({"pipeline", "verification"}),
    frozenset({"api", "report"}),
    frozenset({"cli"}),
)
"""From the ground up: a room may import its own floor, where no circle comes of it, and those below."""
KNOWN_IN = {
    "click": {"cli"},
    "rich": {"cli"},
    "h5py": {"dataset"},
    "pydicom": {"dicom", "contours"},
}
FORBIDDEN_NAMES = {"utils", "util", "helpers", "common", "misc", "manager", "handler"}


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def room_of(path: Path) -> str:
    first = path.relative_to(PACKAGE).parts[0]
    return first.removesuffix(".py")


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports hide the room"
            assert node.module is not None
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def floor_of(room: str) -> int:
    return next(number for number, floor in enumerate(FLOORS) if room in floor)


def test_no_circle_of_rooms() -> None:
    asks: dict[str, set[str]] = {}
    for path in modules():
        rooms = {name.split(".")[1] for name in imports(path) if name.startswith("dicom_etl.")}
        asks.setdefault(room_of(path), set()).update(rooms - {room_of(path), "__version__"})
    while free := {room for room, others in asks.items() if not others & set(asks)}:
        asks = {room: others for room, others in asks.items() if room not in free}
    assert not asks, "these rooms import each other in a circle"


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_run_one_way(path: Path) -> None:
    room = room_of(path)
    if room in {"__init__", "__main__"}:
        return
    for name in imports(path):
        parts = name.split(".")
        if parts[0] == "dicom_etl" and len(parts) > 1 and parts[1] != "__version__":
            assert floor_of(parts[1]) <= floor_of(room), f"{room} may not import {name}"


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_libraries_stay_in_their_rooms(path: Path) -> None:
    for name in imports(path):
        library = name.split(".")[0]
        if library in KNOWN_IN:
            assert room_of(path) in KNOWN_IN[library], f"{library} is not known in {room_of(path)}"


def test_pure_rooms_open_no_file() -> None:
    for room in FLOORS[2] - {"digest", "impute"}:
        path = PACKAGE / f"{room}.py"
        if path.exists():
            calls = [n for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Call)]
            names = {
                n.func.id if isinstance(n.func, ast.Name) else getattr(n.func, "attr", "") for n in calls
            }
            assert not names & {"open", "read_bytes", "read_text", "write_bytes", "write_text"}, room


def test_names_say_what_a_room_is_for() -> None:
    assert not {path.stem for path in modules()} & FORBIDDEN_NAMES


def test_one_name_is_one_thing() -> None:
    """No public class is defined in two modules; those that still are may not become more."""
    homes: dict[str, list[str]] = {}
    for path in modules():
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                homes.setdefault(node.name, []).append(str(path.relative_to(PACKAGE)))
    twice = {name: places for name, places in homes.items() if len(places) > 1}
    assert not twice


def test_nothing_is_at_the_top_but_what_the_plan_lists() -> None:
    known = frozenset().union(*FLOORS) | {"__init__", "__main__"}
    assert {room_of(path) for path in modules()} == known
    assert len(known) <= 24
