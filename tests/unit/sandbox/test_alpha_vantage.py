from __future__ import annotations

import json
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from include.errors import AuthStale, BadPayload, PlanForbidden, QuotaExhausted, RateLimited, SourceError, SymbolUnknown
from include.market.event import reason_invalid
from include.sandbox.alpha_vantage_answers import FULL_ROWS
from include.sandbox.bars import DAY, MINUTE
from include.sandbox.market import HISTORY_DAYS, Market, Sandbox
from include.sandbox.simulated import SimulatedMarket
from include.sources.alpha_vantage import AlphaVantageSource
from include.sources.base import DAILY_BARS, MINUTE_BARS, QUOTES
from include.sources.catalogue import catalogue
from tests.unit.sandbox.asking import ask, ask_server
from tests.unit.sandbox.conftest import NOW, at, client, flat, replay, write_recording

#: NOW is 05:00:20 in New York, on Monday the 23rd.
MIDNIGHT = at("2026-11-23T05:00:00+00:00")
RUNNING = NOW - NOW % MINUTE


def get(market: Market, function: str, key: str = "sandbox-realtime", now: int = NOW, **params: Any) -> Any:
    query = {"function": function, "symbol": "AAPL", "apikey": key} | params
    answer = client(market, now).get("/alpha_vantage/query", params=query)
    assert answer.status_code == 200
    return answer.json()


def source(plan: str = "realtime", key: str | None = None) -> AlphaVantageSource:
    """As it is built for the markets that stand in."""
    return AlphaVantageSource(f"sandbox-{plan}" if key is None else key, plan, session_close=lambda day: None)


def last_price(market: Market, now: int) -> Decimal:
    trade = Sandbox(market, catalogue(), lambda: now).last_trade("AAPL", now)
    assert trade is not None
    return trade.price


def day_of(market: Market, start: int, end: int) -> tuple[Decimal, ...]:
    """Open, high, low, close and volume of a stretch."""
    bars = list(market.minutes("AAPL", start, end))
    high, low = max(bar.high for bar in bars), min(bar.low for bar in bars)
    return bars[0].open, high, low, bars[-1].close, sum((bar.volume for bar in bars), Decimal(0))


# What our source reads --------------------------------------------------------------------------


def test_a_free_key_is_told_the_last_day_that_is_over(simulated: SimulatedMarket) -> None:
    price, day = ask(simulated, source("free"), QUOTES, "AAPL").events
    assert (day.event_time, day.interval_seconds) == ((MIDNIGHT - DAY) * 1_000_000, 86_400)
    assert (day.open, day.high, day.low, day.close, day.volume) == day_of(simulated, MIDNIGHT - DAY, MIDNIGHT)
    assert (price.event_time, price.close) == (MIDNIGHT * 1_000_000, day.close)
    assert [reason_invalid(event, NOW * 1_000_000) for event in (price, day)] == [None, None]


@pytest.mark.parametrize(("plan", "delay"), [("realtime", 0), ("delayed", 900)])
def test_an_entitled_key_is_told_the_running_day(simulated: SimulatedMarket, plan: str, delay: int) -> None:
    result = ask(simulated, source(plan), QUOTES, "AAPL")
    (price,) = result.events
    assert (price.event_time, price.close) == ((NOW - delay) * 1_000_000, last_price(simulated, NOW - delay))
    assert result.dropped["still open"] == 1
    later = ask(simulated, source(plan), QUOTES, "AAPL", now=NOW + 40).events[0]
    assert later.event_id != price.event_id


