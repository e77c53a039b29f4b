"""The manual has an entry for every code, and every code that the program says is one of them."""

from __future__ import annotations

import ast
from pathlib import Path

from dicom_etl.checks.flags import CODES
from tests.findings_page import ADVICE, PAGE, SECTIONS, page

PACKAGE = Path(__file__).parents[1] / "dicom_etl"


def test_the_page_is_what_the_checks_say() -> None:
    assert PAGE.read_text("utf-8") == page(), "run: python -m tests.findings_page"


def test_every_code_has_one_entry() -> None:
    titles = [line.removeprefix("### ") for line in page().splitlines() if line.startswith("### ")]
    assert sorted(titles) == sorted(CODES)
    assert set(ADVICE) >= {code for codes in SECTIONS.values() for code in codes} - {
        "empty-structure",
        "schema",
        "seal-broken",
        "unknown-format",
    }


def test_every_code_in_the_program_is_known() -> None:
    """Codes are the second argument of an issue, or the ``code`` of an error."""
    said: set[str] = set()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Issue" and len(node.args) > 1:
                said |= _texts(node.args[1])
            if isinstance(node, ast.Assign) and any(getattr(t, "id", "") == "code" for t in node.targets):
                said |= _texts(node.value)
            if isinstance(node, ast.keyword) and node.arg == "code":
                said |= _texts(node.value)
    assert len(said) > 20
    assert said <= set(CODES), said - set(CODES)


def _texts(node: ast.AST) -> set[str]:
    return (
        {node.value}
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value
        else set()
    )
