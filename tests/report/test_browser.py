"""The page as a person uses it, in a headless Chromium.

DICOM_ETL_SCREENSHOTS names a folder that keeps the pictures.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from dicom_etl.report.contents import Contents
from tests.report.browser import Browser, headless

pytestmark = pytest.mark.slow

STILL = {"prefers_reduced_motion": "reduce"}
"""A page that scrolls slowly moves away under the pointer."""


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """Return a browser for all tests of this file."""
    with headless(tmp_path_factory.mktemp("profile")) as browser:
        yield browser


@pytest.fixture
def browser(shared: Browser, page_file: Path) -> Iterator[Browser]:
    """Return the browser with a fresh page; whatever a test does, nothing is asked for and nothing goes wrong."""
    shared.screen(1280, 900, **STILL)
    shared.open(page_file)
    yield shared
    assert shared.said() == []
    assert shared.requests() == [page_file.resolve().as_uri()]


def shown(browser: Browser, selector: str) -> int:
    script = "return [...document.querySelectorAll(arguments[0])].filter((e) => e.checkVisibility()).length"
    return int(browser.run(script, selector))


def focused(browser: Browser) -> str:
    return str(browser.run("return document.activeElement.closest('[id]').id"))


def box(browser: Browser) -> list[float]:
    text = browser.one("#stage .overlay").get_dom_attribute("viewBox")
    return [float(number) for number in text.split()]


def choose(browser: Browser, name: str, value: str) -> None:
    browser.one(f"select[data-filter={name}] option[value='{value}']").click()


def test_it_opens_from_disk(browser: Browser) -> None:
    assert browser.one("h1").text == "dataset.h5"
    assert shown(browser, ".card") == 18
    assert shown(browser, "#tools") == 1
    loaded = "return [...document.querySelectorAll('.card image')].every((e) => e.getBBox().width === 40)"
    assert browser.run(loaded)


def test_a_structure_is_toggled_everywhere(browser: Browser) -> None:
    inner, outer = "[data-structure='0']", "[data-structure='1']"
    assert shown(browser, f".cards path{inner}") == 18
    browser.one("#tools input[data-toggle='structure 0']").click()
    assert shown(browser, f".cards {inner}") == 0
    assert shown(browser, f".cards path{outer}") == shown(browser, f".cards image{outer}") == 9
    browser.one("#cards .picture").click()
    assert shown(browser, f"#stage {inner}") == 0
    assert not browser.one("#viewer input[data-toggle='structure 0']").is_selected()
    browser.keys("ESCAPE")
    browser.one("#tools input[data-toggle='structure 0']").click()
    browser.one("#tools input[data-toggle=masks]").click()
    assert shown(browser, f".cards path{inner}") == 18
    assert shown(browser, ".cards .mask") == 0


def test_the_gallery_is_filtered(browser: Browser) -> None:
    choose(browser, "patient", "=SYN00002")
    patients = browser.run(
        "return [...document.querySelectorAll('.card')].filter((e) => !e.hidden).map((e) => e.dataset.patient)"
    )
    assert patients == ["SYN00002"] * 6
    assert browser.one("#found").text == "6 of 18 samples"
    choose(browser, "phase", "=ED")
    assert shown(browser, ".card") == 3
    choose(browser, "finding", "=duplicate-contour")
    assert shown(browser, ".card") == 0
    assert shown(browser, "#empty") == 1
    browser.one("#clear").click()
    assert shown(browser, ".card") == 18
    for name, value, count in (("split", "=test", 6), ("finding", "some", 2), ("finding", "none", 16)):
        choose(browser, name, value)
        assert shown(browser, ".card") == count
        choose(browser, name, "any")


def test_the_order_is_chosen(browser: Browser) -> None:
    rows = "return [...document.querySelectorAll('.card')].map((card) => Number(card.dataset.row))"
    assert browser.run(rows)[:3] == [13, 9, 2]
    browser.one("#order option[value=row]").click()
    assert browser.run(rows) == list(range(18))
    browser.one("#order option[value=rank]").click()
    assert browser.run(rows)[:3] == [13, 9, 2]


def test_a_finding_is_opened_even_when_filtered_out(browser: Browser) -> None:
    choose(browser, "patient", "=SYN00001")
    link = browser.one("#findings a[data-open='9']")
    link.click()
    assert browser.run("return document.getElementById('viewer').open")
    assert browser.one("#viewer-name").text == "SYN00002"
    assert "area-jump" in browser.one("#viewer-facts").text
    assert "3.1 times the area" in browser.one("#viewer-facts").text
    assert shown(browser, "#stage path") == 2
    browser.keys("ESCAPE")
    assert not browser.run("return document.getElementById('viewer').open")
    assert browser.run("return document.activeElement.dataset.open") == "9"


def test_the_keyboard_leads_through_the_gallery(browser: Browser) -> None:
    browser.run("document.querySelector('.picture').focus()")
    browser.keys("ARROW_RIGHT", "ARROW_RIGHT", "ARROW_LEFT")
    assert focused(browser) == "sample-9"
    browser.keys("ARROW_DOWN", "ARROW_UP", "END")
    assert focused(browser) == "sample-17"
    browser.keys("ARROW_RIGHT", "HOME", "ENTER")
    assert browser.one("#position").text == "1 of 18"
    assert not browser.one("#previous").is_enabled()
    browser.keys("ARROW_RIGHT", "ARROW_RIGHT", "ARROW_LEFT")
    assert browser.one("#position").text == "2 of 18"
    assert "sample 9" in browser.one("#viewer-facts").text.replace("\n", " ")
    browser.keys("c")
    assert shown(browser, "#stage path") == shown(browser, "#stage .mask") == 0
    browser.keys("c", "m")
    assert shown(browser, "#stage path") == 2
    assert shown(browser, "#stage .mask") == 0
    browser.keys("ESCAPE")
    assert focused(browser) == "sample-9"


def test_the_viewer_zooms_and_moves(browser: Browser) -> None:
    browser.one("#cards .picture").click()
    start = box(browser)
    browser.keys("+")
    assert box(browser)[2] == pytest.approx(start[2] / 1.5)
    browser.keys("-", "-")
    assert box(browser)[2] == pytest.approx(min(start[2] * 1.5, 48))
    browser.keys("0", "0")
    browser.one("#in").click()
    zoomed = box(browser)
    browser.run(
        """const stage = document.getElementById("stage");
        const box = stage.getBoundingClientRect();
        stage.setPointerCapture = () => {};
        const send = (type, x) =>
            stage.dispatchEvent(new PointerEvent(type, { pointerId: 1, clientX: x, clientY: 300 }));
        send("pointerdown", 300); send("pointermove", 350); send("pointerup", 350); send("pointermove", 500);"""
    )
    moved = box(browser)
    assert moved[0] < zoomed[0]
    assert moved[1:] == zoomed[1:]
    browser.run(
        """const wheel = new WheelEvent("wheel", { deltaY: -200, clientX: 200, clientY: 200 });
        document.getElementById("stage").dispatchEvent(wheel);"""
    )
    assert box(browser)[2] < moved[2]


def test_a_vertex_is_drawn_where_it_lies_in_the_image(browser: Browser, faulty: Path) -> None:
    """On the screen, after all that style and zoom do: x = column + 0.5 pixels from the image's left edge."""
    browser.one("#tools input[data-toggle=whole]").click()
    with Contents(faulty) as contents:
        for row in (0, 9, 13):
            ring = contents.rings(0, row)[0]
            place: dict[str, Any] = browser.run(
                """const card = document.getElementById("sample-" + arguments[0]);
                const image = card.querySelector("image").getBoundingClientRect();
                const path = card.querySelector("path[data-structure='0']");
                const box = path.getBBox();
                const at = (x, y) => new DOMPoint(x, y).matrixTransform(path.getScreenCTM());
                const [low, high] = [at(box.x, box.y), at(box.x + box.width, box.y + box.height)];
                const width = image.width / 40, height = image.height / 48;
                return { low: [(low.x - image.left) / width - 0.5, (low.y - image.top) / height - 0.5],
                         high: [(high.x - image.left) / width - 0.5, (high.y - image.top) / height - 0.5] };""",
                row,
            )
            assert place["low"] == pytest.approx(ring.min(axis=0), abs=1e-3)
            assert place["high"] == pytest.approx(ring.max(axis=0), abs=1e-3)


