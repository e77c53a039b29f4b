"""Reads a page as a browser would, and the paths and pictures in it, without any code of the page's room."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

VOID = {"meta", "link", "input", "br", "image", "line", "circle", "path", "polyline", "rect"}


@dataclass
class Element:
    """One element of a page; text is in its order between the children, which tests do not need."""

    tag: str
    attributes: dict[str, str]
    children: list[Element] = field(default_factory=list)
    text: str = ""

    def all(self, tag: str, **wanted: str) -> list[Element]:
        """Return the elements below with a tag and some attribute values, in the order of the page."""
        return [
            element
            for element in self.walk()
            if element.tag == tag
            and all(
                element.attributes.get(name.strip("_").replace("_", "-")) == value
                for name, value in wanted.items()
            )
        ]

    def one(self, tag: str, **wanted: str) -> Element:
        """Return the only such element."""
        (found,) = self.all(tag, **wanted)
        return found

    def walk(self) -> Iterator[Element]:
        for child in self.children:
            yield child
            yield from child.walk()

    def words(self) -> str:
        """Return all text below."""
        return " ".join(" ".join([self.text, *(child.words() for child in self.children)]).split())


class _Parser(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open = [Element("page", {})]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = Element(tag, {name: value or "" for name, value in attrs})
        self.open[-1].children.append(element)
        if tag not in VOID:
            self.open.append(element)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.open[-1].children.append(Element(tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        if tag in VOID:
            return  # <circle>..</circle> around a title closes nothing here
        assert self.open[-1].tag == tag, f"</{tag}> closes <{self.open[-1].tag}>"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        self.open[-1].text += data


def read_page(html: str) -> Element:
    """Return a page as a tree; every element must be closed in its turn."""
    parser = _Parser()
    parser.feed(html)
    parser.close()
    assert [element.tag for element in parser.open] == ["page"]
    return parser.open[0]


def read_path(data: str) -> list[NDArray[np.float64]]:
    """Return the rings of a path of M, L and Z."""
    rings = []
    for part in filter(None, data.split("Z")):
        assert part[0] == "M"
        places = [place.split(" ") for place in re.split("L", part[1:])]
        rings.append(np.array([[float(x), float(y)] for x, y in places]))
    return rings


def read_picture(uri: str) -> Image.Image:
    """Return the picture that an address holds."""
    head, _, data = uri.partition(",")
    assert head == "data:image/png;base64"
    return Image.open(BytesIO(base64.b64decode(data, validate=True)))
