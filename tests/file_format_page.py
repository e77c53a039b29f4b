"""Writes docs/file-format.md from the schema: ``python -m tests.file_format_page``."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from dicom_etl.dataset import schema

PAGE = Path(__file__).parents[1] / "docs" / "file-format.md"
BEGIN, END = "<!-- tables: begin -->\n", "<!-- tables: end -->\n"
_WHAT = {
    schema.STUDIES: "A row a study: one subject's images of one examination.",
    schema.ISSUES: "What was left out and why, and what is worth a look.",
    schema.DECISIONS: "What a person decided about labels; nobody's name and no free text.",
    schema.STATISTICS: "Of the stored pixels: of all, then of those inside each structure.",
}


def tables() -> str:
    """Return the generated part of the page."""
    parts = [
        f"## /samples\n\nA row an image (a frame of a file), in the order patient, study, stack, location, phase, "
        f"instance number, file, frame. Columns with `<structure>` are there once a structure.\n\n"
        f"{_table(schema.SAMPLE_COLUMNS, 'sample')}"
    ]
    for name, (scale, columns) in schema.TABLES.items():
        parts.append(f"## /{name}\n\n{_WHAT[name]}\n\n{_table(columns, scale)}")
    return "\n".join(parts)


def page(current: str) -> str:
    """Return a page with its generated part made anew."""
    before, _, rest = current.partition(BEGIN)
    return before + BEGIN + "\n" + tables() + "\n" + END + rest.partition(END)[2]


def _table(columns: Iterable[schema.Column], rows: str) -> str:
    lines = ["| column | type | shape | what |", "|---|---|---|---|"]
    for column in columns:
        name = f"{column.name}_<structure>" if column.by_structure else column.name
        shape = ", ".join([rows, *(str(length) for _, length in column.axes)])
        unit = f" ({column.units})" if column.units not in ("", "1") else ""
        what = column.doc.replace("{structure}", "the structure").replace("the the", "the") + unit
        lines.append(f"| `{name}` | {_type(column)} | ({shape}) | {what} |")
    return "\n".join(lines) + "\n"


def _type(column: schema.Column) -> str:
    if column.kind == "S":
        return f"text, {column.dtype[1:]} bytes" if len(column.dtype) > 1 else "text"
    return {"u1": "uint8", "i2": "int16", "i4": "int32", "i8": "int64", "f8": "float64"}[column.dtype]


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text()))