def test_all_that_can_be_operated_has_a_name(browser: Browser) -> None:
    heard = browser.accessible_names()
    assert len([role for role, _ in heard if role == "combobox"]) == 5
    browser.one("#cards .picture").click()
    heard += browser.accessible_names()
    assert ("dialog", "SYN00003") in heard
    assert ("button", "Next sample") in heard
    assert all(name for _, name in heard)


def test_motion_stops_when_asked(browser: Browser) -> None:
    moving = """return [getComputedStyle(document.documentElement).scrollBehavior,
                       getComputedStyle(document.querySelector(".picture")).transitionDuration]"""
    assert browser.run(moving) == ["auto", "0s"]
    browser.screen(1280, 900)
    assert browser.run(moving) == ["smooth", "0.12s"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 400])
def test_it_fits_the_screen(browser: Browser, tmp_path: Path, width: int, scheme: str) -> None:
    browser.screen(width, 800, prefers_color_scheme=scheme, **STILL)
    assert browser.run("return document.documentElement.scrollWidth") <= width
    folder = Path(os.environ.get("DICOM_ETL_SCREENSHOTS", tmp_path))
    taken = {"page": browser.screenshot()}
    browser.one("#cards .picture").click()
    assert shown(browser, "#stage path") == 2
    taken["viewer"] = browser.driver.get_screenshot_as_png()
    for name, data in taken.items():
        (folder / f"{name}-{width}-{scheme}.png").write_bytes(data)
        pixels = np.asarray(Image.open(BytesIO(data)).convert("L"))
        assert pixels.shape[1] == width
    top = np.asarray(Image.open(BytesIO(taken["page"])).convert("L"))[:800]
    assert (np.median(top) > 128) == (scheme == "light")
