from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from include.sandbox.bars import DAY, MINUTE
from include.sandbox.market import HISTORY_DAYS
from include.sandbox.simulated import SimulatedMarket
from tests.unit.sandbox.conftest import NOW, at, client, flat, replay, write_recording

RUNNING = NOW - NOW % MINUTE


def get(market: Any, path: str, **params: Any) -> Any:
    answer = client(market).get(f"/binance/api/v3/{path}", params=params)
    assert answer.status_code == 200, answer.text
    return answer.json()


def klines(market: Any, interval: str = "1m", symbol: str = "BTCUSDT", **params: Any) -> list[Any]:
    found: list[Any] = get(market, "klines", symbol=symbol, interval=interval, **params)
    return found


def opened(rows: list[Any]) -> list[int]:
    return [row[0] // 1000 for row in rows]


def test_klines_are_the_markets_minutes_and_the_last_is_open(simulated: SimulatedMarket) -> None:
    rows = klines(simulated, limit=10)
    assert opened(rows) == list(range(RUNNING - 540, RUNNING + 1, 60))
    bars = list(simulated.minutes("BTC-USD", RUNNING - 540, RUNNING + 60))
    for row, bar in zip(rows[:-1], bars[:-1], strict=True):
        assert tuple(map(Decimal, row[1:6])) == bar[1:]
        assert row[6] == (bar.start + 60) * 1000 - 1
    assert rows[-1][6] > NOW * 1000
    assert Decimal(rows[-1][1]) == bars[-1].open
    assert 0 < Decimal(rows[-1][5]) < bars[-1].volume


def test_the_shape_is_the_recorded_one(simulated: SimulatedMarket, shared_data: Path) -> None:
    folder = shared_data / "responses" / "binance"
    recorded = json.loads((folder / "klines_BTCUSDT_1m_20200506.json").read_text())[0]
    ours = klines(simulated, limit=2)[0]
    assert [type(field) for field in ours] == [type(field) for field in recorded]
    for mine, theirs in zip(ours, recorded, strict=True):
        assert not isinstance(mine, str) or mine.rpartition(".")[2].isdigit()
        assert not isinstance(theirs, str) or len(mine.partition(".")[2]) == len(theirs.partition(".")[2])
    day = json.loads((folder / "ticker_24hr_BTCUSDT.json").read_text())
    mine = get(simulated, "ticker/24hr", symbol="BTCUSDT")
    assert {key: type(value) for key, value in mine.items()} == {key: type(value) for key, value in day.items()}
    price = json.loads((folder / "ticker_price_BTCUSDT.json").read_text())
    assert set(get(simulated, "ticker/price", symbol="BTCUSDT")) == set(price)
    refused = client(simulated).get("/binance/api/v3/ticker/price", params={"symbol": "NOPE"})
    assert refused.status_code == 400
    assert refused.json() == json.loads((folder / "error_400_invalid_symbol.json").read_text())
    information = json.loads((folder / "exchangeInfo_us.json").read_text())
    ours = get(simulated, "exchangeInfo")
    assert set(ours) == set(information)
    assert {entry["symbol"] for entry in ours["symbols"]} >= {"BTCUSDT", "ETHUSDT"}


@pytest.mark.parametrize("limit", [None, 3, 1000, 5000])
def test_a_start_gives_the_oldest_rows_first(simulated: SimulatedMarket, limit: int | None) -> None:
    start = RUNNING - DAY + 1
    params = {} if limit is None else {"limit": limit}
    rows = klines(simulated, startTime=start * 1000, **params)
    count = min(limit or 500, 1000)
    assert opened(rows) == [RUNNING - DAY + 60 * i for i in range(1, count + 1)]


def test_an_end_is_the_last_open_time(simulated: SimulatedMarket) -> None:
    rows = klines(simulated, endTime=(RUNNING - 600) * 1000, limit=3)
    assert opened(rows) == [RUNNING - 720, RUNNING - 660, RUNNING - 600]
    both = klines(simulated, startTime=(RUNNING - 120) * 1000, endTime=RUNNING * 1000 - 1)
    assert opened(both) == [RUNNING - 120, RUNNING - 60]
    assert klines(simulated, startTime=RUNNING * 1000, endTime=(RUNNING - 600) * 1000) == []
    assert klines(simulated, startTime=(NOW + DAY) * 1000) == []


@pytest.mark.parametrize(("interval", "seconds"), [("5m", 300), ("1h", 3600), ("1d", DAY)])
def test_longer_candles_are_the_sums_of_their_minutes(simulated: SimulatedMarket, interval: str, seconds: int) -> None:
    rows = klines(simulated, interval, limit=4)
    last = NOW - NOW % seconds
    assert opened(rows) == [last - seconds * i for i in (3, 2, 1, 0)]
    for row in rows[:-1]:
        bars = list(simulated.minutes("BTC-USD", row[0] // 1000, row[0] // 1000 + seconds))
        assert len(bars) == seconds // 60
        assert list(map(Decimal, row[1:6])) == [
            bars[0].open,
            max(bar.high for bar in bars),
            min(bar.low for bar in bars),
            bars[-1].close,
            sum(bar.volume for bar in bars),
        ]


def test_history_begins_where_the_listing_does(simulated: SimulatedMarket) -> None:
    rows = klines(simulated, "1d", startTime=0, limit=1000)
    assert opened(rows)[0] == NOW - NOW % DAY - HISTORY_DAYS * DAY
    assert len(rows) == HISTORY_DAYS + 1


@pytest.mark.parametrize(
    ("path", "params", "code"),
    [
        ("klines", {"symbol": "NOPE", "interval": "1m"}, -1121),
        ("klines", {"symbol": "BTCUSDT", "interval": "1M"}, -1120),
        ("klines", {"symbol": "btcusdt", "interval": "1m"}, -1100),
        ("klines", {"symbol": "BTCUSDT", "interval": "1m", "limit": "ten"}, -1100),
        ("klines", {"symbol": "BTCUSDT", "interval": "1m", "startTime": "-1"}, -1100),
        ("klines", {"symbol": "BTCUSDT", "interval": "1m", "limit": "0"}, -1130),
        ("klines", {"symbol": "BTCUSDT"}, -1102),
        ("klines", {"interval": "1m"}, -1102),
        ("ticker/price", {"symbols": '["BTCUSDT","NOPE"]'}, -1121),
        ("ticker/24hr", {"symbols": "BTCUSDT"}, -1100),
        ("ticker/24hr", {"symbol": "BTCUSDT", "symbols": '["BTCUSDT"]'}, -1128),
        ("exchangeInfo", {"symbol": "AAPL"}, -1121),
    ],
)
def test_refusals(simulated: SimulatedMarket, path: str, params: dict[str, str], code: int) -> None:
    answer = client(simulated).get(f"/binance/api/v3/{path}", params=params)
    assert answer.status_code == 400
    assert answer.json()["code"] == code
    assert answer.json()["msg"]


def test_the_24_hours_are_rolling_and_end_with_the_last_trade(simulated: SimulatedMarket) -> None:
    names = ["ETHUSDT", "DOGEUSDT"]
    eth, doge = get(simulated, "ticker/24hr", symbols=json.dumps(names, separators=(",", ":")))
    assert [eth["symbol"], doge["symbol"]] == names
    bars = list(simulated.minutes("ETH-USD", RUNNING - DAY, RUNNING))
    assert Decimal(eth["openPrice"]) == bars[0].open
    assert Decimal(eth["highPrice"]) >= max(bar.high for bar in bars)
    assert Decimal(eth["volume"]) >= sum(bar.volume for bar in bars)
    assert eth["lastPrice"] == klines(simulated, symbol="ETHUSDT", limit=1)[0][4]
    assert eth["lastPrice"] == get(simulated, "ticker/price", symbol="ETHUSDT")["price"]
    assert eth["closeTime"] - eth["openTime"] == DAY * 1000
    assert Decimal(eth["priceChange"]) == Decimal(eth["lastPrice"]) - Decimal(eth["openPrice"])


def test_recorded_coins_miss_what_was_not_traded_and_keep_every_digit(tmp_path: Path) -> None:
    stamps = ["2018-04-04T15:00:00Z", "2018-04-04T15:20:00Z", "2018-04-04T15:29:00Z", "2018-04-04T15:59:00Z"]
    rows = [flat("BTC-USD", stamp, "6782.6", "7.14319709") for stamp in stamps]
    write_recording(tmp_path / "bars", "btc", rows)
    market = replay(tmp_path, tmp_path / "bars", NOW)
    shift = RUNNING - at("2018-04-04T15:30:00Z")
    # The hour is a loop: the last three before now lie in this lap.
    newest = klines(market, limit=3)
    assert opened(newest) == [at(stamp) + shift for stamp in stamps[:3]]
    assert newest[0][4:6] == ["6782.60000000", "7.14319709"]
    oldest = klines(market, startTime=(at(stamps[0]) + shift) * 1000, limit=2)
    assert opened(oldest) == [at(stamp) + shift for stamp in stamps[:2]]
    assert len(klines(market, limit=100)) == 100
    assert client(market).get("/binance/api/v3/klines?symbol=ETHUSDT&interval=1m").json()["code"] == -1121


def test_weight_adds_up_within_a_minute(simulated: SimulatedMarket) -> None:
    server = client(simulated)
    paths = ["ping", "time", "klines?symbol=BTCUSDT&interval=1m", "ticker/24hr", "exchangeInfo?symbol=BTCUSDT"]
    used = [server.get(f"/binance/api/v3/{path}").headers["X-MBX-USED-WEIGHT-1M"] for path in paths]
    assert used == ["1", "2", "4", "84", "104"]
    assert server.get("/binance/api/v3/time").json() == {"serverTime": NOW * 1000}
