"""How many texts per second an API key, and a project, may send, over all API processes together.

A token bucket in Redis (https://en.wikipedia.org/wiki/Token_bucket), from which each process leases a little at a time, so that few
requests wait for Redis. A request passes while the bucket is above zero and takes all its texts, into debt if need be: a batch larger
than the bucket is then waited off. While Redis is away, each process keeps a bucket of its own.
"""

import asyncio
import logging
import math
import time
from dataclasses import dataclass, field
from typing import cast

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from app.predictions.holdback import Holdback, Refused
from app.principals import Principal

logger = logging.getLogger(__name__)

BURST_SECONDS = 0.25
"""A bucket holds what the rate gives in so long, and one text at least."""
LEASE_SECONDS = 0.02
LOCAL_SECONDS = 1.0
"""How long a process goes on alone before it asks Redis again."""
REFUSALS_PER_SECOND = 50.0
"""Of one key or project, in one process."""
_IDLE_SECONDS = 60
_REDIS_SECONDS = 0.25
_TAKE = """
local clock = redis.call('TIME')
local now = tonumber(clock[1]) + tonumber(clock[2]) / 1e6
local rate, burst, needed, wanted = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local bucket = redis.call('HMGET', KEYS[1], 'level', 'at')
local level = math.min(burst, (tonumber(bucket[1]) or burst) + (now - (tonumber(bucket[2]) or now)) * rate)
local granted = 0
if level >= wanted then granted = wanted elseif level > 0 then granted = needed end
level = level - granted
redis.call('HSET', KEYS[1], 'level', tostring(level), 'at', tostring(now))
redis.call('EXPIRE', KEYS[1], tonumber(ARGV[5]) + math.ceil(math.max(0, -level) / rate))
return {tostring(granted), tostring(level)}
"""


@dataclass
class _Key:
    """What this process knows of one key or project: texts that it has leased, and until when there are none."""

    leased: float = 0.0
    blocked_until: float = 0.0
    local: "_Bucket | None" = None
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    refusals: Holdback = field(default_factory=lambda: Holdback(REFUSALS_PER_SECOND))


@dataclass
class _Bucket:
    level: float
    at: float

    def take(self, rate: float, burst: float, needed: float) -> float:
        """The level after it; unchanged at or below zero."""
        now = time.monotonic()
        self.level, self.at = min(burst, self.level + (now - self.at) * rate), now
        if self.level > 0:
            self.level -= needed
            return max(self.level, math.ulp(0.0))
        return self.level


class Rates:
    """Used from one event loop at a time."""

    def __init__(self, redis_url: str) -> None:
        self._url = redis_url
        self._redis: Redis | None = None
        self._keys: dict[str, _Key] = {}
        self._alone_until = 0.0

    async def take(self, principal: Principal, texts: int) -> None:
        """Raises `Refused` with the time to wait if the key, or its project, has sent too much."""
        if (rate := principal.texts_per_second) is not None:
            await self._take(principal.key_id, rate, texts, f"The API key {principal.name!r}")
        if (rate := principal.project_texts_per_second) is not None:
            # A rate of its own, so that whoever is given a higher one need not wait off what the lower one left.
            await self._take(f"project:{principal.project}@{rate:g}", rate, texts, f"The project {principal.project!r}")

    async def _take(self, key_id: str, rate: float, texts: int, who: str) -> None:
        key = self._keys.setdefault(key_id, _Key())
        if (wait := await self._wait(key_id, key, rate, texts)) > 0:
            raise _too_fast(who, rate, wait, key.refusals)
        key.leased -= texts

    async def _wait(self, key_id: str, key: _Key, rate: float, texts: int) -> float:
        """Seconds until so many texts may be sent; 0 once they are leased."""
        if key.leased >= texts:
            return 0.0
        async with key.lock:
            if key.leased >= texts:
                return 0.0
            wait = key.blocked_until - time.monotonic()
            return wait if wait > 0 else await self._lease(key_id, key, rate, texts)

    async def close(self) -> None:
        if self._redis is not None:
            await self._redis.aclose()
            self._redis = None

    async def _lease(self, key_id: str, key: _Key, rate: float, texts: int) -> float:
        """Seconds to wait; 0 once enough is leased."""
        burst = max(1.0, rate * BURST_SECONDS)
        needed = texts - key.leased
        if time.monotonic() >= self._alone_until:
            try:
                granted, level = await self._ask(key_id, rate, burst, needed, max(needed, rate * LEASE_SECONDS))
            except RedisError as error:
                logger.warning("rates are kept by this process alone for a while: %s", error)
                self._alone_until = time.monotonic() + LOCAL_SECONDS
            else:
                key.leased += granted
                return self._block(key, 0.0 if granted else -level, rate, bool(granted))
        if key.local is None:
            key.local = _Bucket(burst, time.monotonic())
        level = key.local.take(rate, burst, needed)
        if level > 0:
            key.leased += needed
        return self._block(key, -level, rate, level > 0)

    def _block(self, key: _Key, debt: float, rate: float, granted: bool) -> float:
        if granted:
            return 0.0
        # At the least until one lease has come together, so that a flood is turned away without Redis.
        wait = max(debt / rate, LEASE_SECONDS)
        key.blocked_until = time.monotonic() + wait
        return wait

    async def _ask(self, key_id: str, rate: float, burst: float, needed: float, wanted: float) -> tuple[float, float]:
        if self._redis is None:
            self._redis = Redis.from_url(
                self._url, socket_timeout=_REDIS_SECONDS, socket_connect_timeout=_REDIS_SECONDS, retry=Retry(NoBackoff(), 0)
            )
        arguments = [str(value) for value in (rate, burst, needed, wanted, _IDLE_SECONDS)]
        found = cast(list[bytes], await self._redis.eval(_TAKE, 1, f"gendistil:rate:{key_id}", *arguments))
        return float(found[0]), float(found[1])


def _too_fast(who: str, rate: float, wait: float, holdback: Holdback) -> Refused:
    seconds = math.ceil(wait)
    remedy = f"Try again in {seconds} s; whoever runs this service can give it a higher limit."
    detail = f"{who} may send {rate:g} texts per second."
    return Refused(429, "rate-limited", detail, remedy=remedy, retry_after=seconds, holdback=holdback)
