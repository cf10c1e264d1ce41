"""CoinGecko's answers, recorded and written, and what they become."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from include.errors import (
    AuthStale,
    BadPayload,
    Banned,
    PlanForbidden,
    RateLimited,
    SourceError,
    SymbolUnknown,
    Transient,
)
from include.market.event import reason_invalid
from include.market.instrument import Instrument
from include.settings import Settings
from include.sources.base import MINUTE_BARS, QUOTES, Answer, FetchResult
from include.sources.catalogue import catalogue
from include.sources.coingecko import COINS_PER_CALL, DECLARATION, CoinGeckoSource, build

SECOND = 1_000_000
UPDATED = 1_711_356_300
NOW = (UPDATED + 40) * SECOND
BTC, ETH = catalogue().get("BTC-USD"), catalogue().get("ETH-USD")
SOURCE = CoinGeckoSource()
STATUSES = (400, 401, 403, 404, 418, 422, 429, 500, 503)


def read(body: bytes, *instruments: Instrument) -> FetchResult:
    """As the client does it. Raises the SourceError tree."""
    answer = Answer(200, {}, body)
    refused = SOURCE.refusal(answer, NOW)
    if refused is not None:
        raise refused
    (question,) = SOURCE.questions(QUOTES, instruments or (BTC, ETH), {}, NOW)
    return SOURCE.read(question, answer, NOW)


def price(text: str, updated: Any = UPDATED) -> bytes:
    return b'{"bitcoin":{"usd":%s,"last_updated_at":%s}}' % (text.encode(), json.dumps(updated).encode())


def refusal(body: Any, status: int, **headers: str) -> SourceError | None:
    sent = body if isinstance(body, bytes) else json.dumps(body).encode()
    return SOURCE.refusal(Answer(status, headers, sent), NOW)


@pytest.fixture
def responses(shared_data: Path) -> Path:
    return shared_data / "responses/coingecko"


def test_it_gives_prices_of_coins_and_nothing_else() -> None:
    assert [(row.want, row.asset_class, row.cost) for row in DECLARATION.capabilities] == [(QUOTES, "crypto", 1)]
    month = next(rate for rate in DECLARATION.rates if rate.setting == "coingecko_calls_per_month")
    assert month.seconds == 31 * 86_400
    with pytest.raises(ValueError, match="not asked for bar60"):
        SOURCE.questions(MINUTE_BARS, [BTC], {"BTC-USD": 0}, NOW)
    with pytest.raises(SymbolUnknown, match="no coingecko id"):
        SOURCE.questions(QUOTES, [catalogue().get("AAPL")], {}, NOW)


def test_many_coins_are_one_question() -> None:
    (question,) = SOURCE.questions(QUOTES, [BTC, ETH], {}, NOW)
    assert (question.path, question.cost, question.secret_headers) == ("/simple/price", 1, {})
    assert question.params == {
        "ids": "bitcoin,ethereum", "vs_currencies": "usd", "include_last_updated_at": "true", "precision": "full",
    }  # fmt: skip
    coins = [Instrument(f"C{i}-USD", "crypto", "", {"coingecko": f"c{i}"}) for i in range(COINS_PER_CALL + 1)]
    assert [len(asked.instruments) for asked in SOURCE.questions(QUOTES, coins, {}, NOW)] == [COINS_PER_CALL, 1]


@pytest.mark.parametrize(("plan", "header"), [("demo", "x-cg-demo-api-key"), ("pro", "x-cg-pro-api-key")])
def test_a_key_goes_into_the_header_of_its_plan(plan: Any, header: str) -> None:
    found = build(Settings(coingecko_api_key="SECRET7", coingecko_plan=plan))
    (question,) = found.questions(QUOTES, [BTC], {}, NOW)
    assert (found.plan, question.secret_headers) == (plan, {header: "SECRET7"})
    assert "SECRET7" not in repr(question)


def test_a_price_has_the_sources_time_and_no_volume() -> None:
    body = {
        "bitcoin": {"usd": 67187.3358936566, "usd_24h_vol": 3.1e10, "last_updated_at": UPDATED},
        "ethereum": {"usd": 3400, "last_updated_at": UPDATED - 7},
    }
    result = read(json.dumps(body).encode())
    assert [(e.event_id, str(e.close), e.volume, e.currency) for e in result.events] == [
        (f"coingecko:BTC-USD:quote:{UPDATED * SECOND}", "67187.33589366", None, "USD"),
        (f"coingecko:ETH-USD:quote:{(UPDATED - 7) * SECOND}", "3400", None, "USD"),
    ]
    assert [reason_invalid(event, NOW) for event in result.events] == [None, None]
    assert (result.rejected, +result.dropped) == ([], {})


@pytest.mark.parametrize(
    ("text", "stored"),
    [
        ("67187.33", "67187.33"),
        ("67187", "67187"),
        ("6.7187E+4", "67187"),
        ("1.2e-05", "0.000012"),
        # Half to even at the eighth decimal.
        ("0.000000125", "0.00000012"),
        ("0.000000135", "0.00000014"),
        ("1.0949838274198417e-05", "0.00001095"),
        ("50675.258073370765", "50675.25807337"),
    ],
)
def test_prices_are_exact_decimals_of_at_most_eight_places(text: str, stored: str) -> None:
    (event,) = read(price(text), BTC).events
    assert format(event.close, "f") == stored
    assert reason_invalid(event, NOW) is None


def test_a_price_too_small_for_eight_places_is_left_to_the_validation() -> None:
    (event,) = read(price("1e-12"), BTC).events
    assert reason_invalid(event, NOW) == "a price is not above zero"


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (price("NaN"), None),
        (price("1e999"), "price: '1e999' is not a number, or out of range"),
        (price('"67187.33"'), "is not a number, or out of range"),
        (price("true"), "price: 'true' is not a number"),
        (price("[1]"), "price: '[1]' is not a number"),
        (price("67187.33", None), "price: without last_updated_at"),
        (price("67187.33", UPDATED * 1_000), "in s does not lie between 1990 and 2200"),
        (price("67187.33", "2024-03-25T08:45:00Z"), "price: Expected `int | null`, got `str`"),
        (b'{"bitcoin":67187.33}', "price: Expected `object`, got `float`"),
        (b'{"bitcoin":"coin"}', "price: Expected `object`, got `str`"),
    ],
)
def test_what_is_no_price_is_rejected_with_a_reason(body: bytes, reason: str | None) -> None:
    if reason is None:
        with pytest.raises(BadPayload):
            read(body, BTC)
        return
    result = read(body)
    (rejected,) = result.rejected
    assert reason in rejected.reason
    assert (rejected.source, rejected.symbol, rejected.asked_for) == ("coingecko", "BTC-USD", "quote")
    assert (result.events, len(read(rejected.raw, BTC).rejected)) == ([], 1)


def test_one_bad_coin_leaves_the_others() -> None:
    body = b'{"bitcoin":{"usd":true,"last_updated_at":1},"ethereum":{"usd":3400.5,"last_updated_at":%d}}' % UPDATED
    result = read(body)
    assert [str(event.close) for event in result.events] == ["3400.5"]
    assert json.loads(result.rejected[0].raw) == {"bitcoin": {"usd": True, "last_updated_at": 1}}


def test_what_coingecko_does_not_know_or_has_no_price_for_is_counted() -> None:
    assert read(b"{}").dropped == {"not known to coingecko": 2, "not asked for": 0}
    for nothing in (b"{}", b"null", b'{"usd":null,"last_updated_at":1711356300}', b'{"usd_24h_change":null}'):
        result = read(b'{"bitcoin":%s,"dogecoin":{"usd":1}}' % nothing)
        assert (result.events, result.rejected) == ([], [])
        assert result.dropped == {"no price": 1, "not known to coingecko": 1, "not asked for": 1}


# Recorded answers -------------------------------------------------------------------------------


def test_the_recorded_price_has_no_time_and_is_rejected(responses: Path) -> None:
    body = (responses / "simple_price_btc_usd.json").read_bytes()
    result = read(body, BTC)
    assert (result.events, [rejected.reason for rejected in result.rejected]) == (
        [],
        ["price: without last_updated_at"],
    )
    # As we ask for it, it has one.
    with_time = body.replace(b"}}", b',"last_updated_at":%d}}' % UPDATED)
    assert [str(event.close) for event in read(with_time, BTC).events] == ["49253"]


@pytest.mark.parametrize(
    "name",
    [
        *("markets_bitcoin_usd.json", "markets_two_ids_in_eth.json", "markets_2024_shape.json", "coins_list.json"),
        "ohlc_bitcoin_7d_usd.json",
    ],
)
def test_a_recorded_list_is_a_bad_payload(responses: Path, name: str) -> None:
    body = (responses / name).read_bytes()
    with pytest.raises(BadPayload, match="no prices by coin: Expected `object`, got `array`") as raised:
        read(body)
    assert raised.value.payload == body


@pytest.mark.parametrize("name", ["global.json", "market_chart_bitcoin_1d.json", "market_chart_bitcoin_90d_daily.json"])
def test_a_recorded_object_of_something_else_is_a_bad_payload(responses: Path, name: str) -> None:
    with pytest.raises(BadPayload, match="no coin in it that was asked for"):
        read((responses / name).read_bytes())


@pytest.mark.parametrize(
    ("name", "status", "error"),
    [
        ("error_429_rate_limit.json", 429, RateLimited),
        ("error_429_rate_limit.json", 200, RateLimited),
        ("error_401_time_range.json", 401, PlanForbidden),
        ("error_422_missing_ids.json", 422, SourceError),
        ("error_422_missing_vs_currency.json", 422, SourceError),
        ("error_422_missing_ids.json", 200, SourceError),
    ],
)
def test_a_recorded_refusal_is_its_error(responses: Path, name: str, status: int, error: type[SourceError]) -> None:
    assert type(refusal((responses / name).read_bytes(), status)) is error


# Refusals ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("headers", "seconds"), [({"retry-after": "119"}, 119), ({}, 60), ({"retry-after": "?"}, 60)])
@pytest.mark.parametrize("body", [{"status": {"error_code": 429, "error_message": "exceeded"}}, b"Throttled"])
def test_a_limit_says_until_when_or_lasts_a_minute(body: Any, headers: dict[str, str], seconds: int) -> None:
    refused = refusal(body, 429, **headers)
    assert type(refused) is RateLimited
    assert refused.until == NOW / SECOND + seconds


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("status", [200, 400, 401, 403])
@pytest.mark.parametrize(
    ("code", "error", "hint"),
    [
        (429, RateLimited, ""),
        (10002, AuthStale, "set COINGECKO_API_KEY"),
        (10005, PlanForbidden, ""),
        (10010, AuthStale, "COINGECKO_BASE_URL"),
        (10011, AuthStale, "COINGECKO_BASE_URL"),
        (10012, PlanForbidden, ""),
    ],
)
def test_the_code_decides_in_either_shape(
    code: int, error: type[SourceError], hint: str, status: int, nested: bool
) -> None:
    stated = {"status": {"error_code": code, "error_message": "no"}}
    refused = refusal({"error": stated} if nested else stated, status)
    assert type(refused) is error
    assert f"{code} no" in str(refused)
    assert hint in str(refused)


@pytest.mark.parametrize(
    ("body", "status", "error"),
    [
        (b"error code: 1020", 403, Banned),
        ({"error": "coin not found"}, 404, SymbolUnknown),
        ({"error": "coin not found"}, 200, SymbolUnknown),
        ({"error": ""}, 200, SourceError),
        (b"", 401, AuthStale),
        (b"<html>", 404, SourceError),
        (b"<html>", 503, Transient),
        ({"status": {"error_code": 500, "error_message": "internal"}}, 500, Transient),
    ],
)
def test_other_refusals(body: Any, status: int, error: type[SourceError]) -> None:
    assert type(refusal(body, status)) is error


@pytest.mark.parametrize("status", STATUSES)
@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b"<html>", b'{"error":{"status":{}}}', b'{"status":[]}', b"\xff"])
def test_a_status_that_is_not_200_is_never_read(body: bytes, status: int) -> None:
    assert refusal(body, status) is not None


def test_a_coin_may_be_named_as_an_error_is() -> None:
    coins = [Instrument(f"{id_.upper()}-USD", "crypto", "", {"coingecko": id_}) for id_ in ("status", "error")]
    figures = {"usd": 0.03, "last_updated_at": UPDATED}
    result = read(json.dumps({"status": figures, "error": figures}).encode(), *coins)
    assert [event.symbol for event in result.events] == ["STATUS-USD", "ERROR-USD"]


@pytest.mark.parametrize(
    "body", [b"", b"<html>Will be right back</html>", b"null", b'{"bitcoin":{"usd":671', b"[" * 99]
)
def test_a_body_that_is_no_object_is_a_bad_payload(body: bytes) -> None:
    with pytest.raises(BadPayload) as raised:
        read(body)
    assert raised.value.payload == body
