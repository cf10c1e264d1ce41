"""The market page by a person's path: layers, keys, search, deep links, files, alerts; and what axe-core finds."""

from __future__ import annotations

import csv
import json
import re
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from include.dashboard.live import NEWEST_WINDOWS
from include.storage.cache import CacheManager
from include.storage.database import libpq_url
from tests.browser.chart import bring_prices, candles_drawn, figure, wait_for_candles, wait_until
from tests.browser.conftest import Visit
from tests.browser.test_dashboard import api, time_range

pytestmark = pytest.mark.browser


def names(page: Page) -> set[str]:
    drawn = figure(page)
    return {trace["name"] for trace in drawn["data"]} if drawn else set()


def layer(page: Page, label: str) -> Any:
    return page.get_by_role("navigation", name="Indicators and marks").get_by_text(label, exact=True)


@pytest.fixture
def owner(stack: Any) -> Iterator[psycopg.Connection]:
    with psycopg.connect(libpq_url(stack.env["DATABASE_URL"]), autocommit=True) as connection:
        yield connection


def test_layers_are_laid_over_the_chart_and_kept_in_the_address(visit: Visit, symbols: list[str]) -> None:
    page = visit()
    wait_for_candles(page, symbols[0], "1m")
    assert {"sma", "band upper", "band lower"} <= names(page)
    layer(page, "VWAP").click()
    wait_until(page, lambda: "vwap" in names(page), "VWAP is drawn")
    layer(page, "SMA").click()
    wait_until(page, lambda: "sma" not in names(page), "SMA is gone")
    expect(page).to_have_url(re.compile("show=bands,vwap,anomalies,gaps"))
    page.reload()
    wait_for_candles(page, symbols[0], "1m")
    assert "vwap" in names(page)
    assert "sma" not in names(page)


def test_what_is_drawn_are_the_stored_indicators(visit: Visit, symbols: list[str], owner: psycopg.Connection) -> None:
    page = visit(f"/?symbol={symbols[0]}&tf=5m&show=sma,ema,bands,volatility")
    wait_for_candles(page, symbols[0], "5m")
    stored = owner.execute(
        "SELECT to_char(window_start AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS'), sma_20, ema_26, volatility_20"
        " FROM indicators WHERE symbol = %s AND interval = '5m' AND window_start < now() - interval '30 minutes'"
        " ORDER BY window_start DESC LIMIT 40",
        (symbols[0],),
    ).fetchall()
    drawn = figure(page)
    assert drawn is not None
    traces = {trace["name"]: dict(zip(trace["x"], trace["y"], strict=True)) for trace in drawn["data"] if "y" in trace}
    assert len(stored) > 20
    for moment, *figures in stored:
        shown = [traces[name][moment] for name in ("sma", "ema slow", "volatility")]
        assert shown == [None if each is None else pytest.approx(float(each), rel=1e-12) for each in figures]


def test_coarse_candles_have_their_layers_too(visit: Visit, symbols: list[str]) -> None:
    page = visit(f"/?symbol={symbols[0]}&tf=15m&show=ema,volatility")
    wait_for_candles(page, symbols[0], "15m")
    drawn = figure(page)
    assert drawn is not None
    [slow] = [trace for trace in drawn["data"] if trace["name"] == "ema slow"]
    assert slow["x"] == sorted(candles_drawn(page))
    assert all(value is not None for value in slow["y"])


def test_the_keys_lead_through_the_page(visit: Visit, symbols: list[str]) -> None:
    page = visit()
    wait_for_candles(page, symbols[0], "1m")
    for key, timeframe in (("5", "5m"), ("d", "1d"), ("H", "1h"), ("1", "1m")):
        page.keyboard.press(key)
        wait_for_candles(page, symbols[0], timeframe)
    page.keyboard.press("ArrowDown")
    wait_for_candles(page, symbols[1], "1m")
    page.keyboard.press("ArrowUp")
    wait_for_candles(page, symbols[0], "1m")
    opened = time_range(page)
    page.keyboard.press("ArrowLeft")
    wait_until(page, lambda: time_range(page) < opened, "earlier candles are in view")
    page.keyboard.press("0")
    wait_until(page, lambda: time_range(page) >= opened, "the newest candles are in view again")
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()


def test_a_reader_who_moves_keeps_what_was_pushed(visit: Visit, symbols: list[str], stack: Any) -> None:
    page = visit(f"/?symbol={symbols[-1]}")
    wait_for_candles(page, symbols[-1], "1m")
    expect(page.locator("#freshness")).to_have_text(re.compile("Live"), timeout=20_000)
    opened = candles_drawn(page)
    bring_prices(stack, "crypto")
    wait_until(page, lambda: candles_drawn(page) != opened, "an update is drawn")
    pushed = candles_drawn(page)
    newest = max(pushed)
    for key in ("ArrowLeft", "0", "ArrowLeft"):
        before = time_range(page)
        page.keyboard.press(key)
        wait_until(page, lambda before=before: time_range(page) != before, "the view has moved")
        page.wait_for_timeout(300)
        drawn = candles_drawn(page)
        assert max(drawn) >= newest
        assert drawn.keys() >= pushed.keys()
        assert drawn[newest] != opened.get(newest), f"{key} brought back what was drawn at first"