@pytest.mark.parametrize(("plan", "delay"), [("realtime", 0), ("delayed", 900)])
@pytest.mark.parametrize("minutes", [5, 100, 101, 1_000])
def test_an_entitled_key_has_the_markets_minutes(
    simulated: SimulatedMarket, plan: str, delay: int, minutes: int
) -> None:
    since = RUNNING - minutes * MINUTE
    result = ask(simulated, source(plan), MINUTE_BARS, "AAPL", since=since)
    bars = list(simulated.minutes("AAPL", since, RUNNING - delay))
    got = [(e.event_time // 1_000_000, e.open, e.high, e.low, e.close, e.volume) for e in result.events]
    assert got == [tuple(bar) for bar in bars]
    assert (result.rejected, result.dropped["still open"]) == ([], int(minutes * MINUTE > delay))


def test_a_free_key_has_no_minutes_and_no_entitlement(simulated: SimulatedMarket) -> None:
    free = source("realtime", "sandbox-free")
    for want in (MINUTE_BARS, QUOTES):
        with pytest.raises(PlanForbidden, match="This is a premium endpoint"):
            ask(simulated, free, want, "AAPL")
    with pytest.raises(PlanForbidden):
        ask(simulated, source("realtime", "sandbox-delayed"), QUOTES, "AAPL")
    assert ask(simulated, source("delayed", "sandbox-realtime"), QUOTES, "AAPL").events
    full = get(simulated, "TIME_SERIES_DAILY", "sandbox-free", outputsize="full")
    assert "outputsize=full parameter value is a premium feature" in full["Information"]


@pytest.mark.parametrize(("key", "error"), [("", AuthStale), ("demo", AuthStale), ("realtime", PlanForbidden)])
def test_a_key_that_is_none_is_refused(simulated: SimulatedMarket, key: str, error: type[SourceError]) -> None:
    with pytest.raises(error):
        ask(simulated, source("realtime", key), QUOTES, "AAPL")


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"function": "NEWS_SENTIMENT"}, "for NEWS_SENTIMENT."),
        ({"symbol": "NOPE"}, "for TIME_SERIES_INTRADAY."),
        ({"interval": "2min"}, "for TIME_SERIES_INTRADAY."),
        ({"outputsize": "all"}, "for TIME_SERIES_INTRADAY."),
        ({"entitlement": "all"}, "for TIME_SERIES_INTRADAY."),
    ],
)
def test_what_cannot_be_answered_is_an_invalid_call(
    simulated: SimulatedMarket, params: dict[str, str], said: str, shared_data: Path
) -> None:
    answer = get(simulated, **({"function": "TIME_SERIES_INTRADAY", "interval": "1min"} | params))
    recorded = json.loads((shared_data / "responses/alpha_vantage/error_200_invalid_call.json").read_text())
    assert answer["Error Message"] == recorded["Error Message"].replace("for TIME_SERIES_DAILY.", said)


def test_an_unknown_symbol_has_an_empty_quote(simulated: SimulatedMarket) -> None:
    assert get(simulated, "GLOBAL_QUOTE", symbol="NOPE") == {"Global Quote": {}}
    assert get(simulated, "GLOBAL_QUOTE", symbol="BTC-USD") == {"Global Quote": {}}


# The shapes -------------------------------------------------------------------------------------


def test_the_shapes_are_the_recorded_ones(simulated: SimulatedMarket, shared_data: Path) -> None:
    folder = shared_data / "responses" / "alpha_vantage"
    recorded = json.loads((folder / "global_quote_MSFT.json").read_text())
    ours = get(simulated, "GLOBAL_QUOTE")
    assert {key: list(row) for key, row in ours.items()} == {key: list(row) for key, row in recorded.items()}
    assert_like(ours["Global Quote"], recorded["Global Quote"])
    for file, params in (
        ("intraday_MSFT_1min_compact.json", {"function": "TIME_SERIES_INTRADAY", "interval": "1min"}),
        ("daily_IBM_trimmed.json", {"function": "TIME_SERIES_DAILY"}),
    ):
        recorded = json.loads((folder / file).read_text())
        ours = get(simulated, **params, entitlement="realtime")
        assert list(ours) == list(recorded)
        assert list(ours["Meta Data"]) == list(recorded["Meta Data"])
        (_, ours_rows), (_, recorded_rows) = ours.values(), recorded.values()
        assert_like(next(iter(ours_rows.values())), next(iter(recorded_rows.values())))
        assert len(next(iter(ours_rows))) == len(next(iter(recorded_rows)))
        assert list(ours_rows) == sorted(ours_rows, reverse=True)


