"""The page as a person uses it, against the running stack."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from include.dashboard.formatting import price_text
from tests.browser.chart import REFRESH_S, bring_prices, candles_drawn, figure, wait_for_candles, wait_until
from tests.browser.conftest import Visit

pytestmark = pytest.mark.browser
UPDATE = re.compile(r"/_dash-update-component")


def api(page: Page, url: str) -> Any:
    answer = page.request.get(url)
    assert answer.ok, f"{url}: {answer.status}"
    return answer.json()


def plot_middle(page: Page) -> tuple[float, float]:
    box = page.locator(".js-plotly-plot .nsewdrag").first.bounding_box()
    assert box is not None
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def time_range(page: Page) -> list[str]:
    drawn = figure(page)
    assert drawn is not None
    return [str(edge) for edge in drawn["range"]]


def within_a_second(one: list[str], other: list[str]) -> bool:
    pairs = zip(one, other, strict=True)
    return all(
        abs(datetime.fromisoformat(left[:19]) - datetime.fromisoformat(right[:19])) <= timedelta(seconds=1)
        for left, right in pairs
    )


def test_every_symbol_shows_the_price_of_the_api(visit: Visit, dashboard_url: str, symbols: list[str]) -> None:
    page = visit()
    for symbol in symbols:
        expect(page.locator(f".watchlist [data-symbol='{symbol}'] .price")).to_have_text(
            re.compile(r"\d"), timeout=20_000
        )

    def same() -> bool:
        prices = {
            each["symbol"]: Decimal(each["price"]) for each in api(page, f"{dashboard_url}/api/v1/prices")["prices"]
        }
        rows = [page.locator(f".watchlist [data-symbol='{symbol}'] .price") for symbol in symbols]
        shown = {
            symbol: (Decimal(row.get_attribute("data-price") or "0"), row.inner_text())
            for symbol, row in zip(symbols, rows, strict=True)
        }
        return shown == {symbol: (price, price_text(price)) for symbol, price in prices.items()}

    wait_until(page, same, "the page shows the prices of the API", seconds=3 * REFRESH_S)


def test_the_chart_draws_the_candles_of_the_api(visit: Visit, dashboard_url: str, symbols: list[str]) -> None:
    symbol = symbols[-1]
    page = visit(f"/?symbol={symbol}&tf=1m")
    wait_for_candles(page, symbol, "1m")

    def same() -> bool:
        found = api(page, f"{dashboard_url}/api/v1/candles/{symbol}?interval=1m&limit=500")["candles"]
        expected = {
            each["window_start"].removesuffix("Z"): {
                name: None if each[name] is None else float(each[name])
                for name in ("open", "high", "low", "close", "volume")
            }
            for each in found
        }
        return candles_drawn(page) == expected

    wait_until(page, same, "the chart draws the candles of the API", seconds=3 * REFRESH_S)


def test_symbol_and_timeframe_are_chosen_by_a_click_and_kept_in_the_address(visit: Visit, symbols: list[str]) -> None:
    first, other = symbols[0], symbols[-1]
    page = visit()
    wait_for_candles(page, first, "1m")
    page.locator(f"[data-symbol='{other}'] a").click()
    wait_for_candles(page, other, "1m")
    page.get_by_role("navigation", name="Timeframe").get_by_text("5m", exact=True).click()
    wait_for_candles(page, other, "5m")
    expect(page).to_have_url(re.compile(re.escape(f"/?symbol={other}&tf=5m")))
    expect(page.locator("h1")).to_contain_text(other)
    expect(page.locator("[data-symbol][aria-current]")).to_have_attribute("data-symbol", other)
    page.reload()
    wait_for_candles(page, other, "5m")
    page.go_back()
    wait_for_candles(page, other, "1m")


def test_coarser_candles_add_up(visit: Visit, symbols: list[str]) -> None:
    page = visit(f"/?symbol={symbols[0]}&tf=15m")
    wait_for_candles(page, symbols[0], "15m")
    assert {moment[14:] for moment in candles_drawn(page)} <= {"00:00", "15:00", "30:00", "45:00"}


def updated(page: Page, stack: Any, asset: str) -> None:
    """Until what is drawn has changed by itself, by prices that have just been fetched."""
    before = candles_drawn(page)
    bring_prices(stack, asset)
    wait_until(page, lambda: candles_drawn(page) != before, "the chart has gone on", seconds=3 * REFRESH_S)


def test_it_goes_on_by_itself_without_a_reload_or_a_question(visit: Visit, symbols: list[str], stack: Any) -> None:
    page = visit(f"/?symbol={symbols[-1]}")
    wait_for_candles(page, symbols[-1], "1m")
    expect(page.locator("#freshness")).to_have_text(re.compile(r"Live · \d+s"), timeout=20_000)
    page.evaluate("() => { window.sameDocument = true; }")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    updated(page, stack, "crypto")
    assert page.evaluate("() => window.sameDocument") is True
    # The list of alerts may have been drawn anew; the chart and the prices were pushed.
    assert [url for url in asked if "/live" in url] == []


def test_zoom_outlives_the_refresh_and_a_click_leads_back(visit: Visit, symbols: list[str], stack: Any) -> None:
    page = visit()
    wait_for_candles(page, symbols[0], "1m")
    back = page.get_by_role("button", name="Back to now")
    expect(back).to_be_hidden()
    opened = time_range(page)
    page.mouse.move(*plot_middle(page))
    page.mouse.wheel(0, -400)
    expect(back).to_be_visible()
    zoomed = time_range(page)
    assert zoomed != opened
    updated(page, stack, "stocks")
    assert time_range(page) == zoomed
    expect(page).to_have_url(re.compile(r"from=.*&to="))
    page.reload()
    wait_for_candles(page, symbols[0], "1m")
    wait_until(page, lambda: within_a_second(time_range(page), zoomed), "the range of the address is in view")
    back.click()
    wait_until(page, lambda: time_range(page) >= opened, "the newest candles are in view again")
    expect(page).not_to_have_url(re.compile("from="))
    expect(back).to_be_hidden()


def test_the_legend_follows_the_crosshair(visit: Visit, symbols: list[str]) -> None:
    page = visit()
    wait_for_candles(page, symbols[0], "1m")
    legend = page.locator("#legend")
    expect(legend).to_contain_text("Vol")
    x, y = plot_middle(page)
    drawn = candles_drawn(page)
    newest = max(drawn).replace("T", " ")[:16]
    expect(legend).to_contain_text(newest)
    # A hand is never quite still.
    steps = count()

    def followed() -> bool:
        page.mouse.move(x + next(steps) % 3, y)
        return newest not in legend.inner_text()

    wait_until(page, followed, "the legend tells of the candle under the crosshair")
    moment = legend.locator(".moment").inner_text().replace(" ", "T") + ":00"
    shown = legend.locator(".pair", has_text="C").first.locator("span").last.inner_text()
    assert price_text(Decimal(str(drawn[moment]["close"]))) == shown


def test_a_symbol_is_chosen_by_keyboard(visit: Visit, symbols: list[str]) -> None:
    page = visit()
    wait_for_candles(page, symbols[0], "1m")
    link = page.locator(f"[data-symbol='{symbols[1]}'] a")
    link.focus()
    page.keyboard.press("Enter")
    wait_for_candles(page, symbols[1], "1m")


def test_the_documentation_opens_without_another_host(visit: Visit, dashboard_url: str) -> None:
    page = visit("/api/docs")
    routes = api(page, f"{dashboard_url}/api/openapi.json")["paths"]
    assert "/api/v1/quality" in routes
    expect(page.locator("h2")).to_have_count(len(routes))


@pytest.mark.parametrize(
    ("name", "width", "height", "scheme"),
    [
        ("desktop-dark", 1440, 900, "dark"),
        ("desktop-light", 1440, 900, "light"),
        ("phone", 390, 844, "dark"),
        ("smallest", 360, 740, "light"),
        ("wide", 3840, 2160, "dark"),
    ],
)
def test_the_page_fits_every_screen(
    visit: Visit, symbols: list[str], screenshots: Path, name: str, width: int, height: int, scheme: str
) -> None:
    page = visit(width=width, height=height, scheme=scheme)
    wait_for_candles(page, symbols[0], "1m")
    expect(page.locator("html")).to_have_attribute("data-mantine-color-scheme", scheme)
    expect(page.locator(".row")).to_have_count(len(symbols))
    page.screenshot(path=screenshots / f"{name}.png", full_page=width < 860)
    assert page.evaluate("() => document.documentElement.scrollWidth") <= width
    # One column on a phone, chart first; two beside each other on a desk.
    chart, listed = (page.locator(each).bounding_box() for each in (".chart-panel", ".list-panel >> nth=0"))
    assert chart is not None
    assert listed is not None
    assert chart["height"] > 250
    assert (chart["y"] < listed["y"]) if width < 860 else (chart["y"] == listed["y"])
