from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from include.sandbox.bars import DAY, MINUTE
from include.sandbox.simulated import SimulatedMarket
from tests.unit.sandbox.conftest import NOW, at, client, flat, replay, write_recording

RUNNING = NOW - NOW % MINUTE


def chart(market: Any, id_: str, now: float = NOW, **params: Any) -> Any:
    answer = client(market, now).get(f"/yahoo/v8/finance/chart/{id_}", params=params)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/json;charset=utf-8"
    body = answer.json(parse_float=Decimal)
    assert body["chart"]["error"] is None
    (result,) = body["chart"]["result"]
    return result


def rows(result: Any) -> list[tuple[Any, ...]]:
    (quote,) = result["indicators"]["quote"]
    columns = [quote[name] for name in ("open", "high", "low", "close", "volume")]
    return list(zip(result["timestamp"], *columns, strict=True))


@pytest.mark.parametrize("prepost", ["false", "true"])
def test_minutes_are_the_markets_to_the_last_digit(simulated: SimulatedMarket, prepost: str) -> None:
    # META's real daily figures are finer than a cent.
    start, end = NOW - 8 * DAY, RUNNING - DAY
    result = chart(simulated, "META", interval="1m", period1=start, period2=end, includePrePost=prepost)
    assert rows(result) == [tuple(bar) for bar in simulated.minutes("META", start, end)]
    assert any(price % Decimal("0.01") for row in rows(result) for price in row[1:5])
    assert result["meta"]["priceHint"] == 4


def test_the_range_is_closed_at_its_start_and_open_at_its_end(simulated: SimulatedMarket) -> None:
    start, end = RUNNING - 1200, RUNNING - 600
    result = chart(simulated, "AAPL", interval="1m", period1=start, period2=end)
    assert result["timestamp"] == list(range(start, end, 60))


@pytest.mark.parametrize("period2", [NOW + 1, NOW + DAY, RUNNING])
def test_the_last_row_is_live_where_the_range_reaches_now(simulated: SimulatedMarket, period2: int) -> None:
    result = chart(simulated, "AAPL", interval="1m", period1=RUNNING - 300, period2=period2)
    *_, closed, last = [row for row in rows(result) if row[0] != RUNNING]
    price = result["meta"]["regularMarketPrice"]
    assert last == (NOW, price, price, price, price, 0)
    assert closed == tuple(next(iter(simulated.minutes("AAPL", RUNNING - 60, RUNNING))))
    running = [row for row in rows(result) if row[0] == RUNNING]
    assert len(running) == (period2 > RUNNING)
    if running:
        assert 0 < running[0][5] < next(iter(simulated.minutes("AAPL", RUNNING, NOW))).volume
        assert running[0][4] == price


def test_there_is_no_live_row_in_the_past_nor_on_the_grid(simulated: SimulatedMarket) -> None:
    past = chart(simulated, "AAPL", interval="1m", period1=RUNNING - 600, period2=RUNNING - 60)
    assert past["timestamp"][-1] == RUNNING - 120
    on_grid = chart(simulated, "AAPL", now=RUNNING, interval="1m", period1=RUNNING - 600, period2=RUNNING + 1)
    assert on_grid["timestamp"][-2:] == [RUNNING - 60, RUNNING]
    begun = chart(simulated, "AAPL", now=RUNNING, interval="1m", period1=RUNNING - 600, period2=RUNNING)
    assert begun["timestamp"][-1] == RUNNING - 60


