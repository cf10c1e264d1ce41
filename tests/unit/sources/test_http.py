"""Both transports, asked for the same things over real sockets; then the readers of times and figures."""

from __future__ import annotations

import gzip
import logging
import time
import tracemalloc
from collections.abc import Callable
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.errors import BadPayload, Transient
from include.sources.client import Transport
from include.sources.http import (
    KEPT_BYTES,
    LONGEST_PAUSE_SECONDS,
    MAX_BODY_BYTES,
    HttpTransport,
    Unit,
    epoch_us,
    exact,
    retry_at,
    server_time_us,
)
from include.sources.yahoo_session import YahooTransport
from tests.unit.sources.answers import Answer, AnswerServer, serving

NOW = 1_700_000_000_000_000
SECRET = {"apikey": "k-5e1f"}
IMPATIENT = 0.4


@pytest.fixture(params=[HttpTransport, YahooTransport])
def build(request: pytest.FixtureRequest) -> Callable[..., Transport]:
    return request.param  # type: ignore[no-any-return]


def test_an_answer_comes_as_it_is_whatever_its_status(build: Callable[..., Transport], server: AnswerServer) -> None:
    transport = build()
    for status in (200, 301, 404, 429, 503):
        server.answers = [Answer(b"body", status, {"Retry-After": "7", "Location": f"{server.url}/elsewhere"})]
        answer = transport.get(f"{server.url}/a", {"b": "c d"}, {})
        assert (answer.status, answer.body, answer.headers["retry-after"]) == (status, b"body", "7")
    # One request each: nothing was followed, nothing tried again.
    assert server.asked == [("/a", {"b": "c d"})] * 5
    transport.close()


def test_headers_of_ours_are_sent(server: AnswerServer) -> None:
    server.answers = [Answer(b"")]
    HttpTransport().get(server.url, {}, {"x-key": "1"})
    assert (server.headers["x-key"], server.headers["user-agent"]) == ("1", "market-data-platform")


def test_a_packed_body_is_unpacked(build: Callable[..., Transport], server: AnswerServer) -> None:
    server.answers = [Answer(gzip.compress(b"[1]"), headers={"Content-Encoding": "gzip"})]
    assert build().get(server.url, {}, {}).body == b"[1]"


@pytest.mark.parametrize("trouble", ["mute", "slow headers", "slow body", "cut"])
def test_an_answer_that_does_not_come_in_full_and_in_time_is_transient(
    build: Callable[..., Transport], server: AnswerServer, trouble: str
) -> None:
    server.answers = [Answer(b"[1", trouble=trouble)]  # type: ignore[arg-type]
    begun = time.monotonic()
    with pytest.raises(Transient):
        build(IMPATIENT).get(server.url, {}, {})
    assert time.monotonic() - begun < 5 * IMPATIENT


def test_a_transport_goes_on_after_a_failure(build: Callable[..., Transport], server: AnswerServer) -> None:
    server.answers = [Answer(b"", trouble="mute"), Answer(b"good")]
    transport = build(IMPATIENT)
    with pytest.raises(Transient):
        transport.get(server.url, {}, {})
    assert transport.get(server.url, {}, {}).body == b"good"


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (b"x" * (MAX_BODY_BYTES + 1), {}),
        (gzip.compress(bytes(40 * MAX_BODY_BYTES)), {"Content-Encoding": "gzip"}),
    ],
    ids=["large", "bomb"],
)
def test_a_body_without_end_stops_at_the_limit(
    build: Callable[..., Transport], server: AnswerServer, body: bytes, headers: dict[str, str]
) -> None:
    server.answers = [Answer(body, headers=headers)]
    transport = build()
    tracemalloc.start()
    try:
        with pytest.raises(BadPayload, match="more than") as caught:
            transport.get(server.url, {}, {})
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(caught.value.payload) == KEPT_BYTES
    assert peak < 4 * MAX_BODY_BYTES


def test_the_largest_body_is_taken(build: Callable[..., Transport], server: AnswerServer) -> None:
    server.answers = [Answer(b"x" * MAX_BODY_BYTES)]
    assert len(build().get(server.url, {}, {}).body) == MAX_BODY_BYTES


