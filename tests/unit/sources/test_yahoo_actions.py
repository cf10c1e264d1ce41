"""Splits and dividends in Yahoo's recorded charts."""

from __future__ import annotations

import json
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from include.errors import BadPayload, SymbolUnknown
from include.market.event import MICROSECONDS
from include.sources.base import ACTIONS, Answer
from include.sources.catalogue import catalogue
from include.sources.yahoo import YahooSource

NOW = 1_700_000_000 * MICROSECONDS
AAPL = catalogue().get("AAPL")
SOURCE = YahooSource()


def read(body: bytes) -> list[Any]:
    (question,) = SOURCE.questions(ACTIONS, [AAPL], {"AAPL": NOW - 9}, NOW)
    return SOURCE.read(question, Answer(200, {}, body), NOW).actions


def chart(**events: object) -> dict[str, Any]:
    meta = {"symbol": "AAPL", "currency": "USD", "exchangeTimezoneName": "America/New_York", "dataGranularity": "1d"}
    return {"chart": {"result": [{"meta": meta, "events": events, "indicators": {"quote": [{}]}}], "error": None}}


def test_the_question_is_a_daily_chart_with_its_events() -> None:
    (question,) = SOURCE.questions(ACTIONS, [AAPL], {"AAPL": NOW - 86_400 * MICROSECONDS}, NOW)
    assert question.path == "/v8/finance/chart/AAPL"
    assert dict(question.params) == {
        "period1": "1699913600",
        "period2": "1700000001",
        "interval": "1d",
        "includePrePost": "false",
        "events": "div,splits",
    }


def test_the_recorded_year_has_its_split_and_dividends(shared_data: Path) -> None:
    found = read((shared_data / "responses/yahoo/chart_AAPL_1d_2020.json").read_bytes())
    assert [(action.kind, action.ex_date, action.amount or action.ratio) for action in found] == [
        ("dividend", date(2020, 2, 7), Decimal("0.1925")),
        ("dividend", date(2020, 5, 8), Decimal("0.205")),
        ("dividend", date(2020, 8, 7), Decimal("0.205")),
        ("split", date(2020, 8, 31), 4),
        ("dividend", date(2020, 11, 6), Decimal("0.205")),
    ]
    assert {(action.source, action.ingested_at) for action in found} == {("yahoo", NOW)}


def test_a_chart_without_events_has_none(shared_data: Path) -> None:
    assert read((shared_data / "responses/yahoo/chart_AAPL_1m_20241002.json").read_bytes()) == []


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"<html>", "not a chart with events"),
        (json.dumps({"chart": {"result": []}}).encode(), "without a result"),
        (json.dumps(chart(splits={"1": {"date": 1, "numerator": 0, "denominator": 1}})).encode(), "a split 0:1"),
        (json.dumps(chart(dividends={"1": {"date": 1, "amount": -1}})).encode(), "a dividend of -1"),
        (json.dumps(chart()).replace("AAPL", "MSFT").encode(), "got 'MSFT'"),
        (json.dumps(chart()).replace("America/New_York", "Nowhere/At_All").encode(), "no such time zone"),
    ],
)
def test_what_is_not_as_documented_is_refused(body: bytes, words: str) -> None:
    with pytest.raises(BadPayload, match=words):
        read(body)


def test_what_yahoo_states_is_a_refusal(shared_data: Path) -> None:
    body = (shared_data / "responses/yahoo/error_404_chart_SI_delisted.json").read_bytes()
    assert isinstance(SOURCE.refusal(Answer(404, {}, body), NOW), SymbolUnknown)