def test_a_symbol_is_found_by_its_name(visit: Visit, symbols: list[str]) -> None:
    page = visit()
    wait_for_candles(page, symbols[0], "1m")
    page.keyboard.press("/")
    search = page.locator("#search")
    expect(search).to_be_focused()
    page.keyboard.type("bitco")
    expect(page.locator(".row:visible")).to_have_count(1)
    page.keyboard.press("Enter")
    wait_for_candles(page, "BTC-USD", "1m")
    expect(page.locator(".row:visible")).to_have_count(len(symbols))
    page.keyboard.press("/")
    page.keyboard.type("<script>alert(1)</script>")
    expect(page.locator("#none-found")).to_be_visible()


def test_a_deep_link_opens_on_its_range_and_keys_lead_out_of_it(visit: Visit, symbols: list[str]) -> None:
    page = visit(f"/?symbol={symbols[0]}&tf=1m")
    wait_for_candles(page, symbols[0], "1m")
    oldest = datetime.fromisoformat(min(candles_drawn(page)))
    start, end = oldest + timedelta(minutes=20), oldest + timedelta(minutes=50)
    page = visit(f"/?symbol={symbols[0]}&tf=1m&from={start:%Y-%m-%dT%H:%M}&to={end:%Y-%m-%dT%H:%M}")
    wait_for_candles(page, symbols[0], "1m")
    shown = [datetime.fromisoformat(edge[:19].replace(" ", "T").ljust(19, "0")) for edge in time_range(page)]
    assert [abs(one - other) < timedelta(seconds=1) for one, other in zip(shown, (start, end), strict=True)]
    expect(page.get_by_role("button", name="Back to now")).to_be_visible()
    page.keyboard.press("ArrowLeft")
    wait_until(page, lambda: time_range(page)[0][:16] < f"{start:%Y-%m-%dT%H:%M}", "earlier candles are in view")
    expect(page).not_to_have_url(re.compile(f"from={start:%Y-%m-%dT%H:%M}&"))
    # Another layer, the same view.
    left = time_range(page)
    layer(page, "EMA").click()
    wait_until(page, lambda: "ema fast" in names(page), "EMA is drawn")
    assert [edge[:16] for edge in time_range(page)] == [edge[:16] for edge in left]
    expect(page).to_have_url(re.compile(f"from={left[0][:16]}"))


def test_the_chart_is_taken_along_as_a_table_and_as_a_picture(
    visit: Visit, symbols: list[str], dashboard_url: str, tmp_path: Path
) -> None:
    page = visit(f"/?symbol={symbols[0]}&tf=5m")
    wait_for_candles(page, symbols[0], "5m")
    with page.expect_download() as table:
        page.get_by_role("button", name="CSV").click()
    assert table.value.suggested_filename == f"{symbols[0]}-5m.csv"
    table.value.save_as(tmp_path / "table.csv")
    rows = {row["window_start"]: row for row in csv.DictReader((tmp_path / "table.csv").open())}
    stored = api(page, f"{dashboard_url}/api/v1/candles/{symbols[0]}?interval=5m&limit=500")["candles"]
    final = [each for each in stored if each["is_final"]]
    assert len(final) > 20
    for each in final:
        row = rows[each["window_start"]]
        assert [row[name] for name in ("open", "high", "low", "close", "volume", "vwap")] == [
            each[name] or "" for name in ("open", "high", "low", "close", "volume", "vwap")
        ]
    with page.expect_download() as picture:
        page.get_by_role("button", name="PNG", exact=True).click()
    picture.value.save_as(tmp_path / "chart.png")
    assert (tmp_path / "chart.png").read_bytes().startswith(b"\x89PNG")


