"""Alpha Vantage's answers, recorded and written: what they become, and that the key is in none of it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from include.errors import (
    AuthStale,
    BadPayload,
    Banned,
    PlanForbidden,
    QuotaExhausted,
    RateLimited,
    SourceError,
    SymbolUnknown,
    Transient,
)
from include.market.event import MarketEvent, reason_invalid
from include.settings import Settings
from include.sources.alpha_vantage import DECLARATION, AlphaVantageSource, build
from include.sources.base import (
    DAILY_BARS,
    END_OF_DAY,
    MINUTE_BARS,
    MINUTE_US,
    QUOTES,
    TRADES,
    Answer,
    FetchResult,
    Question,
    Want,
)
from include.sources.catalogue import catalogue
from include.sources.registry import chain

KEY = "SECRET7KEY"
SECOND = 1_000_000
MSFT = catalogue().get("MSFT")


def at(stamp: str) -> int:
    """ISO 8601 in UTC to epoch microseconds."""
    return int(datetime.fromisoformat(stamp).replace(tzinfo=UTC).timestamp()) * SECOND


#: The recorded quote is Friday's, 2018-10-05; the recorded minutes are of 2017-12-18, 13:17 to 14:56.
SATURDAY = at("2018-10-06 12:00")
MINUTES_NOW = at("2017-12-18 20:00")
SINCE = at("2017-12-18 00:00")


def source(plan: str = "realtime") -> AlphaVantageSource:
    return AlphaVantageSource(KEY, plan)


def asked(want: Want, plan: str = "realtime", *, since_us: int = 0, now_us: int = SATURDAY) -> Question:
    (question,) = source(plan).questions(want, [MSFT], {"MSFT": since_us}, now_us)
    return question


def read(
    body: bytes,
    want: Want = QUOTES,
    plan: str = "realtime",
    *,
    since_us: int = 0,
    now_us: int = SATURDAY,
    **headers: str,
) -> FetchResult:
    """As the client does it. Raises the SourceError tree."""
    answer = Answer(200, headers, body)
    refused = source(plan).refusal(answer, now_us)
    if refused is not None:
        raise refused
    return source(plan).read(asked(want, plan, since_us=since_us, now_us=now_us), answer, now_us)


def quote_body(root: str = "Global Quote", **changes: Any) -> bytes:
    figures = {
        "01. symbol": "MSFT", "02. open": "112.6300", "03. high": "113.1700", "04. low": "110.6400",
        "05. price": "112.1300", "06. volume": "29062853", "07. latest trading day": "2018-10-05",
    }  # fmt: skip
    names = {name.partition(" ")[2].partition(" ")[0]: name for name in figures}
    return json.dumps({root: figures | {names[name]: value for name, value in changes.items()}}).encode()


def series_body(*rows: tuple[str, Any], **meta: str) -> bytes:
    stated = {"2. Symbol": "MSFT", "4. Interval": "1min", "6. Time Zone": "US/Eastern"}
    names = {name.partition(" ")[2].partition(" ")[0].lower(): name for name in stated}
    described = stated | {names[name]: value for name, value in meta.items()}
    return json.dumps({"Meta Data": described, "Time Series (1min)": dict(rows)}).encode()


def row(close: str = "10.1", **changes: Any) -> dict[str, Any]:
    figures = {"1. open": "10.0", "2. high": "10.2", "3. low": "9.9", "4. close": close, "5. volume": "100"}
    names = {name.partition(" ")[2]: name for name in figures}
    return figures | {names[name]: value for name, value in changes.items()}


def shown(events: Sequence[MarketEvent]) -> list[tuple[str, str]]:
    return [(event.event_id, str(event.close)) for event in events]


@pytest.fixture
def responses(shared_data: Path) -> Path:
    return shared_data / "responses/alpha_vantage"


# Who can ask for what ---------------------------------------------------------------------------


def test_the_plan_of_the_key_says_what_there_is_and_how_old() -> None:
    offered = {
        (plan, want.name): None if capability is None else capability.delay_seconds
        for plan in ("free", "delayed", "realtime")
        for want in (MINUTE_BARS, QUOTES, DAILY_BARS)
        for capability in [DECLARATION.offers("stock", want, plan)]
    }
    assert offered == {
        ("free", "bar60"): None, ("delayed", "bar60"): 900, ("realtime", "bar60"): 0,
        ("free", "quote"): END_OF_DAY, ("delayed", "quote"): 900, ("realtime", "quote"): 0,
        ("free", "bar86400"): END_OF_DAY, ("delayed", "bar86400"): END_OF_DAY, ("realtime", "bar86400"): END_OF_DAY,
    }  # fmt: skip
    assert DECLARATION.offers("crypto", QUOTES, "realtime") is None
    quotes = [capability for capability in DECLARATION.capabilities if capability.want == QUOTES]
    assert all(capability.carries == (DAILY_BARS,) for capability in quotes)


def test_without_a_key_it_is_not_asked() -> None:
    names = [found.declaration.name for found, _ in chain("stock", DAILY_BARS, Settings())]
    assert "alpha_vantage" not in names
    names = [found.declaration.name for found, _ in chain("stock", DAILY_BARS, Settings(alpha_vantage_api_key="k"))]
    assert "alpha_vantage" in names


def test_questions_say_what_the_plan_includes_and_keep_the_key_apart() -> None:
    question = asked(QUOTES, "free")
    assert (question.path, question.params) == ("/query", {"symbol": "MSFT", "function": "GLOBAL_QUOTE"})
    assert (question.secret_params, KEY in repr(question)) == ({"apikey": KEY}, False)
    assert asked(DAILY_BARS, "delayed").params["entitlement"] == "delayed"
    minutes = asked(MINUTE_BARS, since_us=SATURDAY - 100 * MINUTE_US)
    assert minutes.params == {
        "function": "TIME_SERIES_INTRADAY", "symbol": "MSFT", "interval": "1min", "adjusted": "false",
        "extended_hours": "false", "outputsize": "compact", "entitlement": "realtime",
    }  # fmt: skip
    assert asked(MINUTE_BARS, since_us=SATURDAY - 101 * MINUTE_US).params["outputsize"] == "full"
    (berkshire,) = source().questions(QUOTES, [catalogue().get("BRK-B")], {}, SATURDAY)
    assert berkshire.params["symbol"] == "BRK.B"
    with pytest.raises(ValueError, match="not asked for trade"):
        asked(TRADES)
    with pytest.raises(SymbolUnknown, match="no alpha_vantage id"):
        source().questions(QUOTES, [catalogue().get("BTC-USD")], {}, SATURDAY)


# Quotes and days --------------------------------------------------------------------------------


@pytest.mark.parametrize("root", ["Global Quote", "Global Quote - DATA DELAYED BY 15 MINUTES"])
def test_the_recorded_quote_is_the_closing_price_and_the_day(responses: Path, root: str) -> None:
    body = (responses / "global_quote_MSFT.json").read_bytes().replace(b"Global Quote", root.encode())
    result = read(body)
    close = at("2018-10-05 20:00")
    start = at("2018-10-05 04:00")
    assert shown(result.events) == [
        (f"alpha_vantage:MSFT:quote:{close}", "112.1300"),
        (f"alpha_vantage:MSFT:bar86400:{start}", "112.1300"),
    ]
    price, day = result.events
    assert (price.kind, price.interval_seconds, price.volume, price.currency) == ("quote", 0, None, "USD")
    assert [str(figure) for figure in (day.open, day.high, day.low, day.volume)] == [
        "112.6300",
        "113.1700",
        "110.6400",
        "29062853",
    ]
    assert (day.kind, day.interval_seconds, result.rejected) == ("bar", 86_400, [])
    assert [reason_invalid(event, SATURDAY) for event in result.events] == [None, None]


@pytest.mark.parametrize(
    ("now", "plan", "time"),
    [
        # Before the close a price is as old as the plan's prices are.
        ("2018-10-05 18:00", "realtime", "2018-10-05 18:00"),
        ("2018-10-05 18:00", "delayed", "2018-10-05 17:45"),
        ("2018-10-05 18:00", "free", "2018-10-05 17:45"),
        # What is 15 minutes old right after the close is not the close yet.
        ("2018-10-05 20:10", "delayed", "2018-10-05 19:55"),
        ("2018-10-05 20:10", "realtime", "2018-10-05 20:00"),
        ("2018-10-05 20:15", "delayed", "2018-10-05 20:00"),
        # A holiday's answer repeats the day before: so does the event's id.
        ("2018-10-08 18:00", "realtime", "2018-10-05 20:00"),
    ],
)
def test_a_price_has_the_time_of_the_close_once_that_is_over(now: str, plan: str, time: str) -> None:
    event = read(quote_body(), plan=plan, now_us=at(now)).events[0]
    assert (event.kind, event.event_time) == ("quote", at(time))


def test_a_half_day_closes_early_and_a_day_without_a_session_at_midnight() -> None:
    def price_time(day: str) -> int:
        return read(quote_body(latest=day), now_us=at("2018-12-30 12:00")).events[0].event_time

    assert price_time("2018-11-23") == at("2018-11-23 18:00")
    assert price_time("2018-11-24") == at("2018-11-25 05:00")


def test_in_the_markets_that_stand_in_every_day_ends_at_midnight() -> None:
    config = Settings(market="sandbox", alpha_vantage_api_key=KEY, alpha_vantage_plan="realtime")
    found = build(config)
    assert (found.plan, build(Settings()).plan) == ("realtime", "free")
    question = found.questions(QUOTES, [MSFT], {}, SATURDAY)[0]
    assert question.secret_params == {"apikey": KEY}
    (price, _) = found.read(question, Answer(200, {}, quote_body()), SATURDAY).events
    assert price.event_time == at("2018-10-06 04:00")


@pytest.mark.parametrize(("now", "events"), [("2018-10-06 03:59:59", 1), ("2018-10-06 04:00", 2)])
def test_a_day_is_a_bar_once_it_is_over_in_new_york(now: str, events: int) -> None:
    result = read(quote_body(), now_us=at(now))
    assert (len(result.events), result.dropped["still open"]) == (events, 2 - events)


def test_a_day_from_before_the_time_asked_for_is_left_out() -> None:
    start = at("2018-10-05 04:00")
    assert len(read(quote_body(), DAILY_BARS, since_us=start).events) == 2
    later = read(quote_body(), DAILY_BARS, since_us=start + 1)
    assert (len(later.events), later.dropped["from before the time asked for"]) == (1, 1)


@pytest.mark.parametrize("volume", [None, "None", "-", ""])
def test_a_volume_that_is_not_stated_is_null(volume: str | None) -> None:
    assert [event.volume for event in read(quote_body(volume=volume)).events] == [None, None]


@pytest.mark.parametrize(
    ("changes", "reason", "kept"),
    [
        ({"price": "None"}, "price: 'None' is not a number", 0),
        ({"price": ""}, "price: '' is not a number", 0),
        ({"price": "1e999"}, "price: '1e999' is not a number", 0),
        ({"price": 112.13}, "quote: Expected `str`, got `float`", 0),
        ({"price": True}, "quote: Expected `str`, got `bool`", 0),
        ({"open": "-"}, "day: '-' is not a number", 1),
        ({"volume": "1.5"}, "day: 1.5 is not a number of shares", 1),
        ({"latest": "2018-10-8"}, "quote: Invalid isoformat string", 0),
        ({"latest": "20181005"}, "quote: '20181005' is not a day", 0),
        ({"latest": "2018-10-09"}, "quote: the trading day 2018-10-09 has not begun", 0),
        ({"latest": "0001-01-01"}, "does not lie between 1990 and 2200", 0),
        ({"latest": "9999-12-31"}, "does not lie between 1990 and 2200", 0),
    ],
)
def test_a_figure_that_is_none_is_rejected_with_a_reason(changes: dict[str, Any], reason: str, kept: int) -> None:
    result = read(quote_body(**changes))
    (rejected,) = result.rejected
    assert reason in rejected.reason
    assert (rejected.symbol, rejected.asked_for, rejected.source) == ("MSFT", "quote", "alpha_vantage")
    assert [event.kind for event in result.events] == ["quote"] * kept
    assert len(read(rejected.raw).rejected) == 1


def test_nothing_in_a_quote_is_an_unknown_symbol() -> None:
    for body in (b'{"Global Quote": {}}', b'{\n    "Global Quote": {\n    }\n}'):
        with pytest.raises(SymbolUnknown, match="no quote of MSFT"):
            read(body)


# Minutes ----------------------------------------------------------------------------------------


def test_the_recorded_minutes_are_exact_bars_oldest_first(responses: Path) -> None:
    body = (responses / "intraday_MSFT_1min_compact.json").read_bytes()
    result = read(body, MINUTE_BARS, since_us=SINCE, now_us=MINUTES_NOW)
    assert (len(result.events), result.rejected, result.more) == (100, [], None)
    first, last = result.events[0], result.events[-1]
    assert first.event_time == at("2017-12-18 18:17")
    assert (last.event_id, str(last.close), str(last.volume)) == (
        f"alpha_vantage:MSFT:bar60:{at('2017-12-18 19:56')}",
        "86.5000",
        "10494",
    )
    assert [event.event_time for event in result.events] == [first.event_time + i * MINUTE_US for i in range(100)]
    assert {reason_invalid(event, MINUTES_NOW) for event in result.events} == {None}


@pytest.mark.parametrize(
    ("plan", "now", "date", "closed"),
    [
        ("realtime", "2017-12-18 19:57:00", None, 100),
        ("realtime", "2017-12-18 19:56:59", None, 99),
        # The server's clock counts where ours runs ahead.
        ("realtime", "2017-12-18 19:57:30", "Mon, 18 Dec 2017 19:56:58 GMT", 99),
        ("delayed", "2017-12-18 20:11:59", None, 99),
        ("delayed", "2017-12-18 20:12:00", None, 100),
    ],
)
def test_the_running_minute_is_left_out(responses: Path, plan: str, now: str, date: str | None, closed: int) -> None:
    body = (responses / "intraday_MSFT_1min_compact.json").read_bytes()
    headers = {} if date is None else {"date": date}
    result = read(body, MINUTE_BARS, plan, since_us=SINCE, now_us=at(now), **headers)
    assert (len(result.events), result.dropped["still open"]) == (closed, 100 - closed)


def test_a_minute_that_is_missing_is_no_error_and_older_ones_are_not_wanted() -> None:
    body = series_body(("2017-12-18 14:58:00", row()), ("2017-12-18 14:55:00", row()), ("2017-12-18 14:54:00", row()))
    result = read(body, MINUTE_BARS, since_us=at("2017-12-18 19:55"), now_us=MINUTES_NOW)
    assert [event.event_time for event in result.events] == [at("2017-12-18 19:55"), at("2017-12-18 19:58")]
    assert result.dropped == {"from before the time asked for": 1}
    assert read(series_body(), MINUTE_BARS).events == []


def test_a_row_ahead_of_the_clock_is_left_to_the_validation() -> None:
    body = series_body(("2017-12-18 16:00:00", row()))
    (event,) = read(body, MINUTE_BARS, since_us=SINCE, now_us=MINUTES_NOW).events
    assert reason_invalid(event, MINUTES_NOW) == "event time lies in the future"


@pytest.mark.parametrize(
    ("stamp", "figures", "reason"),
    [
        ("2017-12-18 14:55:00", row("None"), "'None' is not a number"),
        ("2017-12-18 14:55:00", row(open="-"), "'-' is not a number"),
        ("2017-12-18 14:55:00", row(high=""), "'' is not a number"),
        ("2017-12-18 14:55:00", row(low=9.9), "Expected `str`, got `float`"),
        ("2017-12-18 14:55:00", row(volume="10.5"), "10.5 is not a number of shares"),
        ("2017-12-18 14:55:00", None, "Expected `object`, got `null`"),
        ("2017-12-18 14:55:30", row(), "off the minute grid"),
        ("2017-12-18T14:55:00", row(), "not a time of day in New York"),
        ("2017-12-18 14:55:00+00:00", row(), "not a time of day in New York"),
        ("2017-12-18", row(), "not a time of day in New York"),
        ("soon", row(), "Invalid isoformat string"),
        ("1517-12-18 14:55:00", row(), "does not lie between 1990 and 2200"),
        # The clocks go back at two, so half past one comes twice; and forward, so half past two never does.
        ("2017-11-05 01:30:00", row(), "two moments, or for none"),
        ("2017-03-12 02:30:00", row(), "two moments, or for none"),
    ],
)
def test_a_row_that_is_not_as_documented_is_rejected_alone(stamp: str, figures: Any, reason: str) -> None:
    body = series_body(("2017-12-18 14:56:00", row()), (stamp, figures), ("2017-12-18 14:54:00", row(volume="None")))
    result = read(body, MINUTE_BARS, since_us=0, now_us=MINUTES_NOW)
    assert [(event.event_time, event.volume is None) for event in result.events] == [
        (at("2017-12-18 19:54"), True),
        (at("2017-12-18 19:56"), False),
    ]
    (rejected,) = result.rejected
    assert reason in rejected.reason
    assert rejected.asked_for == "bar60"
    again = read(rejected.raw, MINUTE_BARS, now_us=MINUTES_NOW)
    assert (again.events, len(again.rejected)) == ([], 1)


def test_the_hours_around_the_change_of_clocks_have_their_own_offset() -> None:
    stamps = ["2017-11-05 00:59:00", "2017-11-05 02:00:00", "2018-03-11 01:59:00", "2018-03-11 03:00:00"]
    body = series_body(*((stamp, row()) for stamp in reversed(stamps)))
    result = read(body, MINUTE_BARS, now_us=SATURDAY)
    assert [event.event_time for event in result.events] == [
        at("2017-11-05 04:59"),
        at("2017-11-05 07:00"),
        at("2018-03-11 06:59"),
        at("2018-03-11 07:00"),
    ]


def test_the_hour_that_is_there_twice_makes_a_bad_payload() -> None:
    rows = b'"2017-11-05 01:30:00": {}, "2017-11-05 01:30:00": {}'
    with pytest.raises(BadPayload, match="stands twice"):
        read(series_body().replace(b'(1min)": {}', b'(1min)": {' + rows + b"}"), MINUTE_BARS)


@pytest.mark.parametrize(
    ("meta", "said"),
    [
        ({"symbol": "AAPL"}, "asked for MSFT, got 'AAPL'"),
        ({"interval": "5min"}, "asked for minutes of New York, got '5min'"),
        ({"time": "UTC"}, "asked for minutes of New York, got '1min' of 'UTC'"),
    ],
)
def test_minutes_of_something_else_are_a_bad_payload(meta: dict[str, str], said: str) -> None:
    with pytest.raises(BadPayload, match=said):
        read(series_body(("2017-12-18 14:56:00", row()), **meta), MINUTE_BARS)


# Refusals ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "error", "seconds"),
    [
        ("error_200_information_25_per_day.json", QuotaExhausted, 86_400),
        ("error_200_note_5_per_minute.json", RateLimited, 60),
        ("error_200_invalid_call.json", SymbolUnknown, None),
    ],
)
@pytest.mark.parametrize("want", [QUOTES, DAILY_BARS, MINUTE_BARS], ids=lambda want: want.name)
def test_a_recorded_refusal_is_its_error(
    responses: Path, name: str, error: type[SourceError], seconds: int | None, want: Want
) -> None:
    with pytest.raises(error) as raised:
        read((responses / name).read_bytes(), want)
    assert type(raised.value) is error
    assert raised.value.until == (None if seconds is None else SATURDAY / SECOND + seconds)


@pytest.mark.parametrize(
    "name",
    [
        *("currency_exchange_rate_USD_JPY.json", "market_status.json", "symbol_search_BA.json"),
        *("global_quote_IBM.csv", "intraday_IBM_5min_compact.csv", "daily_IBM_compact.csv"),
        *("digital_currency_daily_BTC_EUR.csv", "daily_IBM_trimmed.json"),
    ],
)
@pytest.mark.parametrize("want", [QUOTES, DAILY_BARS, MINUTE_BARS], ids=lambda want: want.name)
def test_a_recorded_answer_to_another_question_is_a_bad_payload(responses: Path, name: str, want: Want) -> None:
    body = (responses / name).read_bytes()
    with pytest.raises(BadPayload, match="alpha_vantage: not as documented") as raised:
        read(body, want)
    assert raised.value.payload == body


PREMIUM = "https://www.alphavantage.co/premium/"
BURST = (
    "Thank you for using Alpha Vantage! Please consider spreading out your free API requests more sparingly "
    f"(1 request per second). You may subscribe to any of the premium plans at {PREMIUM} to lift the free key rate "
    "limit (25 requests per day), raise the per-second burst limit, and instantly unlock all premium endpoints"
)
DAILY = (
    f"We have detected your API key as {KEY} and our standard API rate limit is 25 requests per day. Please subscribe "
    f"to any of the premium plans at {PREMIUM} to instantly remove all daily rate limits."
)
SAMPLE = "This is a premium endpoint. ***THE SAMPLE DATA SCHEMA BELOW IS ARTIFICIAL AND FOR ILLUSTRATION ONLY.***"


@pytest.mark.parametrize("name", ["Information", "Note", "Error Message", "message", "detail"])
@pytest.mark.parametrize(
    ("text", "error", "seconds"),
    [
        (BURST, RateLimited, 15),
        ("Burst pattern detected. Please spread out your API requests.", RateLimited, 15),
        (DAILY, QuotaExhausted, 86_400),
        ("Thank you for using Alpha Vantage! This is a premium endpoint.", PlanForbidden, None),
        ("The outputsize=full parameter value is a premium feature for this endpoint.", PlanForbidden, None),
        (SAMPLE, PlanForbidden, None),
        ("Our standard API call frequency is 5 calls per minute and 500 calls per day.", RateLimited, 60),
        ("the parameter apikey is invalid or missing. Please claim your free API key", AuthStale, None),
        ("The **demo** API key is for demo purposes only.", AuthStale, None),
        ("Invalid API call. Please retry or visit the documentation", SymbolUnknown, None),
        ("We have never said this before.", SourceError, None),
        ("", SourceError, None),
    ],
)
def test_the_text_decides_whatever_it_is_called_and_whatever_stands_beside_it(
    name: str, text: str, error: type[SourceError], seconds: int | None
) -> None:
    for body in ({name: text}, {name: text} | json.loads(quote_body())):
        with pytest.raises(SourceError) as raised:
            read(json.dumps(body).encode())
        assert type(raised.value) is error
        assert raised.value.until == (None if seconds is None else SATURDAY / SECOND + seconds)


@pytest.mark.parametrize(
    ("status", "error"),
    [(401, AuthStale), (403, Banned), (404, SourceError), (408, Transient), (429, RateLimited), (503, Transient)],
)
def test_a_status_counts_where_the_body_says_nothing(status: int, error: type[SourceError]) -> None:
    refused = source().refusal(Answer(status, {"retry-after": "30"}, b"<html>down</html>"), SATURDAY)
    assert type(refused) is error
    stated = error in (RateLimited, Banned)
    assert refused.until == (SATURDAY / SECOND + 30 if stated else None)


@pytest.mark.parametrize(
    "body", [b"{}", b"", b"<html>Will be right back</html>", b"[]", b"null", b'{"Global Quote": 1', b"[" * 100_000]
)
def test_a_body_without_the_data_is_a_bad_payload(body: bytes) -> None:
    for want in (QUOTES, MINUTE_BARS):
        with pytest.raises(BadPayload) as raised:
            read(body, want)
        assert raised.value.payload == body


# The key ----------------------------------------------------------------------------------------


def test_no_refusal_says_a_key_aloud() -> None:
    for said in (DAILY, DAILY.replace(KEY, "ANOTHER1"), f"apikey={KEY}&x {BURST}", f"{KEY} is a premium endpoint"):
        refused = source().refusal(Answer(200, {}, json.dumps({"Information": said}).encode()), SATURDAY)
        assert refused is not None
        assert "[redacted]" in str(refused)
        assert KEY not in str(refused)
        assert "ANOTHER1" not in str(refused)


@pytest.mark.parametrize(
    ("want", "body"),
    [
        (QUOTES, f'{{"{KEY}": 1}}'),
        (QUOTES, f'{{"{KEY}": 1, "{KEY}": 1}}'),
        (QUOTES, f"We have detected your API key as {KEY} and"),
        (QUOTES, quote_body(symbol=KEY).decode()),
        (MINUTE_BARS, series_body(symbol=KEY).decode()),
        (MINUTE_BARS, f'{{"Meta Data": "{KEY}", "Time Series (1min)": {{}}}}'),
    ],
)
def test_no_bad_payload_holds_the_key(want: Want, body: str) -> None:
    with pytest.raises(BadPayload) as raised:
        read(body.encode(), want)
    assert KEY not in str(raised.value)
    assert KEY.encode() not in raised.value.payload
    assert b"[redacted]" in raised.value.payload


@pytest.mark.parametrize(
    ("want", "body"),
    [
        (QUOTES, quote_body(price=KEY)),
        (QUOTES, quote_body(open=KEY)),
        (QUOTES, quote_body(latest=KEY)),
        (MINUTE_BARS, series_body(("2017-12-18 14:55:00", row(KEY)))),
        (MINUTE_BARS, series_body((KEY, row()))),
    ],
)
def test_no_rejected_fact_holds_the_key(want: Want, body: bytes) -> None:
    (rejected,) = read(body, want).rejected
    assert KEY.encode() not in rejected.raw
    assert KEY not in rejected.reason
    assert b"[redacted]" in rejected.raw


def test_without_a_key_of_ours_an_echoed_one_is_still_removed() -> None:
    assert AlphaVantageSource("").redact(b"your API key as ABC123 and") == b"your API key as [redacted] and"
