"""What the operations page's address asks for: which records and which dead letter are looked at."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import parse_qs, urlencode

from include.dashboard.selection import OPERATIONS_PATH

#: So many records are shown: the buttons.
COUNTS = (10, 25, 50)
_LETTER = re.compile(r"[\w.-]{1,249}/\d{1,9}/\d{1,18}")


@dataclass(frozen=True, slots=True)
class OperationsSelection:
    """`partition` None: all; `offset` None: the newest records; `letter` is a dead letter's id."""

    topic: str | None = None
    partition: int | None = None
    offset: int | None = None
    count: int = COUNTS[0]
    letter: str | None = None

    def href(self, **changes: Any) -> str:
        """The address with these parts changed; what is usual is left out."""
        wanted = replace(self, **changes)
        parts: dict[str, Any] = {"topic": wanted.topic}
        if wanted.topic is not None:
            parts |= {"partition": wanted.partition, "offset": wanted.offset}
            parts["count"] = wanted.count if wanted.count != COUNTS[0] else None
        parts["letter"] = wanted.letter
        query = urlencode({name: value for name, value in parts.items() if value is not None}, safe="/")
        return f"{OPERATIONS_PATH}?{query}" if query else OPERATIONS_PATH


def parse_operations_selection(search: str | None, topics: Sequence[str]) -> OperationsSelection:
    """`?topic=market.stock.events.v1&partition=0&offset=120&count=25&letter=market.events.dlq.v1/0/7`.

    What is missing or unknown falls back: to no topic, all partitions, the newest ten records and no letter.
    """
    asked = {name: values[0] for name, values in parse_qs((search or "").removeprefix("?")).items()}
    letter, count = asked.get("letter", ""), _number(asked.get("count"))
    chosen = OperationsSelection(letter=letter if _LETTER.fullmatch(letter) else None)
    if asked.get("topic") not in topics:
        return chosen
    return replace(
        chosen,
        topic=asked["topic"],
        partition=_number(asked.get("partition"), longest=9),
        offset=_number(asked.get("offset")),
        count=count if count in COUNTS else COUNTS[0],
    )


def _number(text: str | None, longest: int = 18) -> int | None:
    """A whole number that is not negative and that Kafka could have; None for what is none."""
    return int(text) if text and text.isascii() and text.isdecimal() and len(text) <= longest else None
