"""Sends what is due. Any number of processes may do so at once: the row says whose turn it is."""

import asyncio
import logging
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

from sqlalchemy.exc import SQLAlchemyError

from app.config import WebhookSettings, get_settings
from app.database import read_session_factory, transaction
from app.ownership import every_project
from app.webhooks.attempts import Outcome, attempt
from app.webhooks.deliveries import Claimed, any_due, claim_due, record, remove_old
from app.webhooks.signing import signed_headers

logger = logging.getLogger(__name__)
_CLEANING_SECONDS = 3600.0


def run_sender(stop: threading.Event) -> None:
    """Sends messages until `stop` is set; what is under way then is sent again by whoever comes next. For a thread of its own."""
    with every_project():
        asyncio.run(Sender(get_settings().webhooks).run(stop))


class Sender:
    """Several messages at a time, in one event loop. The rows are read and written in other threads."""

    def __init__(self, settings: WebhookSettings) -> None:
        self._settings = settings
        self._under_way: dict[asyncio.Task[None], str] = {}

    async def run(self, stop: threading.Event) -> None:
        # A name that is not resolved in time keeps its thread until the resolver gives up, and rows need some meanwhile.
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(4 * self._settings.concurrency, "webhooks"))
        cleaned = time.monotonic()
        while not stop.is_set():
            try:
                if await self.send_due():
                    continue
                if time.monotonic() - cleaned >= _CLEANING_SECONDS:
                    cleaned = time.monotonic()
                    await asyncio.to_thread(self._clean)
            except SQLAlchemyError as error:
                logger.warning("webhooks: database not reached: %s", error)
            except Exception:  # whatever it was, messages go on
                logger.exception("webhooks: a round failed")
            await asyncio.sleep(self._settings.poll_seconds)

    async def send_due(self) -> int:
        """Takes as many as there is room for; returns how many it took. Does not wait for them, see `idle`."""
        room = self._settings.concurrency - len(self._under_way)
        if room <= 0:
            return 0
        taken = await asyncio.to_thread(self._claim, room, Counter(self._under_way.values()))
        for claimed in taken:
            task = asyncio.create_task(self._send(claimed))
            self._under_way[task] = claimed.webhook_id
            task.add_done_callback(self._under_way.pop)
        return len(taken)

    async def idle(self) -> None:
        """Returns once nothing is under way."""
        while self._under_way:
            await asyncio.wait(self._under_way)

    def _claim(self, room: int, busy: Counter[str]) -> list[Claimed]:
        with read_session_factory()() as session:
            if not any_due(session):
                return []
        with transaction() as session:
            return claim_due(session, room, busy, self._settings)

    async def _send(self, claimed: Claimed) -> None:
        try:
            headers = signed_headers(claimed.keys, claimed.id, int(time.time()), claimed.body)
            outcome = await attempt(claimed.url, claimed.body, headers, self._settings)
        except Exception as error:  # a fault of this service: written down too, or the message would be tried for ever
            logger.exception("webhooks: %s failed", claimed.id)
            outcome = Outcome(error={"type": "internal", "detail": f"{type(error).__name__}: {error}"[:500]})
        try:
            await asyncio.to_thread(self._record, claimed, outcome)
        except SQLAlchemyError as error:  # sent again once its lease is over
            logger.warning("webhooks: what came of %s is not written: %s", claimed.id, error)

    def _record(self, claimed: Claimed, outcome: Outcome) -> None:
        with transaction() as session:
            record(session, claimed, outcome, self._settings)
        if outcome.error is not None:
            logger.info("webhook %s: attempt %s of %s failed: %s", claimed.webhook_id, claimed.attempt, claimed.id, outcome.error["type"])

    def _clean(self) -> None:
        with transaction() as session:
            if removed := remove_old(session, self._settings):
                logger.info("%s old webhook messages removed from the log", removed)
