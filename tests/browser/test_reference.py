"""The reference of the API, as it is used: found by words, linked to, and copied."""

import re

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import NewPage
from tests.browser.service import Service

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]


def test_a_call_is_found_linked_to_and_asks_this_service(service: Service, new_page: NewPage) -> None:
    page = new_page(1280)
    page.goto("/docs")
    page.get_by_label("Filter").fill("post predict")
    expect(page.locator("#filter-found")).to_have_text(re.compile(r"^\d+ calls?\.$"))
    expect(page.locator("[data-operation=get-jobs]")).to_be_hidden()
    expect(page.locator("section[data-group=jobs]")).to_be_hidden()
    page.locator("[data-operation=post-predict] > summary").click()
    expect(page).to_have_url(f"{service.url}/docs#post-predict")
    expect(page.locator("#curl-post-predict-1")).to_contain_text(f"curl {service.url}/predict")
    # A link to a call that the filter hides shows it.
    page.evaluate("location.hash = 'get-jobs'")
    expect(page.locator("#get-jobs")).to_be_visible()
    expect(page.get_by_label("Filter")).to_have_value("")


def test_a_link_unfolds_its_call(service: Service, new_page: NewPage) -> None:
    page = new_page(390)
    page.goto("/docs#put-students-name-shadow")
    expect(page.locator("#put-students-name-shadow")).to_be_in_viewport()
    expect(page.locator("details.operation[open]")).to_have_count(1)
