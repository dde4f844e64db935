"""Texts per second of a key, over several processes."""

import asyncio
import subprocess
import sys
import time

import pytest
import redis as redis_client

from app.errors import ServiceError
from app.predictions.holdback import Holdback, Refused
from app.predictions.rates import BURST_SECONDS, LEASE_SECONDS, Rates
from app.principals import Principal

FLOOD = """
import asyncio, sys, time
from app.errors import ServiceError
from app.predictions.holdback import Holdback, Refused
from app.predictions.rates import Rates
from app.principals import Principal

async def flood(url, rate, seconds, size):
    rates, passed = Rates(url), 0
    key = Principal("key_1", "bot", frozenset(), rate)
    await asyncio.sleep(max(0, float(sys.argv[5]) - time.time()))
    began = time.time()
    while time.time() < began + seconds:
        try:
            await rates.take(key, size)
            passed += size
        except ServiceError:
            await asyncio.sleep(0.001)
    print(passed, began, time.time())

asyncio.run(flood(sys.argv[1], float(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4])))
"""


def key(rate: float | None, identifier: str = "key_1") -> Principal:
    return Principal(identifier, "bot", frozenset(), rate)


async def passed(rates: Rates, principal: Principal, requests: int, size: int = 1) -> int:
    found = 0
    for _ in range(requests):
        try:
            await rates.take(principal, size)
            found += 1
        except ServiceError:
            continue
    return found


@pytest.mark.parametrize("size", [1, 7])
def test_two_processes_share_one_limit(redis_url: str, size: int) -> None:
    rate, seconds = 400.0, 6.0
    begin = str(time.time() + 4)
    command = [sys.executable, "-c", FLOOD, redis_url, str(rate), str(seconds), str(size), begin]
    floods = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    told = [flood.communicate(timeout=60)[0].split() for flood in floods]
    total = sum(int(passed) for passed, _, _ in told)
    # On a busy machine one begins late.
    took = max(float(ended) for _, _, ended in told) - min(float(began) for _, began, _ in told)
    allowed = rate * (took + BURST_SECONDS)
    assert 0.9 * rate * seconds <= total <= allowed + 2 * (rate * LEASE_SECONDS + size)


def test_two_services_share_the_limit_of_a_project_over_its_keys(redis_url: str) -> None:
    rate, seconds = 200.0, 3.0

    async def flood(rates: Rates, principal: Principal) -> int:
        found, ends = 0, time.monotonic() + seconds
        while time.monotonic() < ends:
            found += await passed(rates, principal, 1)
            await asyncio.sleep(0.001)
        return found

    async def both() -> list[int]:
        services = [Rates(redis_url), Rates(redis_url)]
        keys = [Principal(f"key_{number}", "bot", frozenset(), None, "support", rate) for number in (1, 2)]
        others = Principal("key_3", "bot", frozenset(), None, "sales", 5000.0)
        try:
            return await asyncio.gather(
                *(flood(service, principal) for service, principal in zip(services, keys, strict=True)),
                passed(services[0], others, 500),
            )
        finally:
            for service in services:
                await service.close()

    first, second, other = asyncio.run(both())
    allowed = rate * (seconds + BURST_SECONDS)
    assert 0.9 * rate * seconds <= first + second <= allowed + 2 * (rate * LEASE_SECONDS + 1)
    assert first > 0
    assert second > 0
    assert other == 500


def test_a_key_is_held_to_its_own_limit_and_its_projects(redis_url: str) -> None:
    async def send(key_rate: float | None, project_rate: float | None) -> int:
        rates = Rates(redis_url)
        principal = Principal(f"key_{key_rate}", "bot", frozenset(), key_rate, f"project-{project_rate}", project_rate)
        try:
            return await passed(rates, principal, 100)
        finally:
            await rates.close()

    assert 1 <= asyncio.run(send(8.0, 100_000.0)) <= 4
    assert 1 <= asyncio.run(send(100_000.0, 9.0)) <= 4


def test_what_a_key_has_saved_up_is_little(redis_url: str) -> None:
    async def flood() -> int:
        rates = Rates(redis_url)
        try:
            return await passed(rates, key(8.0), 100)
        finally:
            await rates.close()

    assert 1 <= asyncio.run(flood()) <= 4


def test_a_batch_larger_than_the_bucket_passes_and_is_waited_off(redis_url: str) -> None:
    async def send() -> str:
        rates = Rates(redis_url)
        try:
            await rates.take(key(10.0), 1000)
            with pytest.raises(ServiceError) as refusal:
                await rates.take(key(10.0), 1)
            await rates.take(key(10.0, "key_2"), 1)
            assert await passed(rates, key(None), 50, 1000) == 50
            assert (refusal.value.problem.status, refusal.value.problem.type) == (429, "urn:gendistil:rate-limited")
            return str((refusal.value.headers or {})["Retry-After"])
        finally:
            await rates.close()

    assert 90 <= int(asyncio.run(send())) <= 100


def test_without_redis_a_process_keeps_the_limit_alone() -> None:
    async def flood() -> int:
        return await passed(Rates("redis://127.0.0.1:1/0"), key(8.0), 100)

    assert 1 <= asyncio.run(flood()) <= 4


def test_a_flood_asks_redis_seldom(redis_url: str) -> None:
    async def flood() -> int:
        rates = Rates(redis_url)
        try:
            return await passed(rates, key(1.0), 500)
        finally:
            await rates.close()

    with redis_client.Redis.from_url(redis_url) as client:
        client.config_resetstat()
        asyncio.run(flood())
        assert client.info("commandstats").get("cmdstat_eval", {}).get("calls", 0) < 50


def test_refusals_wait_for_those_of_the_same_key_alone(redis_url: str) -> None:
    async def refused(rates: Rates, principal: Principal) -> Holdback:
        for _ in range(100):
            try:
                await rates.take(principal, 1)
            except Refused as error:
                return error.holdback
        raise AssertionError("all have passed")

    async def waits() -> tuple[int, int]:
        rates = Rates(redis_url)
        try:
            first, again, other = [await refused(rates, key(1.0, name)) for name in ("key_1", "key_1", "key_2")]
            flood = [asyncio.create_task(first.wait()) for _ in range(20)]
            await asyncio.sleep(0)
            await other.wait()
            late = asyncio.create_task(again.wait())
            await asyncio.sleep(0)
            done = sum(task.done() for task in flood), int(late.done())
            await asyncio.gather(*flood, late)
            return done
        finally:
            await rates.close()

    at_once, late = asyncio.run(waits())
    assert (1 <= at_once < 20, late) == (True, 0)
