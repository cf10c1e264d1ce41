"""What the publisher does when there is no broker; with one, see tests/integration/test_publisher.py."""

from __future__ import annotations

import base64
import json
import time
from pathlib import Path

import pytest

from include.errors import PublishError
from include.producers.letters import MAX_LETTER_BYTES, MAX_RAW_BYTES, dead_letter_value, read_letter, shortened
from include.producers.publisher import Delivery, KafkaPublisher, ListPublisher
from include.producers.spool import Spool, SpoolFull
from include.sources.base import Rejected
from tests.unit.producers.told import a_bar

NOBODY = "127.0.0.1:1"


def test_a_dead_letter_keeps_text_as_text_and_bytes_as_base64() -> None:
    text = json.loads(dead_letter_value(Rejected("[1,€".encode(), "short", "binance", "BTC-USD", "bar60"), 7))
    assert text == {
        "reason": "short",
        "source": "binance",
        "symbol": "BTC-USD",
        "asked_for": "bar60",
        "raw": "[1,€",
        "raw_encoding": "utf-8",
        "raw_bytes": 6,
        "rejected_at": 7,
    }
    odd = json.loads(dead_letter_value(Rejected(b"\xff\x00", "odd", "yahoo", "AAPL"), 7))
    assert (odd["raw_encoding"], base64.b64decode(odd["raw"])) == ("base64", b"\xff\x00")


@pytest.mark.parametrize("raw", ["[1,€".encode(), b"\xff\x00", b"", b"\x00" * 1_000])
def test_a_dead_letter_gives_back_what_came(raw: bytes) -> None:
    letter = read_letter(dead_letter_value(Rejected(raw, "odd", "yahoo", "AAPL"), 7))
    assert (letter.payload, letter.is_whole) == (raw, True)


@pytest.mark.parametrize("byte", [b"x", b"\x00", b"\xff", b'"'])
def test_a_dead_letter_of_a_huge_body_fits_into_a_record(byte: bytes) -> None:
    value = dead_letter_value(Rejected(byte * 5_000_000, "huge", "yahoo", "AAPL"), 7)
    assert len(value) <= MAX_LETTER_BYTES
    letter = read_letter(value)
    assert (letter.payload, letter.raw_bytes, letter.is_whole) == (byte * MAX_RAW_BYTES, 5_000_000, False)


def test_a_letter_that_is_refused_can_be_shortened_once() -> None:
    short = shortened(dead_letter_value(Rejected(b"x" * 5_000, "odd", "yahoo", "AAPL", "quote"), 7))
    assert short is not None
    letter = read_letter(short)
    assert (letter.payload, letter.raw_bytes, letter.asked_for) == (b"x" * 1_024, 5_000, "quote")
    assert shortened(short) is None


def test_a_broker_that_does_not_answer_is_no_error_for_the_facts_are_on_disk(tmp_path: Path) -> None:
    publisher = KafkaPublisher(NOBODY, Spool(tmp_path / "job.sqlite", 1), flush_seconds=0.5)
    for symbol in ("AAPL", "IBM"):
        publisher.publish(a_bar(symbol))
    publisher.dead_letter(Rejected(b"x", "odd", "yahoo", "AAPL"), 7)
    began = time.monotonic()
    assert publisher.confirm() == Delivery(0, 3, reason="no answer from Kafka within 0.5 s")
    publisher.publish(a_bar("MSFT"))
    assert publisher.confirm().spooled == 4
    assert time.monotonic() - began < 3
    publisher.close()
    spool = Spool(tmp_path / "job.sqlite", 1)
    waiting = [message for segment in spool.waiting() for message in spool.read(segment)]
    assert [(message.topic, message.key) for message in waiting] == [
        ("market.stock.events.v1", b"AAPL"),
        ("market.stock.events.v1", b"IBM"),
        ("market.events.dlq.v1", b"AAPL"),
        ("market.stock.events.v1", b"MSFT"),
    ]
    assert dict(waiting[0].headers) == {"source": "yahoo", "schema_version": "1"}


def test_a_full_spool_is_an_error_and_keeps_nothing_of_the_batch(tmp_path: Path) -> None:
    publisher = KafkaPublisher(NOBODY, Spool(tmp_path / "job.sqlite", 1), flush_seconds=0.2)
    publisher.publish(a_bar("AAPL"))
    assert publisher.confirm().spooled == 1
    for _ in range(10):
        publisher.dead_letter(Rejected(b"x" * 200_000, "odd", "yahoo", "AAPL"), 7)
    with pytest.raises(SpoolFull, match="SPOOL_MAX_MEGABYTES"):
        publisher.confirm()
    assert publisher.confirm().spooled == 1
    publisher.close()


def test_what_another_process_sends_is_left_to_it(tmp_path: Path) -> None:
    other = Spool(tmp_path / "job.sqlite", 1)
    publisher = KafkaPublisher(NOBODY, Spool(tmp_path / "job.sqlite", 1), flush_seconds=0.1)
    publisher.publish(a_bar("AAPL"))
    with other.drainer(0):
        assert publisher.confirm() == Delivery(0, 1, reason="another process is sending")
    publisher.close()


def test_the_twin_waits_and_fails_as_the_real_one_does() -> None:
    publisher = ListPublisher(is_offline=True)
    publisher.publish(a_bar("AAPL"))
    assert publisher.confirm().spooled == 1
    publisher.is_offline, publisher.unconfirmed = False, 1
    publisher.publish(a_bar("IBM"))
    with pytest.raises(PublishError, match="1 of 1"):
        publisher.confirm()
    publisher.publish(a_bar("MSFT"))
    assert publisher.confirm() == Delivery(2)
    assert [event.symbol for event in publisher.events] == ["AAPL", "MSFT"]
