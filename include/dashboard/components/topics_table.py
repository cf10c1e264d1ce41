"""Kafka's topics: partitions, offsets, what is kept, and what the stream has not taken yet."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dash import dcc, html

from include.dashboard.components.table import table
from include.dashboard.formatting import NOT_KNOWN
from include.dashboard.operations_selection import OperationsSelection
from include.dashboard.operations_words import retention_words
from include.dashboard.quality_words import FAILED
from include.operations.kafka_look import PartitionLook, TopicLook

_COLUMNS = ("Topic", "Partition", "First offset", "End offset", "Kept", "Consumer", "Committed", "Lag", "Retention")


def topics_table(looks: Sequence[TopicLook], selection: OperationsSelection) -> Any:
    """A row a topic, and under it one for each partition if it has several."""
    rows: list[list[Any]] = []
    for look in looks:
        rows.append(_whole(look, selection))
        if len(look.partitions) > 1:
            rows += [_part(look, each, selection) for each in look.partitions]
    kept = sum(look.kept for look in looks)
    caption = f"{len(looks)} topics, {kept:,} records kept; a topic's name leads to its newest records"
    return table(_COLUMNS, rows, caption)


def _whole(look: TopicLook, selection: OperationsSelection) -> list[Any]:
    if not look.is_there:
        missing = html.Span([html.Span(FAILED, className="sign"), "the broker does not have it"], className="told bad")
        return [html.Span(look.name, className="topic"), missing, *[NOT_KNOWN] * (len(_COLUMNS) - 2)]
    only = look.partitions[0] if len(look.partitions) == 1 else None
    return [
        _link(look.name, selection, topic=look.name, partition=None, offset=None),
        f"{len(look.partitions)} in all" if only is None else "0",
        "" if only is None else f"{only.first:,}",
        "" if only is None else f"{only.end:,}",
        f"{look.kept:,}",
        look.group or "none",
        _offset(only.committed) if only is not None and look.group else "",
        NOT_KNOWN if look.group and look.lag is None else "" if look.lag is None else f"{look.lag:,}",
        retention_words(look.retention_ms),
    ]


def _part(look: TopicLook, part: PartitionLook, selection: OperationsSelection) -> list[Any]:
    name = f"partition {part.number}"
    label = f"{look.name}, {name}"
    return [
        html.Span(_link(name, selection, label, topic=look.name, partition=part.number, offset=None), className="part"),
        f"{part.number}",
        f"{part.first:,}",
        f"{part.end:,}",
        f"{part.kept:,}",
        "",
        _offset(part.committed) if look.group else "",
        "" if not look.group else NOT_KNOWN if part.lag is None else f"{part.lag:,}",
        "",
    ]


def _link(text: str, selection: OperationsSelection, title: str | None = None, **changes: Any) -> dcc.Link:
    return dcc.Link(text, href=selection.href(**changes), className="topic", title=title)


def _offset(committed: int | None) -> str:
    return NOT_KNOWN if committed is None else f"{committed:,}"
