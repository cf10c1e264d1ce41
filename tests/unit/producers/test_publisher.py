from __future__ import annotations

import base64
import json

import pytest

from include.errors import PublishError
from include.producers.publisher import MAX_RAW_BYTES, KafkaPublisher, dead_letter_value
from include.sources.base import Rejected
from tests.unit.producers.test_ingestion import a_bar


def test_a_dead_letter_keeps_text_as_text_and_bytes_as_base64() -> None:
    text = json.loads(dead_letter_value(Rejected("[1,€".encode(), "short", "binance", "BTC-USD"), 7))
    assert text == {
        "reason": "short",
        "source": "binance",
        "symbol": "BTC-USD",
        "raw": "[1,€",
        "raw_encoding": "utf-8",
        "raw_bytes": 6,
        "rejected_at": 7,
    }
    odd = json.loads(dead_letter_value(Rejected(b"\xff\x00", "odd", "yahoo", "AAPL"), 7))
    assert (odd["raw_encoding"], base64.b64decode(odd["raw"])) == ("base64", b"\xff\x00")


def test_a_dead_letter_of_a_huge_body_fits_into_a_message() -> None:
    letter = dead_letter_value(Rejected(b"x" * 5_000_000, "huge", "yahoo", "AAPL"), 7)
    assert len(letter) < MAX_RAW_BYTES + 1_000
    assert json.loads(letter)["raw_bytes"] == 5_000_000


def test_a_broker_that_does_not_answer_is_an_error_that_names_how_many() -> None:
    publisher = KafkaPublisher("127.0.0.1:1", flush_seconds=0.5)
    for symbol in ("AAPL", "IBM"):
        publisher.publish(a_bar(symbol))
    publisher.dead_letter(Rejected(b"x", "odd", "yahoo", "AAPL"), 7)
    with pytest.raises(PublishError, match="did not confirm 3 of 3 messages"):
        publisher.confirm()
    # The next batch counts its own messages only.
    assert publisher.confirm() == 0
    publisher.close()
