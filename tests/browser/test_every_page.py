"""Every page in both widths and colours: no serious finding of axe-core, no scrolling sideways, nothing asked of another host."""

from typing import Any, Literal

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

from tests.browser.conftest import NewPage
from tests.browser.service import Service
from tests.e2e.service import Json

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]
PAGES = {
    "start": "/",
    "jobs": "/ui/jobs",
    "students": "/ui/students",
    "new": "/ui/new",
    "job": "/ui/jobs/{job}",
    "report": "/ui/jobs/{job}/report",
    "texts": "/ui/jobs/{job}/texts",
    "student": "/ui/students/{student}",
    "error": "/ui/nothing",
    "reference": "/docs",
}


def findings(page: Page) -> list[Any]:
    """Of axe-core, serious or critical: rule and elements."""
    violations = Axe().run(page).response["violations"]
    return [
        (found["id"], [node["html"][:200] for node in found["nodes"][:5]])
        for found in violations
        if found["impact"] in {"serious", "critical"}
    ]


def too_wide(page: Page) -> int:
    """Pixels by which the page is wider than the window."""
    pixels: int = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    return pixels


@pytest.mark.parametrize(("width", "colours"), [(1280, "light"), (390, "dark")])
@pytest.mark.parametrize("name", PAGES)
def test_a_page_can_be_used_by_everybody(
    service: Service, finished: Json, new_page: NewPage, name: str, width: int, colours: Literal["light", "dark"]
) -> None:
    page = new_page(width, color_scheme=colours)
    page.goto(PAGES[name].format(job=finished["id"], student="finished"))
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    if name == "new":
        page.set_input_files("#file", {"name": "rows.csv", "mimeType": "text/csv", "buffer": service.csv()})
        page.locator("#estimate ul").wait_for()
        page.get_by_text("Advanced: the spec").click()
    if name == "job":
        page.locator("#log li").first.wait_for()
        page.get_by_text("Complete spec").click()
    assert findings(page) == []
    assert too_wide(page) == 0
