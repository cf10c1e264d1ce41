from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from include.errors import AuthStale, BadPayload, Banned, PlanForbidden, RateLimited, SourceError, SymbolUnknown
from include.market.event import reason_invalid
from include.sandbox.bars import DAY, MINUTE
from include.sandbox.market import Market
from include.sandbox.simulated import SimulatedMarket
from include.sources.base import QUOTES
from include.sources.catalogue import catalogue
from include.sources.coingecko import CoinGeckoSource
from tests.unit.sandbox.asking import ask, ask_server
from tests.unit.sandbox.conftest import NOW, at, client, flat, replay, write_recording

RUNNING = NOW - NOW % MINUTE
HALF_HOUR = 1800


def get(market: Market, path: str, now: int = NOW, **params: Any) -> Any:
    answer = client(market, now).get(f"/coingecko{path}", params=params)
    assert answer.status_code == 200, answer.text
    return answer.json()


def started(market: Market, fault: str) -> TestClient:
    server = client(market)
    answer = server.post("/sandbox/faults", json={"source": "coingecko", "name": fault})
    assert answer.status_code == 201, answer.text
    return server


# What our source reads --------------------------------------------------------------------------


def test_a_price_is_the_markets_at_the_last_full_minute(simulated: SimulatedMarket) -> None:
    (event,) = ask(simulated, CoinGeckoSource(), QUOTES, "BTC-USD").events
    (bar,) = simulated.minutes("BTC-USD", RUNNING, RUNNING + MINUTE)
    assert (event.event_time, event.close) == (RUNNING * 1_000_000, bar.open)
    assert reason_invalid(event, NOW * 1_000_000) is None


def test_the_same_answer_comes_for_a_minute(simulated: SimulatedMarket) -> None:
    ids = [
        ask(simulated, CoinGeckoSource(), QUOTES, "BTC-USD", now=RUNNING + second).events[0].event_id
        for second in (0, 59, 60)
    ]
    assert ids[0] == ids[1] != ids[2]


@pytest.mark.parametrize("plan", ["demo", "pro"])
def test_it_answers_with_a_key_of_any_plan(simulated: SimulatedMarket, plan: str) -> None:
    assert ask(simulated, CoinGeckoSource("k", plan), QUOTES, "ETH-USD").events


def test_all_coins_of_the_catalogue_are_one_question(simulated: SimulatedMarket) -> None:
    coins = [entry for entry in catalogue() if "coingecko" in entry.ids]
    (question,) = CoinGeckoSource().questions(QUOTES, coins, {}, NOW * 1_000_000)
    answer = get(simulated, question.path, **question.params)
    assert set(answer) == {entry.ids["coingecko"] for entry in coins}
    assert all(set(row) == {"usd", "last_updated_at"} for row in answer.values())


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ("429", RateLimited),
        ("429-no-header", RateLimited),
        ("401-10002", AuthStale),
        ("401-10005", PlanForbidden),
        ("401-10010", AuthStale),
        ("401-10011", AuthStale),
        ("401-10012", PlanForbidden),
        ("403-1020", Banned),
        ("not-found", SymbolUnknown),
        ("html", BadPayload),
        ("truncated", BadPayload),
        ("duplicate-keys", BadPayload),
        ("nan", BadPayload),
    ],
)
def test_our_source_takes_each_fault_for_what_it_is(
    simulated: SimulatedMarket, fault: str, error: type[SourceError]
) -> None:
    with pytest.raises(error) as raised:
        ask_server(started(simulated, fault), CoinGeckoSource(), QUOTES, "BTC-USD")
    assert type(raised.value) is error


