"""What somebody does with a finished job: read its report, try the student, reject texts, distil again, move an alias and roll it back."""

import re

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import NewPage
from tests.browser.service import Service
from tests.e2e.service import Json, follow, ok, succeeded

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]
PICTURES = ("Accuracy", "F1 of each label", "Are the scores honest?", "What abstaining buys")


@pytest.mark.parametrize("width", [1280, 390])
def test_a_student_is_judged_tried_and_made_anew(service: Service, finished: Json, new_page: NewPage, width: int) -> None:
    name = f"walk-{width}"
    # Its stages are those of the job that is done, so it only publishes.
    job = service.done(name)
    page = new_page(width)
    page.goto(f"/ui/jobs/{job['id']}")
    read_the_report(page)
    page.get_by_role("link", name=f"Try {name}:1").click()
    try_texts(page, service, name)
    page.goto(f"/ui/jobs/{job['id']}")
    page.get_by_role("link", name="Texts", exact=True).click()
    reject_texts_and_distil_again(page, service, job)
    follow(service.api, page.url.rsplit("/", 1)[-1], succeeded, 300)
    page.goto(f"/ui/students/{name}")
    move_an_alias_and_back(page, service, name)


def read_the_report(page: Page) -> None:
    page.get_by_role("link", name="Report", exact=True).click()
    for title in PICTURES:
        expect(page.locator("figure").filter(has=page.get_by_role("heading", name=title, exact=True)).locator("svg")).to_be_visible()
    matrix = page.locator("table.matrix")
    expect(matrix.locator("tbody tr")).to_have_count(3)
    with page.expect_download() as saved:
        page.get_by_role("link", name="Save as a file").click()
    assert saved.value.suggested_filename.endswith("-report.html")


def try_texts(page: Page, service: Service, student: str) -> None:
    """Nothing is pressed: answers come as one types."""
    text, best, first = page.get_by_label("A text", exact=True), page.locator("#best"), page.locator("#scores li").first

    def answered(content: str) -> Json:
        """The API's answer, once it is the one that the page shows."""
        answer = ok(service.api.post("/predict", json={"student": student, "inputs": content}))["predictions"][0]
        expect(best).to_have_text(answer["label"])
        expect(first).to_have_text(re.compile(rf"^{answer['label']}\s*{100 * answer['score']:.1f} %$"))
        return dict(answer)

    content = "my card did not arrive by post"
    text.press_sequentially(content)
    answered(content)
    expect(page.locator("#scores li")).to_have_count(3)
    expect(page.locator("#took")).to_have_text(re.compile(r"^version 1: [\d.]+ ms in the service, \d+ ms to here$"))
    text.fill("change the secret digits of my pin")
    answered("change the secret digits of my pin")
    page.get_by_label("Abstain", exact=True).select_option("score")
    page.get_by_label("Score", exact=True).fill("1")
    expect(page.get_by_text("abstains: below 1.00")).to_be_visible()
    text.fill("")
    expect(best).to_have_text("No text yet")


def reject_texts_and_distil_again(page: Page, service: Service, job: Json) -> None:
    rejected = page.get_by_role("checkbox", name=re.compile("^Reject text "))
    chosen = [int(str(rejected.nth(place).get_attribute("data-reject"))) for place in (0, 2)]
    for number in chosen:
        page.get_by_role("checkbox", name=f"Reject text {number}", exact=True).check()
    bar = page.get_by_role("region", name="Rejected texts")
    expect(bar).to_contain_text("2 of ")
    page.reload()
    expect(bar).to_contain_text("2 of ")

    page.get_by_label("Search").fill("no text has this")
    expect(page.locator("#summary")).to_have_text("No text matches.")
    page.get_by_label("Search").fill("")
    expect(page.get_by_role("checkbox", name=f"Reject text {chosen[0]}", exact=True)).to_be_checked()

    page.get_by_role("button", name="Distil again without these").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("2 are left out")
    dialog.get_by_role("button", name="Distil again").click()
    page.wait_for_url(lambda address: "/ui/jobs/job_" in address and job["id"] not in address)
    expect(page.get_by_role("heading", name=job["name"], exact=True)).to_be_visible()
    made = ok(service.api.get(f"/jobs/{page.url.rsplit('/', 1)[-1]}"))
    assert len(made["spec"]["label"]["rejected"]) == len(chosen)


def move_an_alias_and_back(page: Page, service: Service, name: str) -> None:
    for version, button in ((1, "New alias"), (2, "Move production")):
        page.get_by_role("button", name=button, exact=True).click()
        dialog = page.get_by_role("dialog", name="Point an alias at a version")
        dialog.get_by_label("Alias", exact=True).fill("production")
        dialog.get_by_label("Version", exact=True).select_option(str(version))
        dialog.get_by_role("button", name="Point it there").click()
        expect(page.get_by_text(f"production is version {version} now.")).to_be_visible()
    if page.evaluate("innerWidth") > 1000:
        assert page.locator("#aliases .table-box").evaluate("box => box.scrollWidth - box.clientWidth") == 0
    back = page.get_by_role("button", name="Roll production back")
    back.click()
    dialog = page.get_by_role("dialog", name="Roll production back?")
    expect(dialog).to_contain_text("goes back to version 1")
    dialog.get_by_label("Reason (optional)").fill("worse on mails")
    dialog.get_by_role("button", name="Roll back").click()
    expect(page.get_by_text("production is version 1 again.")).to_be_visible()
    expect(back).to_be_hidden()
    assert ok(service.api.get(f"/students/{name}"))["aliases"]["production"] == 1