def test_an_anomaly_is_told_leads_to_its_bar_and_is_acknowledged(
    visit: Visit, symbols: list[str], owner: psycopg.Connection
) -> None:
    page = visit(f"/?symbol={symbols[0]}")
    wait_for_candles(page, symbols[0], "1m")
    expect(page.locator("#alerts .alert, #alerts .notice").first).to_be_visible()
    [(at,)] = owner.execute(
        "SELECT window_start FROM candles WHERE symbol = %s AND interval = '5m' AND is_final"
        " ORDER BY window_start DESC OFFSET 3 LIMIT 1",
        (symbols[1],),
    ).fetchall()
    key = (symbols[1], "5m", at, "price")
    owner.execute(
        "INSERT INTO price_anomalies (symbol, interval, window_start, metric, value, mean, stddev, z_score, severity,"
        " detected_at) VALUES (%s, %s, %s, %s, 0.07, 0, 0.01, 7, 'critical', now())"
        " ON CONFLICT (symbol, interval, window_start, metric) DO UPDATE SET z_score = 7, severity = 'critical',"
        " detected_at = now()",
        key,
    )
    try:
        row = page.locator(f".alert[data-key='anomaly {symbols[1]} 5m {at.isoformat()} price']")
        # It comes by itself.
        expect(row).to_be_visible(timeout=10_000)
        expect(row).to_contain_text("z +7.0")
        row.locator("a").click()
        wait_for_candles(page, symbols[1], "5m")
        moment = f"{at:%Y-%m-%dT%H:%M:%S}"
        drawn = figure(page)
        assert drawn is not None
        [marks] = [trace for trace in drawn["data"] if trace["name"] == "price anomalies"]
        assert moment in marks["x"]
        assert time_range(page)[0] < moment < time_range(page)[1]
        row.get_by_role("button", name="Acknowledge").click()
        expect(row).to_have_class(re.compile("over"))
        seen = owner.execute(
            "SELECT acknowledged_by FROM anomaly_acknowledgements"
            " WHERE (symbol, interval, window_start, metric) = (%s, %s, %s, %s)",
            key,
        ).fetchall()
        assert seen == [("dashboard",)]
    finally:
        owner.execute(
            "DELETE FROM price_anomalies WHERE (symbol, interval, window_start, metric) = (%s, %s, %s, %s)", key
        )
        owner.execute(
            "DELETE FROM anomaly_acknowledgements WHERE (symbol, interval, window_start, metric) = (%s, %s, %s, %s)",
            key,
        )


def seconds_until(page: Page, holds: Callable[[], bool]) -> float:
    began = time.monotonic()
    wait_until(page, holds, "it is on the page")
    return time.monotonic() - began


def test_a_price_is_on_the_page_within_a_second_of_redis(visit: Visit, symbols: list[str], stack: Any) -> None:
    page = visit()
    wait_for_candles(page, symbols[0], "1m")
    expect(page.locator("#freshness")).to_have_text(re.compile("Live"), timeout=20_000)
    cache = CacheManager(stack.env["REDIS_URL"])
    held = cache.get_latest("SOL-USD")
    assert held is not None
    cell = page.locator(".watchlist [data-symbol='SOL-USD'] .price")
    took = []
    for cents in (11, 22, 33):
        wanted = f"{float(held['price']) * 1.001:.0f}.{cents}"
        cache.set_latest_price("SOL-USD", wanted, source="binance", currency="USDT")
        took.append(seconds_until(page, lambda wanted=wanted: cell.get_attribute("data-price") == wanted))
    assert min(took) < 1.0
    expect(page.locator("#freshness")).to_have_attribute(
        "title", re.compile(r"pushed as it comes; from event to pixel \d+\.\d s, p99 \d+\.\d s of the last \d+ prices")
    )


def test_an_update_brings_the_newest_candles_only(visit: Visit, symbols: list[str], stack: Any) -> None:
    sent: list[int] = []

    def keep(frame: Any) -> None:
        updates = [each for each in json.loads(frame) if each["type"] == "chart"]
        sent.extend(len(each["traces"]["volume"]["x"]) for each in updates)

    page = visit("/api/docs")
    page.on("websocket", lambda socket: socket.on("framereceived", keep) if "/live" in socket.url else None)
    page.goto(page.url.replace("/api/docs", f"/?symbol={symbols[-1]}"))
    wait_for_candles(page, symbols[-1], "1m")
    bring_prices(stack, "crypto")
    # Now and then one reaches further back, for what a late event changed.
    wait_until(page, lambda: 0 < min(sent, default=0) <= NEWEST_WINDOWS, "an update of the newest candles")


@pytest.mark.parametrize(
    ("address", "scheme", "width"),
    [
        ("/", "dark", 1440),
        ("/", "light", 1440),
        ("/?tf=5m", "dark", 390),
        ("/quality", "dark", 1440),
        ("/operations", "light", 1440),
    ],
)
def test_no_serious_hindrance_is_found(visit: Visit, symbols: list[str], address: str, scheme: str, width: int) -> None:
    page = visit(address, scheme=scheme, width=width, bypass_csp=True)
    if address.startswith("/operations"):
        expect(page.locator("#topics tbody tr").first).to_be_visible(timeout=20_000)
        expect(page.locator("#dag-runs tbody tr").first).to_be_visible(timeout=20_000)
    elif address.startswith("/quality"):
        expect(page.get_by_role("heading", level=1)).to_be_visible(timeout=20_000)
    else:
        wait_until(page, lambda: len(candles_drawn(page)) > 0, "candles")
        expect(page.locator("#alerts .alert, #alerts .notice").first).to_be_visible()
    # The inside of the grid is its maker's.
    found = Axe().run(page, context={"exclude": [[".ag-root-wrapper"]]}).response["violations"]
    serious = {
        each["id"]: [node["html"][:160] for node in each["nodes"]]
        for each in found
        if each["impact"] in ("serious", "critical")
    }
    assert serious == {}