@pytest.mark.parametrize(
    ("fault", "events", "rejected", "dropped"),
    [
        ("unknown-id", 0, 0, {"not known to coingecko": 1}),
        ("empty-price", 0, 0, {"no price": 1}),
        ("null-price", 0, 0, {"no price": 1}),
        ("null-24h", 1, 0, {}),
        ("integers", 1, 0, {}),
        ("exponents", 1, 0, {}),
        ("old-update", 1, 0, {}),
        ("milliseconds", 0, 1, {}),
        ("swapped-types", 0, 1, {}),
        ("booleans", 0, 1, {}),
        ("overflow", 0, 1, {}),
    ],
)
def test_prices_under_a_fault(
    simulated: SimulatedMarket, fault: str, events: int, rejected: int, dropped: dict[str, int]
) -> None:
    result = ask_server(started(simulated, fault), CoinGeckoSource(), QUOTES, "BTC-USD")
    assert (len(result.events), len(result.rejected), dict(+result.dropped)) == (events, rejected, dropped)


@pytest.mark.parametrize("fault", ["zero-price", "negative-price", "future-1h"])
def test_a_price_or_time_that_cannot_be_is_left_to_the_validation(simulated: SimulatedMarket, fault: str) -> None:
    (event,) = ask_server(started(simulated, fault), CoinGeckoSource(), QUOTES, "BTC-USD").events
    assert reason_invalid(event, NOW * 1_000_000) is not None


# The shapes -------------------------------------------------------------------------------------


def test_the_shapes_are_the_recorded_ones(simulated: SimulatedMarket, shared_data: Path) -> None:
    folder = shared_data / "responses" / "coingecko"
    recorded = json.loads((folder / "simple_price_btc_usd.json").read_text())
    ours = get(simulated, "/simple/price", ids="bitcoin", vs_currencies="usd")
    assert {id_: list(row) for id_, row in ours.items()} == {id_: list(row) for id_, row in recorded.items()}
    (recorded,) = json.loads((folder / "markets_2024_shape.json").read_text())
    (row,) = get(simulated, "/coins/markets", ids="bitcoin", vs_currency="usd")
    assert list(row) == list(recorded)
    for key in ("current_price", "total_volume", "high_24h", "low_24h", "price_change_24h"):
        assert isinstance(row[key], int | float), key
    assert len(row["last_updated"]) == len(recorded["last_updated"])
    recorded = json.loads((folder / "ohlc_bitcoin_7d_usd.json").read_text())
    rows = get(simulated, "/coins/bitcoin/ohlc", vs_currency="usd", days=7)
    assert {len(row) for row in rows} == {len(row) for row in recorded} == {5}
    assert abs(len(rows) - len(recorded)) <= 1
    recorded = json.loads((folder / "coins_list.json").read_text())[0]
    assert all(list(row) == list(recorded) for row in get(simulated, "/coins/list"))


def test_the_day_is_the_last_24_hours(simulated: SimulatedMarket) -> None:
    shown = {"include_24hr_vol": "true", "include_24hr_change": "true", "include_last_updated_at": "true"}
    row = get(simulated, "/simple/price", ids="bitcoin", vs_currencies="usd", **shown)["bitcoin"]
    assert list(row) == ["usd", "usd_24h_vol", "usd_24h_change", "last_updated_at"]
    bars = list(simulated.minutes("BTC-USD", RUNNING - DAY, RUNNING))
    turnover = sum(bar.close * bar.volume for bar in bars)
    assert abs(Decimal(row["usd_24h_vol"]) / turnover - 1) < Decimal("0.001")
    assert row["usd_24h_change"] == pytest.approx(float(Decimal(row["usd"]) / bars[0].open - 1) * 100, abs=1e-4)
    assert row["last_updated_at"] == RUNNING
    (market,) = get(simulated, "/coins/markets", ids="bitcoin", vs_currency="usd")
    assert market["high_24h"] >= float(max(bar.high for bar in bars))
    assert market["price_change_24h"] == pytest.approx(row["usd"] - float(bars[0].open))
    assert market["total_volume"] == row["usd_24h_vol"]


