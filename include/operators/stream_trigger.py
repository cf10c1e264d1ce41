"""The watch between two runs: looks at the lease every second, in the triggerer, and holds no worker."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import psycopg
from airflow.sdk import Connection
from airflow.triggers.base import BaseTrigger, TaskSuccessEvent, TriggerEvent
from psycopg.rows import dict_row

from include.operations.stream import SPARK_DRIVER, dice, halted, seen
from include.operations.stream_report import lines, report
from include.operations.supervision import Action, decide
from include.operators.services import url_of
from include.operators.stream_link import SparkUiLink
from include.storage.lease import application_name
from include.storage.supervision import CONNECT_SECONDS, LEASE, SERVER, STARTS, Record, record_of

POLL_SECONDS = 1.0
Rows = psycopg.AsyncConnection[dict[str, Any]]


class StreamTrigger(BaseTrigger):
    """Fires when a step is to be taken; else ends the task in time, with the report as its result.

    Copies of it may run at once, and it may be lost: the next run does the same. It changes nothing.
    """

    def __init__(self, until: str, start_seconds: float = 120.0, database: str = "postgres_default") -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.until = until
        self.start_seconds = start_seconds
        self.database = database

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """By the connection's id: its secret stays where it is."""
        given = {"until": self.until, "start_seconds": self.start_seconds, "database": self.database}
        return f"{type(self).__module__}.{type(self).__qualname__}", given

    async def run(self) -> AsyncIterator[TriggerEvent]:
        url = url_of(await Connection.async_get(self.database))
        yield await self.watch(url)

    async def watch(self, url: str) -> TriggerEvent:
        """The one event."""
        until = datetime.fromisoformat(self.until)
        trouble = ""
        while True:
            try:
                return await self._watch_connected(url, until)
            except psycopg.OperationalError as failure:
                if str(failure) != trouble:
                    self.log.warning("PostgreSQL does not answer, trying again: %s", failure)
                trouble = str(failure)
            if datetime.now(UTC) >= until:
                # The worker's step says it as the run's failure, if it is so still.
                return _event(f"PostgreSQL does not answer: {trouble.strip()}")
            await asyncio.sleep(POLL_SECONDS)

    async def _watch_connected(self, url: str, until: datetime) -> TriggerEvent:
        connected = await psycopg.AsyncConnection.connect(
            url,
            autocommit=True,
            row_factory=dict_row,
            connect_timeout=CONNECT_SECONDS,
            application_name=f"watch of {SPARK_DRIVER.name}",
        )
        rules = replace(SPARK_DRIVER.rules, start_seconds=self.start_seconds)
        async with connected as connection:
            while True:
                now = seen(await _read(connection))
                verdict = decide(now, dice(SPARK_DRIVER.name), rules)
                told = report(SPARK_DRIVER.name, now, verdict)
                if verdict.action is not Action.NOTHING or halted(told):
                    return _event(f"{verdict.state}: {verdict.why}")
                if datetime.now(UTC) >= until:
                    for line in lines(told):
                        self.log.info("%s", line)
                    return TaskSuccessEvent(xcoms={"return_value": told, SparkUiLink.xcom_key: told["spark_ui"] or ""})
                await asyncio.sleep(POLL_SECONDS)


def _event(why: str) -> TriggerEvent:
    return TriggerEvent({"why": why})  # type: ignore[no-untyped-call]


async def _read(connection: Rows) -> Record:
    lease = await (await connection.execute(LEASE, (SPARK_DRIVER.name,))).fetchone()
    starts = await (await connection.execute(STARTS, (SPARK_DRIVER.name,))).fetchall()
    name = application_name(lease["epoch"] if lease else 0, SPARK_DRIVER.name)
    server = await (await connection.execute(SERVER, (name,))).fetchone()
    assert server is not None  # it has no FROM
    return record_of(lease, starts, server)
