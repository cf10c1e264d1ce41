"""Records of a Kafka topic as they lie there: key, time, offset and the value, always as text."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import msgspec
from dash import dcc, html

from include.dashboard.components.attributes import aria, data
from include.dashboard.components.notice import notice
from include.dashboard.operations_selection import COUNTS, OperationsSelection
from include.operations.kafka_look import Record, TopicLook

#: So much of a value is shown.
SHOWN_CHARACTERS = 4_096
#: A larger value is not taken apart to be indented.
_INDENTED_BYTES = 64_000
_KEY_CHARACTERS = 120


def records_head(selection: OperationsSelection, looks: Sequence[TopicLook]) -> Any:
    """The ways to other partitions, counts and offsets; what is chosen is in the address."""
    if selection.topic is None:
        return notice("No topic is chosen", "a topic's name in the table above leads to its newest records")
    look = next((each for each in looks if each.name == selection.topic), None)
    numbers: list[int | None] = [None, *(each.number for each in look.partitions)] if look else [None]
    partitions = [
        _choice(
            "all partitions" if each is None else f"{each}",
            selection.href(partition=each, offset=None),
            each == selection.partition,
            None if each is None else f"partition {each}",
        )
        for each in numbers
    ]
    counts = [
        _choice(f"{each}", selection.href(count=each), each == selection.count, f"{each} records") for each in COUNTS
    ]
    return [
        html.Strong(selection.topic, className="topic"),
        html.Span(partitions, className="timeframes", role="group", **aria(label="Partition")),
        html.Span(counts, className="timeframes", role="group", **aria(label="Records shown")),
        *(
            [dcc.Link("Newest", href=selection.href(offset=None), className="way")]
            if selection.offset is not None
            else []
        ),
    ]


def records_list(records: Sequence[Record], selection: OperationsSelection) -> Any:
    """Newest first, or from the chosen offset on."""
    if not records:
        return _nothing(selection)
    following = _following(records, selection)
    return [
        html.Ol([_record(each) for each in records], className="records"),
        html.Nav(following, className="ways", **aria(label="Further records")),
    ]


def value_text(value: bytes | None, limit: int = SHOWN_CHARACTERS) -> tuple[str, str]:
    """The value as text, indented where it is JSON, and what must be said of it besides."""
    if value is None:
        return "", "no value: a tombstone"
    text = value[: max(_INDENTED_BYTES, limit)].decode("utf-8", "backslashreplace")
    if len(value) <= _INDENTED_BYTES:
        # What is no JSON is shown as it came. Figures keep every digit: nothing is parsed, only indented.
        with suppress(msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            text = msgspec.json.format(value, indent=2).decode()
    if len(text) > limit:
        return text[:limit], f"the first {limit:,} characters of {len(value):,} bytes"
    return text, ""


def _record(record: Record) -> html.Li:
    text, remark = value_text(record.value)
    key = "no key" if record.key is None else record.key.decode("utf-8", "backslashreplace")[:_KEY_CHARACTERS]
    at = "no time" if record.at is None else f"{record.at:%Y-%m-%d %H:%M:%S.%f}"[:-3] + " UTC"
    return html.Li(
        key=f"{record.topic}/{record.partition}/{record.offset}",
        **data(offset=f"{record.partition}/{record.offset}"),
        children=[
            html.P(
                [
                    html.Strong(key, className="key"),
                    html.Span(at),
                    html.Span(f"partition {record.partition}, offset {record.offset:,}"),
                    html.Span(f"{len(record.value or b''):,} bytes"),
                    *([html.Span(remark, className="warning")] if remark else []),
                ],
                className="record-head",
            ),
            # A place that scrolls must be reachable by keyboard.
            html.Pre(
                text, className="value", tabIndex="0", role="region", **aria(label=f"Value of offset {record.offset}")
            ),
        ],
    )


def _following(records: Sequence[Record], selection: OperationsSelection) -> list[Any]:
    """Older and newer records of one partition; of several there is no such order."""
    if selection.partition is None and len({each.partition for each in records}) > 1:
        return [html.Span("choose a partition to walk through its offsets", className="hint")]
    first, last = min(each.offset for each in records), max(each.offset for each in records)
    partition = records[0].partition
    older = selection.href(partition=partition, offset=max(0, first - selection.count))
    newer = selection.href(partition=partition, offset=last + 1)
    return [
        *([dcc.Link("← Older", href=older, className="way")] if first else []),
        *([dcc.Link("Newer →", href=newer, className="way")] if selection.offset is not None else []),
    ]


def _nothing(selection: OperationsSelection) -> Any:
    if selection.offset is not None:
        return notice("No record from this offset on", "the topic ends before it, or what it had was let go")
    return notice("The topic is empty", "what comes will be shown here")


def _choice(text: str, href: str, chosen: bool, label: str | None = None) -> html.Span:
    link = dcc.Link(text, href=href, className="timeframe", title=label)
    return html.Span(link, className="chosen" if chosen else "", **(aria(current="true") if chosen else {}))
