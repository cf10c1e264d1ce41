"""Candles of one and five minutes by Quix Streams: `python app.py SERVERS TOPIC OUT GROUP FOLDER`.

At its best: one process, no changelog topics, commits each 5 s (its default), one reducer a window that keeps all
figures in one state value, and five minutes made from the minutes that are final. Appends a line
`monotonic seconds, records, CPU seconds` to FOLDER/marks each STEP records; ends when nothing comes any more.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

from candle import Folded, folded, line, merged, opened
from quixstreams import Application

STEP = 10_000
#: More than the disorder of the benchmark's trades.
GRACE_MS = 10_000
QUIET_SECONDS = 5.0


def main(servers: str, topic: str, out: str, group: str, folder: Path) -> None:
    application = Application(
        broker_address=servers,
        consumer_group=group,
        auto_offset_reset="earliest",
        state_dir=folder / "state",
        use_changelog_topics=False,
        auto_create_topics=False,
        loglevel="WARNING",
    )
    marks = (folder / "marks").open("a", buffering=1)
    seen = 0

    def event_time(value: Any, _headers: Any, _timestamp: float, _kind: Any) -> int:
        nonlocal seen
        seen += 1
        if seen % STEP == 0:
            marks.write(f"{time.monotonic()} {seen} {time.process_time()}\n")
        return int(value["event_time"]) // 1_000

    def as_line(interval: str) -> Any:
        def write(value: dict[str, Any], key: bytes, *_: Any) -> list[Any]:
            return line(key.decode(), interval, value["start"], value["value"])

        return write

    def of_minute(window: dict[str, Any]) -> Folded:
        return list(window["value"])

    marks.write(f"{time.monotonic()} 0 {time.process_time()}\n")
    source = application.topic(topic, timestamp_extractor=event_time)
    target = application.topic(out)
    trades = application.dataframe(source)
    minutes = trades.tumbling_window(60_000, grace_ms=GRACE_MS).reduce(folded, opened).final()
    fives = (
        minutes.tumbling_window(300_000)
        .reduce(lambda longer, window: merged(longer, window["value"]), of_minute)
        .final()
    )
    minutes.apply(as_line("1m"), metadata=True).to_topic(target)
    fives.apply(as_line("5m"), metadata=True).to_topic(target)
    application.run(timeout=QUIET_SECONDS)


if __name__ == "__main__":
    main(*sys.argv[1:5], Path(sys.argv[5]))