def assert_like(ours: dict[str, str], recorded: dict[str, str]) -> None:
    """The same fields, text all of them, with as many decimals."""
    for key, value in recorded.items():
        assert isinstance(ours[key], str)
        assert len(ours[key].partition(".")[2]) == len(value.partition(".")[2]), key


def test_the_change_is_the_one_since_the_close_before(simulated: SimulatedMarket) -> None:
    row = get(simulated, "GLOBAL_QUOTE", "sandbox-free")["Global Quote"]
    before = day_of(simulated, MIDNIGHT - 2 * DAY, MIDNIGHT - DAY)[3]
    assert row["07. latest trading day"] == "2026-11-22"
    assert Decimal(row["08. previous close"]) == before
    assert Decimal(row["09. change"]) == Decimal(row["05. price"]) - before
    percent = Decimal(row["10. change percent"].removesuffix("%"))
    assert abs(percent - (Decimal(row["05. price"]) / before - 1) * 100) < Decimal("0.0001")


def test_compact_is_a_hundred_rows_and_full_a_months_sessions(simulated: SimulatedMarket) -> None:
    def rows(**params: str) -> list[str]:
        asked = {"interval": "1min", "entitlement": "realtime"} | params
        return list(list(get(simulated, "TIME_SERIES_INTRADAY", **asked).values())[1])

    compact, full, hours = rows(), rows(outputsize="full"), rows(interval="60min", outputsize="full")
    assert (len(compact), compact[0], compact[99]) == (100, "2026-11-23 05:00:00", "2026-11-23 03:21:00")
    assert (len(full), full[:100]) == (FULL_ROWS, compact)
    # An hour's rows reach back to the beginning of the listing, but for the hour that came twice.
    assert len(hours) == HISTORY_DAYS * 24 + 10
    assert "2026-11-01 01:00:00" in hours
    # Without an entitlement even an entitled key is told no more than the last day that is over.
    assert rows(entitlement="")[0] == "2026-11-22 23:59:00"


def test_the_hour_that_comes_twice_has_one_row_and_our_source_takes_neither(simulated: SimulatedMarket) -> None:
    # 01:59 in winter time, as the clocks have gone back: the 100 rows reach 20 minutes into the first pass.
    now = at("2026-11-01T06:59:30+00:00")
    result = ask(simulated, source(), MINUTE_BARS, "AAPL", since=now - now % MINUTE - 99 * MINUTE, now=now)
    assert result.events == []
    assert {rejected.reason.partition(": ")[2] for rejected in result.rejected} == {
        "the clocks change: the time stands for two moments, or for none"
    }
    assert len(result.rejected) == 60


def test_of_the_hour_that_comes_twice_the_later_pass_is_told(simulated: SimulatedMarket) -> None:
    asked = {"interval": "1min", "entitlement": "realtime", "outputsize": "full"}
    rows = get(simulated, "TIME_SERIES_INTRADAY", now=at("2026-11-01T12:00:00+00:00"), **asked)["Time Series (1min)"]
    (bar,) = simulated.minutes("AAPL", at("2026-11-01T06:30:00+00:00"), at("2026-11-01T06:31:00+00:00"))
    assert tuple(map(Decimal, rows["2026-11-01 01:30:00"].values())) == bar[1:]


def test_days_are_new_yorks(simulated: SimulatedMarket) -> None:
    rows = get(simulated, "TIME_SERIES_DAILY", "sandbox-free")["Time Series (Daily)"]
    assert next(iter(rows)) == "2026-11-22"
    assert len(rows) == HISTORY_DAYS + 1
    ends = (at("2026-11-01T04:00:00+00:00"), at("2026-11-02T05:00:00+00:00"))
    assert tuple(map(Decimal, rows["2026-11-01"].values())) == day_of(simulated, *ends)
    running = get(simulated, "TIME_SERIES_DAILY", entitlement="realtime")["Time Series (Daily)"]
    assert next(iter(running)) == "2026-11-23"
    assert running["2026-11-22"] == rows["2026-11-22"]