def test_candles_are_stamped_with_their_end_and_the_last_is_running(simulated: SimulatedMarket) -> None:
    rows = get(simulated, "/coins/bitcoin/ohlc", vs_currency="usd", days=1)
    end = RUNNING - RUNNING % HALF_HOUR + HALF_HOUR
    assert [row[0] // 1000 for row in rows] == list(range(end - DAY, end + 1, HALF_HOUR))
    closed = list(simulated.minutes("BTC-USD", end - 2 * HALF_HOUR, end - HALF_HOUR))
    assert list(map(Decimal, map(str, rows[-2][1:]))) == [
        closed[0].open,
        max(bar.high for bar in closed),
        min(bar.low for bar in closed),
        closed[-1].close,
    ]
    assert len(get(simulated, "/coins/bitcoin/ohlc", vs_currency="usd", days=30)) == 30 * 6 + 1


def test_markets_come_in_pages(simulated: SimulatedMarket) -> None:
    def ids(**params: Any) -> list[str]:
        return [row["id"] for row in get(simulated, "/coins/markets", vs_currency="usd", **params)]

    everything = ids()
    assert len(everything) == len([entry for entry in catalogue() if "coingecko" in entry.ids])
    assert ids(per_page=7) == everything[:7]
    assert ids(per_page=7, page=2) == everything[7:14]
    assert ids(page=9) == []
    assert ids(ids="nope,ethereum,bitcoin") == ["bitcoin", "ethereum"]


@pytest.mark.parametrize(
    ("path", "params", "status", "said"),
    [
        ("/simple/price", {"vs_currencies": "usd"}, 422, "Missing parameter ids"),
        ("/simple/price", {"ids": "bitcoin"}, 422, "Missing parameter vs_currencies"),
        ("/coins/markets", {}, 422, "Missing parameter vs_currency"),
        ("/coins/markets", {"vs_currency": "eth"}, 400, "invalid vs_currency"),
        ("/coins/nope/ohlc", {"vs_currency": "usd", "days": 1}, 404, "coin not found"),
        ("/coins/bitcoin/ohlc", {"vs_currency": "usd"}, 422, "Missing parameter days"),
        ("/coins/bitcoin/ohlc", {"vs_currency": "usd", "days": 2}, 422, "it takes 1, 7, 14"),
    ],
)
def test_refusals(simulated: SimulatedMarket, path: str, params: dict[str, Any], status: int, said: str) -> None:
    answer = client(simulated).get(f"/coingecko{path}", params=params)
    assert answer.status_code == status
    assert said in answer.json()["error"]


def test_unknown_ids_are_left_out_and_other_currencies_have_no_price(simulated: SimulatedMarket) -> None:
    assert get(simulated, "/simple/price", ids="nope,bitcoin", vs_currencies="eur") == {"bitcoin": {}}
    assert get(simulated, "/simple/price", ids="nope,apple", vs_currencies="usd") == {}


def test_the_key_says_what_was_used(simulated: SimulatedMarket) -> None:
    server = client(simulated)
    assert server.get("/coingecko/ping").json() == {"gecko_says": "(V3) To the Moon!"}
    refused = server.get("/coingecko/key")
    assert (refused.status_code, refused.json()["status"]["error_code"]) == (401, 10002)
    usage = server.get("/coingecko/key", headers={"x-cg-demo-api-key": "k"}).json()
    assert usage["current_total_monthly_calls"] == 3
    assert usage["current_remaining_monthly_calls"] == usage["monthly_call_credit"] - 3
    assert usage["rate_limit_request_per_minute"] == 30


def test_a_recorded_coin_that_is_quiet_keeps_its_last_time(tmp_path: Path) -> None:
    stamps = ["2018-04-04T15:00:00Z", "2018-04-04T15:20:00Z", "2018-04-04T15:59:00Z"]
    write_recording(tmp_path / "bars", "btc", [flat("BTC-USD", stamp, "6782.6", "7.14319709") for stamp in stamps])
    market = replay(tmp_path, tmp_path / "bars", NOW)
    (event,) = ask(market, CoinGeckoSource(), QUOTES, "BTC-USD").events
    shift = RUNNING - at("2018-04-04T15:30:00Z")
    assert RUNNING - 600 < event.event_time // 1_000_000 < at(stamps[1]) + shift + MINUTE
    assert ask(market, CoinGeckoSource(), QUOTES, "ETH-USD").dropped["not known to coingecko"] == 1
