"""A job's page: what can be done to the job, and a connection that is lost."""

import re

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import NewPage
from tests.browser.service import Service
from tests.waiting import wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]
LONG = {"epochs": 198, "refit_epochs": 2, "seed": 7}
"""Of a teacher that is still at work whenever the test wants something of it."""


def test_a_job_is_cancelled_resumed_and_deleted_by_keyboard(service: Service, new_page: NewPage) -> None:
    job = service.start("long", teacher=LONG)
    page = new_page()
    page.goto(f"/ui/jobs/{job['id']}")
    badge = page.locator("#live > p .badge")
    expect(badge).to_have_text("running")
    cancel = page.get_by_role("button", name="Cancel", exact=True)
    cancel.focus()
    page.keyboard.press("Enter")
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()
    expect(cancel).to_be_focused()
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Cancel the job").press("Enter")
    expect(badge).to_have_text("cancelled")
    resume = page.get_by_role("button", name="Resume")
    expect(resume).to_be_visible()
    resume.press("Enter")
    expect(badge).to_have_text(re.compile("queued|running"))
    expect(page.locator("#log")).to_contain_text("resumed")
    cancel.click()
    page.get_by_role("button", name="Cancel the job").click()
    page.get_by_role("button", name="Delete", exact=True).click()
    page.get_by_role("button", name="Delete the job").click()
    page.wait_for_url("**/ui/jobs")
    assert service.api.get(f"/jobs/{job['id']}").status_code == 404


def test_a_lost_connection_is_told_and_found_again(service: Service, new_page: NewPage) -> None:
    job = service.start("lost", teacher={**LONG, "seed": 8})
    page = new_page()
    page.goto(f"/ui/jobs/{job['id']}")
    expect(page.locator("#live > p .badge")).to_have_text("running")
    expect(page.locator("#curves figure").first).to_be_visible()
    page.context.set_offline(True)
    expect(page.get_by_text("The connection is lost; reconnecting")).to_be_visible()
    page.context.set_offline(False)
    expect(page.get_by_text("The connection is lost; reconnecting")).to_be_hidden()
    service.api.post(f"/jobs/{job['id']}/cancel")
    expect(page.locator("#live > p .badge")).to_have_text("cancelled")
    # Each event once, however often the stream was opened.
    expect(page.locator("#log li").first).to_contain_text("cancelled")
    told = page.locator("#log li").all_text_contents()
    assert len([line for line in told if "queued" in line]) == 1


def test_a_job_that_is_deleted_elsewhere_is_told(service: Service, new_page: NewPage) -> None:
    job = service.start("gone", teacher={**LONG, "seed": 9})
    page = new_page()
    page.goto(f"/ui/jobs/{job['id']}")
    expect(page.locator("#live > p .badge")).to_have_text("running")
    page.context.set_offline(True)
    service.api.post(f"/jobs/{job['id']}/cancel")

    def deleted() -> bool:
        return service.api.delete(f"/jobs/{job['id']}").status_code == 204

    wait_for(deleted, 60, "the end of the job")
    page.context.set_offline(False)
    expect(page.get_by_text("This job was deleted.")).to_be_visible()