def test_the_shape_is_the_recorded_one(simulated: SimulatedMarket, shared_data: Path) -> None:
    folder = shared_data / "responses" / "yahoo"
    (recorded,) = json.loads((folder / "chart_AAPL_1m_20241002.json").read_text())["chart"]["result"]
    ours = chart(simulated, "AAPL", interval="1m", period1=NOW - DAY, period2=NOW)
    # We do not look back a year, and previousClose is the one before the range.
    left_out = {"fiftyTwoWeekHigh", "fiftyTwoWeekLow", "previousClose"}
    assert set(ours["meta"]) == set(recorded["meta"]) - left_out
    assert set(ours["meta"]["currentTradingPeriod"]["pre"]) == set(recorded["meta"]["currentTradingPeriod"]["pre"])
    assert set(ours["meta"]["tradingPeriods"][0][0]) == set(recorded["meta"]["tradingPeriods"][0][0])
    assert set(ours) == set(recorded)
    assert set(ours["indicators"]["quote"][0]) == set(recorded["indicators"]["quote"][0])
    (empty,) = json.loads((folder / "chart_AAPL_1m_weekend_empty_20250201.json").read_text())["chart"]["result"]
    nothing = chart(simulated, "AAPL", interval="1m", period1=NOW + DAY, period2=NOW + 2 * DAY)
    assert set(nothing) == set(empty)
    assert nothing["indicators"] == empty["indicators"]
    assert set(nothing["meta"]) == set(empty["meta"]) - left_out
    (daily,) = json.loads((folder / "chart_AAPL_1d_6mo_20250815.json").read_text())["chart"]["result"]
    assert set(chart(simulated, "AAPL", interval="1d", range="1mo")) == set(daily) - {"events"}
    known = client(simulated).get("/yahoo/v8/finance/chart/NOPE")
    assert known.status_code == 404
    assert known.json() == json.loads((folder / "error_404_chart_SI_delisted.json").read_text())


def test_missing_minutes_are_missing_and_a_quiet_symbol_keeps_its_last_trade(tmp_path: Path) -> None:
    stamps = ["2013-10-08T15:20:00Z", "2013-10-08T15:22:00Z", "2013-10-08T15:25:00Z", "2013-10-08T15:40:00Z"]
    write_recording(tmp_path / "bars", "x", [flat("ZZZ", s, f"{i + 1}.1250") for i, s in enumerate(stamps)])
    market = replay(tmp_path, tmp_path / "bars", NOW)
    shift = RUNNING - at("2013-10-08T15:30:00Z")
    result = chart(market, "ZZZ", interval="1m", period1=RUNNING - 600, period2=NOW + 1)
    # 15:30 now: the last trade was in the minute 15:25, and that is where the live row stands.
    price = Decimal("3.125")
    assert rows(result) == [
        (at(stamps[0]) + shift, *[Decimal("1.125")] * 4, 100),
        (at(stamps[1]) + shift, *[Decimal("2.125")] * 4, 100),
        (at(stamps[2]) + shift, *[price] * 4, 100),
        (at(stamps[2]) + shift + 55, *[price] * 4, 0),
    ]
    assert result["meta"]["regularMarketTime"] == at(stamps[2]) + shift + 55
    assert result["meta"]["priceHint"] == 4
    empty = chart(market, "ZZZ", interval="1m", period1=NOW - 300, period2=NOW - 200)
    assert "timestamp" not in empty
    assert empty["indicators"] == {"quote": [{}]}


def test_a_configured_symbol_that_is_not_recorded_is_unknown(tmp_path: Path) -> None:
    write_recording(tmp_path / "bars", "x", [flat("IBM", "2013-10-08T15:30:00Z")])
    market = replay(tmp_path, tmp_path / "bars", NOW, stock_symbols=("IBM", "SPY"))
    for id_, status in (("IBM", 200), ("ibm", 200), ("SPY", 404), ("BTC-USD", 404)):
        assert client(market).get(f"/yahoo/v8/finance/chart/{id_}").status_code == status


@pytest.mark.parametrize(
    ("params", "status", "said"),
    [
        ({"interval": "1m", "period1": NOW - 31 * DAY, "period2": NOW - 25 * DAY}, 422, "within the last 30 days"),
        ({"interval": "1m", "period1": NOW - 9 * DAY, "period2": NOW}, 422, "Only 8 days worth of 1m"),
        ({"interval": "1m", "range": "1mo"}, 422, "Only 8 days worth of 1m"),
        ({"interval": "7m"}, 422, "interval=7m is not supported"),
        ({"range": "often"}, 422, "range=often is not supported"),
        ({"interval": "1m", "period1": NOW, "period2": NOW}, 400, "start date cannot be after end date"),
        ({"interval": "1m", "period1": "x", "period2": NOW}, 400, "period1=x"),
        ({"interval": "1d", "period1": 0, "period2": DAY}, 400, "Data doesn't exist for startDate = 0"),
    ],
)
def test_refusals(simulated: SimulatedMarket, params: dict[str, Any], status: int, said: str) -> None:
    answer = client(simulated).get("/yahoo/v8/finance/chart/AAPL", params=params)
    assert answer.status_code == status
    body = answer.json()["chart"]
    assert body["result"] is None
    assert body["error"]["code"] == {400: "Bad Request", 422: "Unprocessable Entity"}[status]
    assert said in body["error"]["description"]