def test_our_source_has_each_day_once_it_is_over(simulated: SimulatedMarket) -> None:
    times = [
        event.event_time // 1_000_000
        for now in range(MIDNIGHT - 3600, MIDNIGHT + 2 * DAY, 3600)
        for event in ask(simulated, source("free"), DAILY_BARS, "AAPL", since=MIDNIGHT - DAY, now=now).events
        if event.kind == "bar"
    ]
    assert sorted(set(times)) == [MIDNIGHT - DAY, MIDNIGHT]
    assert (times.count(MIDNIGHT - DAY), times.count(MIDNIGHT)) == (24, 24)


def test_a_recorded_stock_has_its_last_day_and_no_other(tmp_path: Path) -> None:
    stamps = ["2013-10-08T15:20:00Z", "2013-10-08T15:28:00Z", "2013-10-08T15:40:00Z"]
    write_recording(tmp_path / "bars", "x", [flat("IBM", s, f"{i + 1}.1250", "50") for i, s in enumerate(stamps)])
    market = replay(tmp_path, tmp_path / "bars", NOW, stock_symbols=("IBM",))
    result = ask(market, source(), MINUTE_BARS, "IBM", since=RUNNING - 600)
    assert [(e.event_time // 1_000_000 - RUNNING, str(e.close)) for e in result.events] == [
        (-600, "1.1250"),
        (-120, "2.1250"),
    ]
    (price,) = ask(market, source(), QUOTES, "IBM").events
    assert str(price.close) == "2.1250"
    with pytest.raises(SymbolUnknown):
        ask(market, source(), QUOTES, "AAPL")


# Under faults -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ("burst", RateLimited),
        ("burst-pattern", RateLimited),
        ("note", RateLimited),
        ("daily", QuotaExhausted),
        ("premium", PlanForbidden),
        ("premium-full", PlanForbidden),
        ("sample-data", PlanForbidden),
        ("invalid-call", SymbolUnknown),
        ("detail", SymbolUnknown),
        ("bad-key", AuthStale),
        ("empty", BadPayload),
        ("empty-quote", SymbolUnknown),
        ("html", BadPayload),
        ("truncated", BadPayload),
        ("duplicate-keys", BadPayload),
    ],
)
def test_our_source_takes_each_fault_for_what_it_is(
    simulated: SimulatedMarket, fault: str, error: type[SourceError]
) -> None:
    server = client(simulated)
    start(server, fault)
    with pytest.raises(error) as raised:
        ask_server(server, source(), QUOTES, "AAPL")
    assert type(raised.value) is error
    assert "sandbox-realtime" not in str(raised.value)


@pytest.mark.parametrize(
    ("fault", "good", "future", "rejected"),
    [
        ("null-numbers", 0, 0, 99),
        ("last-minute-missing", 98, 0, 0),
        # The running row is among the three newest.
        ("future-1h", 97, 3, 0),
        ("swapped-types", 0, 0, 99),
    ],
)
def test_rows_under_a_fault(simulated: SimulatedMarket, fault: str, good: int, future: int, rejected: int) -> None:
    server = client(simulated)
    start(server, fault)
    result = ask_server(server, source(), MINUTE_BARS, "AAPL", since=NOW - 100 * MINUTE)
    reasons = [reason_invalid(event, NOW * 1_000_000) for event in result.events]
    assert (reasons.count(None), reasons.count("event time lies in the future")) == (good, future)
    assert len(result.rejected) == rejected


def start(server: Any, name: str) -> None:
    answer = server.post("/sandbox/faults", json={"source": "alpha_vantage", "name": name})
    assert answer.status_code == 201, answer.text


def test_a_new_york_date_is_what_the_quote_says(simulated: SimulatedMarket) -> None:
    before, after = (get(simulated, "GLOBAL_QUOTE", now=MIDNIGHT + s, entitlement="realtime") for s in (-1, 1))
    days = [date.fromisoformat(answer["Global Quote"]["07. latest trading day"]).day for answer in (before, after)]
    assert days == [22, 23]
