"""The parts of the page on literal data."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.dashboard.components.instrument_bar import instrument_bar
from include.dashboard.components.sparkline import drawing, sparkline
from include.dashboard.components.watchlist import watchlist
from include.dashboard.formatting import age_text, change_of, price_text, volume_text
from include.dashboard.market_callbacks import chart_foot, chart_notice, freshness
from include.dashboard.market_view import ChartData, MarketView
from include.dashboard.selection import Selection, parse_selection
from include.web.figures import figures
from tests.unit.dashboard.twins import (
    BITCOIN,
    INSTRUMENTS,
    START,
    MemoryMarks,
    MemoryPrices,
    MemoryReader,
    cached,
    candle,
)

SYMBOLS = ["AAPL", "BTC-USD"]


@pytest.mark.parametrize(
    ("search", "expected"),
    [
        ("?symbol=BTC-USD&tf=15m", Selection("BTC-USD", "15m")),
        ("?symbol=btc-usd", Selection("BTC-USD", "1m")),
        ("?symbol=NOPE&tf=2m", Selection("AAPL", "1m")),
        ("", Selection("AAPL", "1m")),
        (None, Selection("AAPL", "1m")),
    ],
)
def test_the_address_holds_symbol_and_timeframe(search: str | None, expected: Selection) -> None:
    assert parse_selection(search, SYMBOLS) == expected
    assert parse_selection(expected.href().removeprefix("/"), SYMBOLS) == expected


def test_the_address_holds_layers_and_range() -> None:
    search = "?symbol=AAPL&tf=5m&show=vwap,sma&from=2026-03-02T14:30&to=2026-03-02T16:00:05"
    found = parse_selection(search, SYMBOLS)
    assert (found.layers, found.start) == (("sma", "vwap"), START)
    assert parse_selection(found.href().removeprefix("/"), SYMBOLS) == found
    assert "from=" not in found.href(symbol="BTC-USD")
    assert found.toggled("sma").endswith("show=vwap&from=2026-03-02T14:30&to=2026-03-02T16:00:05")
    assert parse_selection(found.href(layers=()).removeprefix("/"), SYMBOLS).layers == ()


@given(st.text(max_size=60), st.text(max_size=40), st.text(max_size=40))
def test_any_address_is_a_chart(show: str, start: str, end: str) -> None:
    found = parse_selection("?" + urlencode({"show": show, "from": start, "to": end}), SYMBOLS)
    assert parse_selection(found.href().removeprefix("/"), SYMBOLS) == found


@pytest.mark.parametrize(
    ("start", "end"),
    [("2026-03-02T16:00", "2026-03-02T14:00"), ("0001-01-01", "9999-12-31"), ("2026-03-02T14:30", ""), ("x", "y")],
)
def test_a_range_that_is_none_is_left_out(start: str, end: str) -> None:
    found = parse_selection(f"?from={start}&to={end}", SYMBOLS)
    assert (found.start, found.end) == (None, None)


@pytest.mark.parametrize(
    ("price", "text"),
    [
        ("67250.12000000", "67,250.12"),
        ("101.50000000", "101.50"),
        ("101.12345678", "101.1235"),
        ("0.00001234", "0.00001234"),
        ("2", "2.00"),
    ],
)
def test_prices_are_read_at_their_size(price: str, text: str) -> None:
    assert price_text(Decimal(price)) == text


def test_a_change_has_sign_and_shape_beside_its_colour() -> None:
    assert (change_of(1.254).text, change_of(1.254).direction) == ("▲ +1.25%", "up")
    assert (change_of(-0.5).text, change_of(-0.5).direction) == ("▼ −0.50%", "down")  # noqa: RUF001
    assert (change_of(0.001).text, change_of(None).text) == ("■ 0.00%", "–")  # noqa: RUF001


def test_volumes_and_ages_are_short() -> None:
    volumes = [volume_text(Decimal(each)) for each in ("1234567", "17120", "77.23880000", "0")]
    assert volumes == ["1.23M", "17.12K", "77.2388", "0"]
    assert [age_text(each) for each in (-3, 7.9, 61, 7300, 90_000)] == ["0s", "7s", "1m", "2h", "1d"]


def texts(component: Any) -> list[str]:
    """Every text under the component, in order."""
    if isinstance(component, str):
        return [component]
    if isinstance(component, list | tuple):
        return [text for each in component for text in texts(each)]
    return texts(getattr(component, "children", None) or [])


def view(reader: MemoryReader, cache: MemoryPrices) -> MarketView:
    return MarketView(INSTRUMENTS, reader, cache, MemoryMarks(), figures, clock=lambda: START + timedelta(seconds=7))


def test_a_row_tells_symbol_name_source_age_price_and_change() -> None:
    board = view(MemoryReader(), MemoryPrices({"AAPL": cached("104.25", change_pct=-0.4)})).board()
    rows = watchlist(INSTRUMENTS, board.prices, board.courses, Selection("AAPL", "5m"), board.now)
    assert texts(rows.children[0]) == ["AAPL", "Apple Inc.", "yahoo", " · ", "7s", "104.25", "▼ −0.40%"]  # noqa: RUF001
    assert texts(rows.children[1]) == ["BTC-USD", "Bitcoin", "no price yet", "–", "–"]  # noqa: RUF001


def test_a_row_leads_to_its_symbol_and_keeps_the_timeframe() -> None:
    rows = watchlist(INSTRUMENTS, {}, {}, Selection("AAPL", "5m"), START).children
    assert [row.children.href for row in rows] == ["/?symbol=AAPL&tf=5m", "/?symbol=BTC-USD&tf=5m"]
    assert [getattr(row, "aria-current", None) for row in rows] == ["true", None]


def test_the_bar_offers_every_timeframe_and_marks_the_chosen() -> None:
    _, timeframes = instrument_bar(BITCOIN, None, Selection("BTC-USD", "15m"))
    assert texts(timeframes) == ["1m", "5m", "15m", "1h", "1d"]
    assert [span.className for span in timeframes.children] == ["", "", "chosen", "", ""]


def test_a_course_is_drawn_from_low_to_high() -> None:
    assert 'points="2.0,20.0 70.0,2.0"' in drawing([Decimal(1), Decimal(3)])
    assert 'points="2.0,20.0 70.0,20.0"' in drawing([Decimal(2), Decimal(2)])
    assert not hasattr(sparkline([Decimal(1)]), "style")


def test_an_outage_keeps_the_last_prices_and_candles_and_says_so() -> None:
    reader = MemoryReader([candle(0), candle(0, interval="5m"), candle(5, interval="5m", close="7")])
    cache = MemoryPrices({"AAPL": cached("104.25")})
    watched = view(reader, cache)
    before, chart = watched.board(), watched.chart(Selection("AAPL", "1m"))
    reader.up = cache.up = False
    after, known = watched.board(), watched.chart(Selection("AAPL", "1m"))
    assert (before.reachable, after.reachable) == (True, False)
    assert (after.prices, after.courses) == (before.prices, before.courses)
    assert (known.candles, known.reachable) == (chart.candles, False)
    assert freshness(after)["reachable"] is False
    reader.up = True
    assert watched.board().reachable


def test_the_chart_says_why_it_is_empty() -> None:
    waiting = chart_notice(ChartData([], reachable=True), Selection("AAPL"))
    assert texts(waiting) == ["No candle of AAPL yet", "the stream is starting"]
    down = chart_notice(ChartData([], reachable=False), Selection("AAPL"))
    kept = chart_notice(ChartData([candle(0)], reachable=False), Selection("AAPL"))
    assert (down.className, kept.className) == ("notice trouble", "notice trouble strip")
    assert chart_notice(ChartData([candle(0)], reachable=True), Selection("AAPL")) is None


def test_the_foot_counts_provisional_candles() -> None:
    foot = "".join(chart_foot(ChartData([candle(0), candle(1, is_final=False)], reachable=True)))
    assert foot == (
        "2 candles since 2026-03-02 14:30 · 1 provisional, drawn lighter · hollow rose, filled fell · times in UTC"
    )