def test_days_are_the_sums_of_their_minutes(simulated: SimulatedMarket) -> None:
    result = chart(simulated, "IBM", interval="1d", range="5d")
    today = NOW - NOW % DAY
    days = rows(result)
    assert [day[0] - day[0] % DAY for day in days] == [today - DAY * i for i in (4, 3, 2, 1, 0)]
    for day in days[:-1]:
        minutes = list(simulated.minutes("IBM", day[0], day[0] + DAY))
        assert day[1:] == (
            minutes[0].open,
            max(bar.high for bar in minutes),
            min(bar.low for bar in minutes),
            minutes[-1].close,
            sum(bar.volume for bar in minutes),
        )
    assert days[-1][0] == result["meta"]["regularMarketTime"]
    assert days[-1][4] == result["meta"]["regularMarketPrice"]
    assert result["indicators"]["adjclose"] == [{"adjclose": [day[4] for day in days]}]
    (before,) = simulated.minutes("IBM", days[0][0] - 60, days[0][0])
    assert result["meta"]["chartPreviousClose"] == before.close


def test_coins_have_their_own_ids_and_dollar_volumes(simulated: SimulatedMarket) -> None:
    start, end = RUNNING - 600, RUNNING - 300
    result = chart(simulated, "UNI7083-USD", interval="1m", period1=start, period2=end)
    assert result["meta"]["instrumentType"] == "CRYPTOCURRENCY"
    for row, bar in zip(rows(result), simulated.minutes("UNI-USD", start, end), strict=True):
        assert row[1:5] == (bar.open, bar.high, bar.low, bar.close)
        assert abs(row[5] - bar.volume * bar.close) <= 1


def test_quotes_want_the_crumb_and_leave_out_what_is_unknown(simulated: SimulatedMarket, shared_data: Path) -> None:
    server = client(simulated)
    refused = server.get("/yahoo/v7/finance/quote", params={"symbols": "AAPL"})
    assert refused.status_code == 401
    assert refused.json()["finance"]["error"]["description"] == "Invalid Crumb"
    crumb = server.get("/yahoo/v1/test/getcrumb")
    assert "A3=" in crumb.headers["set-cookie"]
    params = {"symbols": "AAPL,NOPE,BTC-USD", "crumb": crumb.text}
    result = server.get("/yahoo/v7/finance/quote", params=params).json()["quoteResponse"]["result"]
    assert [quote["symbol"] for quote in result] == ["AAPL", "BTC-USD"]
    price = chart(simulated, "AAPL", range="1d")["meta"]["regularMarketPrice"]
    assert Decimal(str(result[0]["regularMarketPrice"])) == price
    recorded = json.loads((shared_data / "responses" / "yahoo" / "quote_AAPL.json").read_text())
    assert set(result[0]) <= set(recorded["quoteResponse"]["result"][0])
    nothing = server.get("/yahoo/v7/finance/quote", params={"symbols": "NOPE", "crumb": crumb.text})
    assert nothing.json() == {"quoteResponse": {"result": [], "error": None}}


def test_calls_are_counted_by_source_and_route(simulated: SimulatedMarket) -> None:
    server = client(simulated)
    for id_ in ("AAPL", "NOPE"):
        server.get(f"/yahoo/v8/finance/chart/{id_}")
    server.get("/binance/api/v3/ping")
    calls = server.get("/sandbox/status").json()["calls"]
    assert calls["yahoo"] == {"/v8/finance/chart/{id}": 2, "/v7/finance/quote": 0, "/v1/test/getcrumb": 0} | {
        "/stream": 0,
        "/stream/": 0,
    }
    assert calls["binance"]["/api/v3/ping"] == 1
    assert server.get("/sandbox/health").json() == {"status": "ok"}
