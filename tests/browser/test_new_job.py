"""From a dropped file to a student, as somebody does it in a browser."""

import json
import re

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import NewPage
from tests.browser.service import Service

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

DROP = """([text, name]) => {
  const data = new DataTransfer();
  data.items.add(new File([text], name, {type: "text/csv"}));
  for (const kind of ["dragover", "drop"]) {
    document.getElementById("drop").dispatchEvent(new DragEvent(kind, {dataTransfer: data, bubbles: true, cancelable: true}));
  }
}"""


def drop(page: Page, content: bytes, name: str) -> None:
    page.evaluate(DROP, [content.decode(), name])


def write_spec(page: Page, service: Service, **parts: object) -> None:
    page.get_by_text("Advanced: the spec").click()
    page.get_by_label("Fields to change, as JSON").fill(json.dumps({**service.spec, **parts}))


@pytest.mark.parametrize("width", [1280, 390])
def test_a_dropped_file_becomes_a_student(service: Service, new_page: NewPage, width: int) -> None:
    page = new_page(width)
    page.goto("/ui/new")
    drop(page, service.csv() + b'"",pin_change\n', "My rows.csv")
    expect(page.get_by_text("Nothing was started.")).to_be_visible()
    expect(page.get_by_text("the text is empty").first).to_be_visible()
    expect(page.get_by_role("button", name="Start the job")).to_be_hidden()

    drop(page, service.csv(), "My rows.csv")
    expect(page.locator("#found")).to_contain_text("60 rows of 3 labels can be used")
    expect(page.get_by_label("Name of the student")).to_have_value("my-rows")
    expect(page.locator('[data-minutes="fast"]')).to_contain_text("about")
    expect(page.locator("#estimate")).to_contain_text("of memory")

    page.get_by_label("Name of the student").fill("Not a name")
    expect(page.locator("#name-fault")).to_be_visible()
    page.get_by_label("Name of the student").fill(f"rows-{width}")
    expect(page.locator("#name-fault")).to_be_hidden()
    page.get_by_text("Advanced: the spec").click()
    page.get_by_label("Fields to change, as JSON").fill('{"distil": {"epochs": -1}}')
    expect(page.locator("#spec-fault")).to_contain_text("distil.epochs")
    page.get_by_label("Fields to change, as JSON").fill(json.dumps({**service.spec, "label": {"seed": width}}))
    expect(page.locator("#spec-fault")).to_be_hidden()
    page.get_by_role("button", name="Start the job").click()

    page.wait_for_url(re.compile("/ui/jobs/job_"))
    expect(page.get_by_role("heading", name=f"rows-{width}")).to_be_visible()
    expect(page.locator("#live > p .badge")).to_have_text("succeeded", timeout=300_000)
    expect(page.locator("#announce")).to_have_text("The job is succeeded.")
    expect(page.locator("#curves figure").first).to_be_visible()
    curves = page.locator("#curves figure").count()
    page.reload()
    expect(page.locator("#curves figure")).to_have_count(curves)
    expect(page.locator("#log li").first).to_contain_text("succeeded")
    assert service.api.get(f"/students/rows-{width}").status_code == 200


def test_columns_are_chosen_and_a_name_that_is_taken_is_told(service: Service, finished: object, new_page: NewPage) -> None:
    page = new_page()
    page.goto("/ui/new")
    rows = service.csv(seed=5).replace(b"text,label", b"what,kind")
    page.get_by_text("Or paste rows").click()
    page.get_by_label("Rows", exact=True).fill(rows.decode())
    page.get_by_role("button", name="Check these rows").click()
    expect(page.get_by_text("There is no column 'text'")).to_be_visible()
    page.get_by_label("Texts are in").select_option("what")
    page.get_by_label("Labels are in").select_option("kind")
    expect(page.locator("#found")).to_contain_text("60 rows")
    page.get_by_label("Name of the student").fill("finished")
    expect(page.locator("#name-fault")).to_contain_text("is taken by the student finished:1")
    page.get_by_label("Publish under this name all the same").check()
    expect(page.locator("#name-fault")).to_be_hidden()
    expect(page.locator("#estimate")).to_contain_text("It would take")
