"""Yahoo's splits and dividends: the `events` of a daily chart.

A dividend's amount is adjusted for the splits up to now, as all of the chart is.
"""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from include.errors import BadPayload
from include.market.corporate_action import CorporateAction
from include.market.event import MICROSECONDS
from include.market.instrument import Instrument
from include.market.moments import moment
from include.sources.base import ACTIONS, Answer, Question, source_id
from include.sources.strict import decode


class _Split(msgspec.Struct):
    date: int
    numerator: Decimal
    denominator: Decimal


class _Dividend(msgspec.Struct):
    date: int
    amount: Decimal


class _Events(msgspec.Struct):
    splits: dict[str, _Split] = {}
    dividends: dict[str, _Dividend] = {}


class _Meta(msgspec.Struct, rename="camel"):
    symbol: str
    exchange_timezone_name: str
    currency: str | None = None


class _Result(msgspec.Struct):
    meta: _Meta
    events: _Events | None = None


class _Chart(msgspec.Struct):
    result: list[_Result] | None = None


class _Body(msgspec.Struct):
    chart: _Chart


_body = msgspec.json.Decoder(_Body)


def actions_question(instrument: Instrument, since_us: int, now_us: int) -> Question:
    """Whatever came since then."""
    params = {
        "period1": str(since_us // MICROSECONDS),
        "period2": str(now_us // MICROSECONDS + 1),
        "interval": "1d",
        "includePrePost": "false",
        "events": "div,splits",
    }
    return Question(ACTIONS, (instrument,), f"/v8/finance/chart/{source_id(instrument, 'yahoo')}", params, since_us)


def read_actions(question: Question, answer: Answer, now_us: int) -> list[CorporateAction]:
    """In order of their dates. Raises BadPayload for a body that is no chart of this instrument."""
    (instrument,) = question.instruments
    try:
        decoded = decode(answer.body, _body)
    except ValueError as error:
        raise BadPayload(f"yahoo: not a chart with events: {error}", answer.body) from error
    if not decoded.chart.result:
        raise BadPayload("yahoo: a chart without a result", answer.body)
    result = decoded.chart.result[0]
    if result.meta.symbol.upper() != source_id(instrument, "yahoo").upper():
        raise BadPayload(f"yahoo: asked for {instrument.symbol}, got {result.meta.symbol[:40]!r}", answer.body)
    try:
        zone = ZoneInfo(result.meta.exchange_timezone_name)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise BadPayload(f"yahoo: no such time zone: {error}", answer.body) from error
    events = result.events or _Events()
    found = []
    for split in events.splits.values():
        if split.numerator <= 0 or split.denominator <= 0:
            raise BadPayload(f"yahoo: a split {split.numerator}:{split.denominator}", answer.body)
        found.append(
            CorporateAction(
                instrument.symbol,
                "split",
                _day(split.date, zone),
                "yahoo",
                now_us,
                numerator=split.numerator,
                denominator=split.denominator,
            )
        )
    for dividend in events.dividends.values():
        if dividend.amount <= 0:
            raise BadPayload(f"yahoo: a dividend of {dividend.amount}", answer.body)
        found.append(
            CorporateAction(
                instrument.symbol,
                "dividend",
                _day(dividend.date, zone),
                "yahoo",
                now_us,
                amount=dividend.amount,
                currency=result.meta.currency,
            )
        )
    return sorted(found, key=lambda action: (action.ex_date, action.kind))


def _day(seconds: int, zone: ZoneInfo) -> date:
    """The exchange's day of an opening."""
    return moment(seconds * MICROSECONDS).astimezone(zone).date()
