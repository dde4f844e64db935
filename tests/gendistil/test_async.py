"""The client to be awaited, against a real API process; and what both clients do when they are interrupted."""

import asyncio
from pathlib import Path
from typing import NoReturn

import pytest

from gendistil import AsyncClient, Client, Conflict, JobFailed, NotFound, Refused, Unavailable, WaitTimeout
from gendistil.models import BulkPrediction, Job
from tests.app.predictions.conftest import Publish
from tests.app.predictions.conftest import publish as publish  # the fixture
from tests.gendistil.test_client import ROWS
from tests.servers import free_port


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    path = tmp_path / "texts.csv"
    path.write_text("text\ncard\nmoney\n")
    return path


def test_calls_are_made_side_by_side_and_errors_are_typed(service_url: str, publish: Publish, texts: Path, tmp_path: Path) -> None:
    publish()
    seen: list[Job] = []

    async def go() -> None:
        async with AsyncClient(service_url) as client:
            one, two = await asyncio.gather(client.create_job("one", rows=ROWS), client.create_job("two", rows=ROWS))
            assert {one.id, two.id} <= {job.id for job in await client.jobs()}
            with pytest.raises(WaitTimeout, match="still queued"):
                await client.wait(one.id, poll_seconds=0.05, timeout=0.2)
            assert (await client.cancel(one.id)).status == "cancelled"
            with pytest.raises(JobFailed, match="was cancelled"):
                await client.wait(one.id, on_update=seen.append)
            assert [event.type for event in await client.events(one.id)][-1] == "job_cancelled"
            with pytest.raises(Conflict, match="cancelled"):
                await client.report(one.id)
            with pytest.raises(NotFound) as missing:
                await client.student("nobody")
            assert (missing.value.status, missing.value.type) == (404, "urn:gendistil:student-not-found")
            with pytest.raises(Refused, match="top_k"):
                await client.predict("triage", "card", 0)
            answers = await asyncio.gather(*(client.predict("triage", word) for word in ("card", "money", "pin")))
            assert [answer.predictions[0].label for answer in answers] == ["card", "money", "pin"]
            sent = await client.bulk.send("triage", texts)
            assert (sent.progress.total, (await client.bulk.get(sent.id)).status) == (2, "queued")
            saved = await client.download("triage", tmp_path)
            assert saved.stat().st_size > 1000
            with pytest.raises(NotFound):
                await client.download("nobody", tmp_path)
            assert (await client.ready()).ready

    asyncio.run(go())
    assert [job.status for job in seen] == ["cancelled"]
    assert sorted(path.name for path in tmp_path.glob("*.zip*")) == ["triage-1.zip"]


def test_no_service_is_told() -> None:
    async def go() -> None:
        async with AsyncClient(f"http://127.0.0.1:{free_port()}") as client:
            await client.jobs()

    with pytest.raises(Unavailable, match="No gendistil service answers") as caught:
        asyncio.run(go())
    assert caught.value.passing


def test_who_is_interrupted_takes_the_file_back(service_url: str, publish: Publish, texts: Path, tmp_path: Path) -> None:
    publish()

    def interrupt(_found: BulkPrediction) -> NoReturn:
        raise KeyboardInterrupt

    async def go() -> None:
        async with AsyncClient(service_url) as client:
            under_way = asyncio.Event()
            task = asyncio.create_task(client.predict_file("triage", texts, tmp_path / "out.csv", on_update=lambda _: under_way.set()))
            await under_way.wait()
            assert len(await client.bulk.list()) == 1
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    with Client(service_url) as client:
        with pytest.raises(KeyboardInterrupt):
            client.predict_file("triage", texts, tmp_path / "out.csv", on_update=interrupt)
        assert client.bulk.list() == []
        asyncio.run(go())
        assert client.bulk.list() == []
    assert not (tmp_path / "out.csv").exists()
