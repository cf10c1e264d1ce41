"""Encode and produce beside Kafka's own `kafka-producer-perf-test`, and the parse rate of each source.

One broker, the same bytes, count and settings (acks=all, idempotence, lz4, linger, batch size), runs in turn;
the figure is messages per CPU second of the client's process: of all of it, and less its start, as a run of a
few messages has it.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.broker import Broker, broker
from benchmarks.parse import parse_rates, recorded_bodies
from benchmarks.produce import WAYS, events
from include.errors import MarketDataError, StackError
from include.market import topics
from include.market.event import encode
from include.settings import PROJECT_ROOT
from include.stack.jars import class_path

REFERENCE = "kafka-producer-perf-test"
COUNT = 500_000
REPEATS = 3
FEW = 50
AIM = 0.75
RESULTS = PROJECT_ROOT / "benchmarks" / "results" / "ingest.json"
#: As the producer of include/producers/kafka_sender.py; librdkafka's batches hold up to a megabyte.
_SETTINGS = (
    "acks=all",
    "enable.idempotence=true",
    "compression.type=lz4",
    "linger.ms=20",
    "batch.size=1000000",
)
LIMITS = (
    "Ours is one Python thread beside the client's own: of its CPU some three tenths go to encoding, two to the spool "
    "(SQLite's log), three to the produce call (key, value and headers are copied), the rest to the client's batches."
)


@dataclass(frozen=True, slots=True)
class Run:
    """One client process: the CPU of all its threads, and messages a second by the clock."""

    cpu_seconds: float
    per_second: float


def run(
    as_json: bool = False, options: Sequence[str] = (), count: int = COUNT, repeats: int = REPEATS
) -> dict[str, Any]:
    """Runs everything, prints a table (or JSON) and keeps the result. Takes no options. Raises MarketDataError."""
    if options:
        raise MarketDataError(f"bench ingest takes no {' '.join(options)}")
    err = Console(stderr=True)
    folder = recorded_bodies()
    with err.status("parsing"):
        parsed = [asdict(rate) for rate in parse_rates(folder)] if folder else []
    with broker() as kafka, err.status("starting") as status:
        payload = kafka.folder / "events.jsonl"
        lines = [encode(event) for event in events()]
        payload.write_bytes(b"\n".join(lines))
        starts: dict[str, list[Run]] = {way: [] for way in (REFERENCE, *WAYS)}
        runs: dict[str, list[Run]] = {way: [] for way in starts}
        for number in range(repeats):
            for way, done in runs.items():
                status.update(f"round {number + 1} of {repeats}: {way}")
                starts[way].append(_run(kafka, way, FEW, payload))
                done.append(_run(kafka, way, count, payload))
    produced = {way: _figures(done, starts[way], count) for way, done in runs.items()}
    result = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "cpus": os.cpu_count(),
        "events": count,
        "repeats": repeats,
        "bytes_per_event": round(sum(map(len, lines)) / len(lines)),
        "produce": produced,
        "ratio": {way: _ratios(produced[way], produced[REFERENCE]) for way in WAYS},
        "aim": AIM,
        "parse": parsed,
        "limits": LIMITS,
    }
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    RESULTS.write_text(json.dumps(result, indent=2) + "\n")
    if as_json:
        print(json.dumps(result, indent=2))
    else:
        _show(result, Console(width=None if sys.stdout.isatty() else 120))
    return result


def _run(kafka: Broker, way: str, count: int, payload: Path) -> Run:
    """One client, from its start to its end."""
    if way == REFERENCE:
        command = [
            *(kafka.java, "-Xmx512m", "-cp", class_path("kafka"), "org.apache.kafka.tools.ProducerPerformance"),
            *("--topic", topics.EVENTS["crypto"], "--num-records", str(count), "--throughput", "-1"),
            *("--payload-file", str(payload), "--command-property", f"bootstrap.servers={kafka.servers}", *_SETTINGS),
        ]
    else:
        command = [sys.executable, "-m", "benchmarks.produce", kafka.servers, way, str(count), str(kafka.folder)]
    output, used = _timed(command)
    last = output.strip().splitlines()[-1] if output.strip() else "nothing was said"
    try:
        # Theirs says `N records sent, R records/sec (…)` at the end, ours `N SECONDS`.
        rate = float(last.split("records sent, ")[1].split()[0]) if way == REFERENCE else count / float(last)
    except (IndexError, ValueError) as error:
        raise StackError(f"{way} did not send its records: {last[:300]}") from error
    return Run(used.ru_utime + used.ru_stime, rate)


def _timed(command: list[str]) -> tuple[str, Any]:
    """What it printed, and the resources that it and its threads used."""
    log = Path(os.environ["PIPELINE_HOME"]) / "run.log"
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.DEVNULL, cwd=PROJECT_ROOT)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    return log.read_text(), used


def _figures(done: list[Run], starts: list[Run], count: int) -> dict[str, float]:
    start = statistics.median(run.cpu_seconds for run in starts)
    rates = [count / (run.cpu_seconds - start) for run in done]
    return {
        "per_cpu_second": round(statistics.median(count / run.cpu_seconds for run in done)),
        "start_cpu_seconds": round(start, 2),
        "per_cpu_second_less_start": round(statistics.median(rates)),
        "lowest_less_start": round(min(rates)),
        "highest_less_start": round(max(rates)),
        "per_second": round(statistics.median(run.per_second for run in done)),
    }


def _ratios(ours: dict[str, float], reference: dict[str, float]) -> dict[str, float]:
    return {key: round(ours[key] / reference[key], 2) for key in ("per_cpu_second", "per_cpu_second_less_start")}


def _show(result: dict[str, Any], out: Console) -> None:
    names = {
        "spool": "ours: encode, spool, produce",
        "memory": "ours: encode, produce (no spool)",
        "validate": "ours: validate, encode, spool, produce",
    }
    columns = ("produce", "per CPU s", "ratio", "start CPU s", "less start", "ratio", "lowest", "highest", "per s")
    table = Table(*columns, box=None, pad_edge=False)
    for way, figures in result["produce"].items():
        ratio = result["ratio"].get(way, {})
        cells = {key: f"{value:,}" for key, value in figures.items()} | {f"ratio {k}": f"{v}" for k, v in ratio.items()}
        keys = (
            *("per_cpu_second", "ratio per_cpu_second", "start_cpu_seconds", "per_cpu_second_less_start"),
            *("ratio per_cpu_second_less_start", "lowest_less_start", "highest_less_start", "per_second"),
        )
        table.add_row(names.get(way, way), *(cells.get(key, "") for key in keys))
    out.print(table)
    out.print(
        f"{result['events']:,} events of {result['bytes_per_event']} bytes, {result['repeats']} runs each in turn, "
        f"medians; aim: a ratio of {result['aim']} with the spool. {result['limits']}"
    )
    if not result["parse"]:
        out.print("no recorded bodies here (set SHARED_DATA_DIR): the parse rates are left out")
        return
    rates = Table("parse", "body", "rows", "rows per CPU s", "MB per CPU s", box=None, pad_edge=False)
    for rate in result["parse"]:
        figures = (str(rate["rows"]), f"{rate['rows_per_second']:,}", str(rate["megabytes_per_second"]))
        rates.add_row(rate["source"], rate["file"], *figures)
    out.print()
    out.print(rates)


if __name__ == "__main__":
    run("--json" in sys.argv[1:])
