"""The dead letter: what could not become an event, with the reason. Pure."""

from __future__ import annotations

import base64
from contextlib import suppress

import msgspec

from include.sources.base import Rejected

#: A dead letter keeps the beginning of a larger body.
MAX_RAW_BYTES = 256 * 1024
#: The broker takes records of up to a megabyte, and JSON may write a byte in six.
MAX_LETTER_BYTES = 900_000
_SHORT_RAW_BYTES = 1_024


class Letter(msgspec.Struct, frozen=True, kw_only=True):
    """The dead letter's JSON.

    `raw` is the text as it came, or base64 where it is no UTF-8 (`raw_encoding` says which), cut at
    MAX_RAW_BYTES (`raw_bytes` is the whole length). `asked_for` as in `Rejected`; empty in letters from
    before it was kept. `rejected_at` in UTC epoch microseconds.
    """

    reason: str
    source: str
    symbol: str
    asked_for: str = ""
    raw: str
    raw_encoding: str
    raw_bytes: int
    rejected_at: int

    @property
    def payload(self) -> bytes:
        """The bytes that came. Raises ValueError where `raw` is not what `raw_encoding` says."""
        return base64.b64decode(self.raw, validate=True) if self.raw_encoding == "base64" else self.raw.encode()

    @property
    def is_whole(self) -> bool:
        return len(self.payload) == self.raw_bytes


def dead_letter_value(rejected: Rejected, at_us: int) -> bytes:
    """The Kafka value of a dead letter; it fits into a record whatever came."""
    raw = rejected.raw[:MAX_RAW_BYTES]
    with suppress(UnicodeDecodeError):
        value = _encoded(rejected, at_us, raw.decode("utf-8"), "utf-8")
        if len(value) <= MAX_LETTER_BYTES:
            return value
    return _encoded(rejected, at_us, base64.b64encode(raw).decode("ascii"), "base64")


def read_letter(value: bytes) -> Letter:
    """The inverse of `dead_letter_value`. Raises msgspec.ValidationError or msgspec.DecodeError."""
    return msgspec.json.decode(value, type=Letter)


def shortened(value: bytes) -> bytes | None:
    """A letter that Kafka refused, with no more than the beginning of its body; None if it had no more."""
    letter = read_letter(value)
    raw = letter.payload
    if len(raw) <= _SHORT_RAW_BYTES:
        return None
    cut = msgspec.structs.replace(
        letter, raw=base64.b64encode(raw[:_SHORT_RAW_BYTES]).decode("ascii"), raw_encoding="base64"
    )
    return msgspec.json.encode(cut)


def _encoded(rejected: Rejected, at_us: int, raw: str, encoding: str) -> bytes:
    return msgspec.json.encode(
        Letter(
            reason=rejected.reason,
            source=rejected.source,
            symbol=rejected.symbol,
            asked_for=rejected.asked_for,
            raw=raw,
            raw_encoding=encoding,
            raw_bytes=len(rejected.raw),
            rejected_at=at_us,
        )
    )
