"""The list of alerts on literal rows: what it says, where it leads, and what a click notes."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from include.dashboard.alerts_view import BY, AlertsView
from include.dashboard.components.alerts_list import alerts_list, key_of
from include.storage.alert_reads import Notice
from tests.unit.dashboard.test_components import texts
from tests.unit.dashboard.twins import START, MemoryAlerts

SYMBOLS = ["AAPL", "BTC-USD"]
NOW = START + timedelta(minutes=5)
ANOMALY = Notice(
    kind="anomaly", at=START, severity="critical", title="", body="", id=None, symbol="AAPL", interval="1m",
    window_start=START, metric="price", value=-0.0123, mean=0.0, stddev=0.001, z_score=-7.25, acknowledged_at=None,
    resolved_at=None,
)  # fmt: skip
CHECK = Notice(
    kind="quality", at=START, severity="high", title="candles_equal_events failed", body="AAPL 14:30\nmore", id=7,
    symbol=None, interval=None, window_start=None, metric=None, value=None, mean=None, stddev=None, z_score=None,
    acknowledged_at=None, resolved_at=None,
)  # fmt: skip


def rows(*notices: Notice) -> list[Any]:
    return list(alerts_list(notices, NOW, SYMBOLS).children)


def test_a_line_says_what_happened_how_bad_and_when() -> None:
    anomaly, check = rows(ANOMALY, CHECK)
    assert texts(anomaly)[:3] == ["✖", "AAPL 1m price z −7.2", "−1.23 % at 14:30 UTC"]  # noqa: RUF001
    assert texts(anomaly)[3:5] == ["5m", "critical"]
    assert texts(check)[1:3] == ["candles_equal_events failed", "AAPL 14:30"]


def test_an_anomaly_leads_to_its_bar_and_a_check_to_its_page() -> None:
    anomaly, check, other = rows(ANOMALY, CHECK, replace(ANOMALY, symbol="<script>alert(1)</script>"))
    assert anomaly.children[0].href == "/?symbol=AAPL&tf=1m&from=2026-03-02T13:30&to=2026-03-02T15:30"
    assert check.children[0].href == "/quality"
    # What is not collected has no chart; its name is text.
    assert not hasattr(other.children[0], "href")
    assert texts(other)[1].startswith("<script>alert(1)</script> 1m price")


def test_what_was_seen_or_is_over_is_quiet() -> None:
    seen, over = rows(replace(ANOMALY, acknowledged_at=NOW), replace(CHECK, resolved_at=NOW))
    assert (seen.className, over.className) == ("alert critical over", "alert high over")
    assert (seen.children[2].disabled, over.children[2].disabled) == (True, False)
    assert (texts(seen)[4], texts(over)[4]) == ("seen", "resolved")


def test_no_alert_says_so() -> None:
    assert texts(alerts_list([], NOW, SYMBOLS))[0] == "Nothing to report"


def test_a_click_notes_exactly_what_was_shown() -> None:
    book = MemoryAlerts([ANOMALY, CHECK])
    view = AlertsView(book, book, lambda: NOW)
    assert view.newest() == [ANOMALY, CHECK]
    view.acknowledge(key_of(ANOMALY))
    view.acknowledge(key_of(CHECK))
    assert book.seen == [("AAPL", "1m", START, "price", BY), (7, BY)]


@pytest.mark.parametrize(
    "key", ["", "alert x", "alert 9999999999999999999999", "anomaly AAPL", "anomaly NOPE 1m 2026 price", "x y z"]
)
def test_a_key_that_nobody_was_shown_changes_nothing(key: str) -> None:
    book = MemoryAlerts([ANOMALY])
    view = AlertsView(book, book, lambda: NOW)
    view.newest()
    view.acknowledge(key)
    assert book.seen == []


def test_an_outage_keeps_the_last_list() -> None:
    book = MemoryAlerts([ANOMALY])
    view = AlertsView(book, book, lambda: NOW)
    view.newest()
    book.up = False
    assert view.newest() == [ANOMALY]
    view.acknowledge(key_of(ANOMALY))
    assert AlertsView(book, None, lambda: NOW).newest() is None
