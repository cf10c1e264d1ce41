"""What the page says and keeps while a store or the server is away: cut off by a relay, on a dashboard of its own."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest
from playwright.sync_api import Browser, Page, expect

from include.settings import PROJECT_ROOT
from tests.browser.chart import candles_drawn, wait_until
from tests.ports import free_port_offset
from tests.relay import Relay
from tests.waiting import wait_until as wait_for

pytestmark = pytest.mark.browser
#: An outage is on the page within this time.
SOON_MS = 10_000


@dataclass(frozen=True)
class Cut:
    """A dashboard whose ways to the stores can be cut."""

    url: str
    database: Relay
    redis: Relay
    server: subprocess.Popen[bytes]


def through(url: str, relay: Relay) -> str:
    return re.sub(r"(@[^:/]+):\d+", rf"\1:{relay.port}", url)


def port_of(url: str) -> int:
    return int(url.split("@")[1].split(":")[1].split("/")[0])


@pytest.fixture
def cut(stack: Any, tmp_path: Path) -> Iterator[Cut]:
    offset = free_port_offset()
    url = f"http://127.0.0.1:{8050 + offset}"
    with ExitStack() as held:
        relays = [held.enter_context(Relay.to(port_of(stack.env[name]))) for name in ("DATABASE_URL", "REDIS_URL")]
        given = {
            "MARKET": "sandbox",
            "PIPELINE_HOME": str(tmp_path),
            "PIPELINE_PORT_OFFSET": str(offset),
            "DATABASE_URL": through(stack.env["DATABASE_URL"], relays[0]),
            "REDIS_URL": through(stack.env["REDIS_URL"], relays[1]),
        }
        server = subprocess.Popen([sys.executable, "-m", "include.web"], cwd=PROJECT_ROOT, env=os.environ | given)
        held.callback(server.wait)
        held.callback(server.kill)
        wait_for(lambda: _answers(url), seconds=60, what="the dashboard answers")
        yield Cut(url, relays[0], relays[1], server)


def _answers(url: str) -> bool:
    try:
        return httpx2.get(f"{url}/api/v1/instruments").status_code == 200
    except httpx2.HTTPError:
        return False


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    uncaught: list[str] = []
    opened = context.new_page()
    opened.on("pageerror", lambda error: uncaught.append(str(error)))
    yield opened
    context.close()
    assert uncaught == []


def opened(page: Page, url: str) -> None:
    page.goto(url)
    wait_until(page, lambda: len(candles_drawn(page)) > 0, "candles are drawn")
    expect(page.locator("#freshness")).to_have_text(re.compile("Live"), timeout=20_000)


def badge(page: Page, text: str) -> None:
    expect(page.locator("#freshness")).to_have_text(re.compile(text), timeout=SOON_MS)


def test_without_postgresql_the_last_data_stay_and_all_recovers(cut: Cut, page: Page) -> None:
    opened(page, cut.url)
    before = len(candles_drawn(page))
    cut.database.cut()
    badge(page, "Database down · data")
    assert len(candles_drawn(page)) >= before
    expect(page.locator(".watchlist .price").first).to_have_text(re.compile(r"\d"))
    # Another chart is asked for: that it cannot be had is said, and nothing else.
    page.locator(".watchlist .row a").nth(1).click()
    expect(page.locator("#notice")).to_contain_text("The database does not answer", timeout=SOON_MS)
    cut.database.mend()
    badge(page, "Live")
    expect(page.locator("#notice")).to_have_text("", timeout=SOON_MS)
    wait_until(page, lambda: len(candles_drawn(page)) > 0, "candles are drawn again")


def test_without_redis_prices_come_from_the_database(cut: Cut, page: Page) -> None:
    opened(page, cut.url)
    cut.redis.cut()
    badge(page, "Cache down · data")
    expect(page.locator(".watchlist .price").first).to_have_text(re.compile(r"\d"))
    cut.redis.mend()
    badge(page, "Live")


def test_opened_during_an_outage_it_says_so_and_fills_by_itself(cut: Cut, page: Page) -> None:
    cut.database.cut()
    page.goto(cut.url)
    expect(page.locator("#notice")).to_contain_text("The database does not answer", timeout=SOON_MS)
    badge(page, "Database down")
    cut.database.mend()
    wait_until(page, lambda: len(candles_drawn(page)) > 0, "candles are drawn")
    badge(page, "Live")


def test_a_server_that_is_silent_or_gone_is_noticed(cut: Cut, page: Page) -> None:
    opened(page, cut.url)
    before = candles_drawn(page)
    cut.server.send_signal(signal.SIGSTOP)
    badge(page, "Connection lost · data")
    assert len(candles_drawn(page)) >= len(before)
    cut.server.send_signal(signal.SIGCONT)
    badge(page, r"(Live|Polling) ·")
    cut.server.kill()
    badge(page, "Connection lost · data")


def test_without_a_socket_it_asks_every_ten_seconds(cut: Cut, page: Page) -> None:
    page.route_web_socket(re.compile("/live"), lambda socket: socket.close())
    page.goto(cut.url)
    wait_until(page, lambda: len(candles_drawn(page)) > 0, "candles are drawn")
    badge(page, r"Polling · \d+s")
    with page.expect_response(re.compile("/live"), timeout=15_000) as answer:
        pass
    assert answer.value.ok
    badge(page, r"Polling · \d+s")
