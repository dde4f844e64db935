"""`make screenshots`: every page of a service with an example job, in both widths and colours, as PNGs in a folder.

`python -m tests.browser.screenshots [--out FOLDER] [--url URL]`: with a URL, the pages of that service and of its newest job.
"""

import argparse
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import httpx
from playwright.sync_api import Browser, Page

from tests.browser.chromium import CHROMIUM, NO_CHROMIUM, headless_chromium
from tests.browser.service import tiny_service
from tests.servers import redis_server
from tests.waiting import wait_for

SIZES = {1280: 900, 390: 844}
COLOURS: tuple[Literal["light", "dark"], ...] = ("light", "dark")
ROWS = Path(__file__).parents[2] / "examples" / "banking10.csv"


@contextmanager
def example() -> Iterator[str]:
    """The address of a service on tiny random models: a job that has succeeded, one that failed, and one at work."""
    with (
        tempfile.TemporaryDirectory(prefix="gendistil-shots-") as folder,
        redis_server() as redis,
        tiny_service(Path(folder), redis) as service,
    ):
        broken = service.start("triage", teacher={"model": str(service.folder / "missing"), "seed": 3})
        wait_for(lambda: service.api.get(f"/jobs/{broken['id']}").json()["status"] == "failed", 300, "the failure")
        service.done("triage", generate={"texts": 200})
        service.start("mails", teacher={"epochs": 198, "refit_epochs": 2, "batch_size": 2, "seed": 4})
        wait_for(lambda: service.api.get("/jobs").json()["items"][0]["status"] == "running", 120, "the start")
        yield service.url


def paths(url: str) -> dict[str, str]:
    """Of each page by its name, as far as the service has something to show."""
    found = {
        "start": "/",
        "jobs": "/ui/jobs",
        "students": "/ui/students",
        "new": "/ui/new",
        "new-checked": "/ui/new",
        "error": "/ui/nothing",
    }
    jobs = httpx.get(f"{url}/jobs", params={"limit": 100}, timeout=60).json()["items"]
    for status in ("running", "failed", "succeeded"):
        job = next((job for job in jobs if job["status"] == status and (status != "succeeded" or job["student"])), None)
        if job is not None:
            found[f"job-{status}"] = f"/ui/jobs/{job['id']}"
        if job is not None and status == "succeeded":
            found |= {"report": f"/ui/jobs/{job['id']}/report", "texts": f"/ui/jobs/{job['id']}/texts"}
            found["student"] = f"/ui/students/{job['student']['name']}"
    return found


def take(browser: Browser, url: str, out: Path) -> None:
    for width, height in SIZES.items():
        for colours in COLOURS:
            context = browser.new_context(base_url=url, viewport={"width": width, "height": height}, color_scheme=colours)
            page = context.new_page()
            for name, path in paths(url).items():
                page.goto(path)
                if name == "new-checked":
                    _check_rows(page)
                # Curves and events come after the page.
                page.wait_for_timeout(1500)
                page.screenshot(path=out / f"{name}-{width}-{colours}.png", full_page=True)
            context.close()


def _check_rows(page: Page) -> None:
    page.set_input_files("#file", ROWS)
    page.locator("#estimate ul").wait_for(timeout=120_000)
    page.get_by_text("Advanced: the spec").click()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("build/screenshots"), help="a folder that git ignores by default")
    parser.add_argument("--url", help="of a service that runs; default: one is started with an example")
    options = parser.parse_args()
    if CHROMIUM is None:
        parser.error(NO_CHROMIUM)
    options.out.mkdir(parents=True, exist_ok=True)
    with headless_chromium() as browser:
        if options.url:
            take(browser, options.url.rstrip("/"), options.out)
        else:
            with example() as url:
                take(browser, url, options.out)
    print(f"{len(list(options.out.glob('*.png')))} pictures in {options.out}")


if __name__ == "__main__":
    main()