def test_a_dead_host_is_transient_and_the_message_names_no_more_than_the_host(
    build: Callable[..., Transport],
) -> None:
    with serving() as gone:
        pass
    with pytest.raises(Transient, match="^127.0.0.1:[0-9]+ did not answer: [A-Za-z]+$") as caught:
        build().get(gone.url, SECRET, {})
    # The client's own error, which may say more, is not shown with it.
    assert caught.value.__suppress_context__


def test_no_key_is_logged(server: AnswerServer, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    server.answers = [Answer(b"")]
    HttpTransport().get(server.url, SECRET, {"x-key": "h-77aa"})
    assert [query for _, query in server.asked] == [SECRET]
    assert caplog.text
    assert "k-5e1f" not in caplog.text
    assert "h-77aa" not in caplog.text


def test_the_proxy_of_the_environment_is_asked(
    build: Callable[..., Transport], server: AnswerServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("https_proxy", server.url)
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    with pytest.raises(Transient):
        build().get("https://market.example/x", {}, {})
    assert [target for target, _ in server.asked] == ["market.example:443"]


@pytest.mark.parametrize(("value", "unit"), [(1_588_740_120, "s"), (1_588_740_120_000, "ms")])
def test_a_time_in_its_unit_is_microseconds(value: int, unit: Unit) -> None:
    assert epoch_us(value, unit) == 1_588_740_120_000_000


def test_a_source_may_document_two_units() -> None:
    assert epoch_us(1_588_740_120_000, "ms", "us") == epoch_us(1_588_740_120_000_000, "ms", "us")


@given(st.integers(631_152_000_000_000, 7_258_118_399_999_999))
def test_a_time_in_another_unit_is_refused(time_us: int) -> None:
    units: dict[Unit, int] = {"s": time_us // 10**6, "ms": time_us // 10**3, "us": time_us}
    for unit in units:
        for written in (*(value for other, value in units.items() if other != unit), time_us * 1_000):
            with pytest.raises(ValueError, match="between 1990 and 2200"):
                epoch_us(written, unit)


@pytest.mark.parametrize("value", [0, -1, 631_151_999, 10**30, pytest.param(-(10**5000), id="long")])
def test_what_is_no_market_time_is_refused(value: int) -> None:
    with pytest.raises(ValueError, match="between 1990 and 2200"):
        epoch_us(value, "s")


def test_a_figure_keeps_its_digits() -> None:
    assert str(exact("0.10000000")) == "0.10000000"
    assert exact("1E-8") == exact(b"1e-8") == Decimal("0.00000001")
    assert exact("0.00000000") == 0


@pytest.mark.parametrize(
    "figure",
    [
        *("", "NaN", "sNaN", "-Infinity", "1E+20", "1E+999999999", "1E-999999999", "1e-99", "9" * 41, "9" * 21),
        *(" 1", "1 ", "1_0", "+1", ".5", "1.", "01", "0x1", "1,5", "\u0661", "1\n", "true", '"1"', "null", "--1"),
    ],
)
def test_what_is_no_figure_is_refused(figure: str) -> None:
    for given_as in (figure, figure.encode()):
        with pytest.raises(ValueError, match=r"is not a number|out of range"):
            exact(given_as)


def test_a_retry_time_is_read_as_seconds_or_as_a_date() -> None:
    assert retry_at("15", NOW) == 1_700_000_015
    assert retry_at("Tue, 14 Nov 2023 22:13:30 GMT", NOW) == 1_700_000_010
    assert retry_at("soon", NOW) is None
    assert retry_at(None, NOW) is None


@given(st.text() | st.from_regex(r"[0-9]{1,6000}", fullmatch=True))
def test_no_retry_time_is_for_ever(header: str) -> None:
    until = retry_at(header, NOW)
    assert until is None or until <= NOW / 1e6 + LONGEST_PAUSE_SECONDS


def test_the_servers_clock_is_its_date_or_ours() -> None:
    assert server_time_us("Tue, 14 Nov 2023 22:13:30 GMT", NOW) == 1_700_000_010_000_000
    assert server_time_us("yesterday", NOW) == NOW
    assert server_time_us(None, NOW) == NOW
