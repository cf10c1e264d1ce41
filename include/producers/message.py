"""Kafka records as the publisher makes them. Pure."""

from __future__ import annotations

from functools import cache

import msgspec

from include.market import topics
from include.market.event import AssetClass, MarketEvent, Source, encode
from include.producers.letters import dead_letter_value
from include.sources.base import Rejected

Headers = list[tuple[str, str]]


class Message(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """One Kafka record on its way."""

    topic: str
    key: bytes
    value: bytes
    headers: Headers


def event_message(event: MarketEvent) -> Message:
    """The event as a Kafka record; the key is the symbol, so one symbol keeps its order."""
    topic, key, headers = _address(event.asset_class, event.symbol, event.source, event.schema_version)
    return Message(topic, key, encode(event), headers)


def letter_message(rejected: Rejected, at_us: int) -> Message:
    """The dead letter as a Kafka record."""
    headers: Headers = [("source", rejected.source)]
    return Message(topics.DEAD_LETTERS, rejected.symbol.encode(), dead_letter_value(rejected, at_us), headers)


@cache
def _address(asset_class: AssetClass, symbol: str, source: Source, schema_version: int) -> tuple[str, bytes, Headers]:
    headers: Headers = [("source", source), ("schema_version", str(schema_version))]
    return topics.EVENTS[asset_class], symbol.encode(), headers
