from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.market.event import (
    MAX_AHEAD_US,
    MarketEvent,
    bar,
    decode,
    encode,
    quote,
    reason_invalid,
)

NOW = 1_700_000_000_000_000
prices = st.decimals("0.00000001", "1000000", places=8)
volumes = st.decimals("0", "1000000000", places=8) | st.none()
times = st.integers(1, NOW + MAX_AHEAD_US)


def a_bar(**changes: Any) -> MarketEvent:
    given_bar = bar(
        symbol="AAPL",
        asset_class="stock",
        source="yahoo",
        start=NOW - 60_000_000,
        interval_seconds=60,
        prices=(Decimal("2"), Decimal("3"), Decimal("1"), Decimal("2.5")),
        volume=Decimal("10"),
        currency="USD",
        ingested_at=NOW,
    )
    return msgspec.structs.replace(given_bar, **changes)


@st.composite
def valid_events(draw: st.DrawFn) -> MarketEvent:
    if draw(st.booleans()):
        return quote(
            symbol=draw(st.sampled_from(["BTC-USD", "BRK-B"])),
            asset_class="crypto",
            source="binance",
            time=draw(times),
            price=draw(prices),
            currency="USDT",
            ingested_at=NOW,
        )
    low, opening, close, high = sorted(draw(st.lists(prices, min_size=4, max_size=4)))
    return a_bar(event_time=draw(times), open=opening, high=high, low=low, close=close, volume=draw(volumes))


@given(valid_events())
def test_a_valid_event_is_valid_and_comes_back_as_it_was_sent(event: MarketEvent) -> None:
    assert reason_invalid(event, NOW) is None
    assert decode(encode(event)) == event


@given(valid_events())
def test_figures_travel_as_plain_strings(event: MarketEvent) -> None:
    sent = json.loads(encode(event))
    for name in ("open", "high", "low", "close"):
        assert isinstance(sent[name], str)
        assert "E" not in sent[name]
        assert Decimal(sent[name]) == getattr(event, name)
    assert (sent["volume"] is None) == (event.volume is None)


@given(
    valid_events(),
    st.sampled_from(["open", "high", "low", "close"]),
    st.sampled_from(["NaN", "sNaN", "Infinity", "-Infinity", "0", "-1", "0.000000001"]),
)
def test_a_price_that_is_no_price_is_caught(event: MarketEvent, name: str, price: str) -> None:
    spoilt = msgspec.structs.replace(event, **{name: Decimal(price)})
    assert reason_invalid(spoilt, NOW)


@given(valid_events(), st.integers(1, 10**15))
def test_an_event_from_the_future_is_caught(event: MarketEvent, ahead_us: int) -> None:
    early = msgspec.structs.replace(event, event_time=NOW + MAX_AHEAD_US + ahead_us)
    assert reason_invalid(early, NOW) == "event time lies in the future"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"low": Decimal("2.1")}, "low <= open"),
        ({"high": Decimal("2.4")}, "close <= high"),
        ({"low": Decimal("3"), "high": Decimal("1")}, "low <= open"),
        ({"volume": Decimal("-1")}, "volume is negative"),
        ({"volume": Decimal("NaN")}, "not finite"),
        ({"volume": Decimal("0.000000001")}, "more than 8 decimals"),
        ({"event_time": 0}, "not after 1970"),
        ({"interval_seconds": 0}, "does not fit the kind"),
        ({"kind": "quote"}, "does not fit the kind"),
    ],
)
def test_what_is_wrong_is_said(changes: dict[str, Any], reason: str) -> None:
    assert reason in (reason_invalid(a_bar(**changes), NOW) or "")


def test_trailing_zeros_are_not_decimals() -> None:
    assert reason_invalid(a_bar(volume=Decimal("1.0000000000")), NOW) is None


def test_the_same_fact_has_the_same_id_however_often_it_is_fetched() -> None:
    assert a_bar(ingested_at=1, close=Decimal(2)).event_id == a_bar().event_id
    assert a_bar().event_id == f"yahoo:AAPL:bar60:{NOW - 60_000_000}"


@pytest.mark.parametrize(
    ("name", "value"),
    [("source", "reuters"), ("kind", "candle"), ("open", "cheap"), ("event_time", "now"), ("currency", None)],
)
def test_what_is_not_of_the_contract_is_refused(name: str, value: Any) -> None:
    sent = json.loads(encode(a_bar())) | {name: value}
    with pytest.raises(msgspec.ValidationError):
        decode(json.dumps(sent).encode())


@given(valid_events(), st.sampled_from(["1E-8", "1E+3", "1.0000000000", "0E-20", "12.34567800000", "1" + "0" * 19]))
def test_figures_of_any_notation_travel_with_at_most_eight_decimals(event: MarketEvent, volume: str) -> None:
    sent = json.loads(encode(msgspec.structs.replace(event, volume=Decimal(volume))))
    assert Decimal(sent["volume"]) == Decimal(volume)
    assert "E" not in sent["volume"]
    assert len(sent["volume"].partition(".")[2]) <= 8


def test_a_long_tail_of_zeros_hides_no_decimals() -> None:
    assert "more than 8 decimals" in (reason_invalid(a_bar(volume=Decimal("1." + "0" * 60 + "1")), NOW) or "")
