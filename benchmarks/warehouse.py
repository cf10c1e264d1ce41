"""What page and API ask, against histories of growing length: `./pipeline bench warehouse`.

Each length has a database of its own on a server of the benchmark's own. Calls go through the product's own reading
code, one length after the other, so that all see the same machine. With --save the result is also kept as
results/warehouse.json, with PostgreSQL's plans.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg.sql import SQL, Identifier
from rich.console import Console
from rich.table import Table

from benchmarks.record import begun, ended, load, parsed
from benchmarks.stream_parts.stores import Stores, stores
from benchmarks.warehouse_parts.figures import AIM, LEVELS, per_tenfold, percentiles
from benchmarks.warehouse_parts.history import SYMBOLS, beginning, fill
from benchmarks.warehouse_parts.questions import COLD_DAY, COLD_QUESTIONS, QUESTIONS, Ask, History, plans
from include.errors import MarketDataError
from include.settings import required
from include.stack.postgres import admin_url
from include.storage import migrate
from include.storage.archive import Archive
from include.storage.archive_catalogue import EVENTS

SIZES = (100_000, 1_000_000, 10_000_000)
BLOCKS, CALLS = 10, 25
#: The shortest history in which every question has a whole answer: two days and a half.
LEAST = 100_000

Say = Callable[[str], None]


def run(as_json: bool = False, options: Sequence[str] = ()) -> dict[str, Any]:
    """Measures, prints a table (or JSON). Raises MarketDataError."""
    wanted = chosen(options)
    result: dict[str, Any] = {
        **begun(),
        "aim": AIM,
        "symbols": len(SYMBOLS),
        "calls": BLOCKS * CALLS,
    }
    with Console(stderr=True).status("starting") as status:
        result |= measured(wanted.events, status.update)
    result["load_at_end"] = load()
    ended("warehouse", result, show, save=wanted.save, as_json=as_json, width=160)
    return result


def chosen(options: Sequence[str]) -> argparse.Namespace:
    """The lengths, and whether to save. Raises MarketDataError for what it does not know."""
    parser = argparse.ArgumentParser(prog="pipeline bench warehouse", description=__doc__, exit_on_error=False)
    parser.add_argument("--events", type=int, nargs="+", default=list(SIZES), metavar="N")
    parser.add_argument("--save", action="store_true", help="keep results/warehouse.json")
    found = parsed(parser, options, "--events and --save")
    if min(found.events) < LEAST:
        raise MarketDataError(f"bench warehouse: a history of {min(found.events):,} events is shorter than {LEAST:,}")
    found.events = sorted(set(found.events))
    return found


def measured(sizes: Sequence[int], say: Say) -> dict[str, Any]:
    """Histories, and of each question the figures, the growth and the plans."""
    with stores(say) as held, _histories(held, sizes, say) as (histories, stands):
        questions = {name: _asked(histories, name, ask, say) for name, ask in QUESTIONS.items()}
        for history in histories:
            say(f"archiving a day of {history.events:,} events")
            with Archive(_owner_url(held, history.events), held.folder / f"archive-{history.events}") as archive:
                archive.archive_day(EVENTS, COLD_DAY.date())
                archive.drop_day(EVENTS, COLD_DAY.date())
        questions |= {name: _asked(histories, name, ask, say) for name, ask in COLD_QUESTIONS.items()}
    return {"histories": stands, "questions": questions}


@contextmanager
def _histories(held: Stores, sizes: Sequence[int], say: Say) -> Iterator[tuple[list[History], dict[str, Any]]]:
    stands, histories = {}, []
    reader_url = required(held.plan.settings.reader_database_url, "READER_DATABASE_URL")
    for size in sizes:
        say(f"making {size:,} events with their candles, indicators and anomalies")
        with psycopg.connect(admin_url(held.plan), autocommit=True) as admin:
            admin.execute(SQL("CREATE DATABASE {} OWNER dataeng").format(Identifier(_database(size))))
        url = _owner_url(held, size)
        migrate.upgrade(url, "sandbox")
        with psycopg.connect(url, autocommit=True) as connection:
            stands[f"{size}"] = fill(connection, size)
        folder = held.folder / f"archive-{size}"
        histories.append(History.opened(size, beginning(size), _renamed(reader_url, size), folder))
    held.checkpoint()
    yield histories, stands
    for history in histories:
        history.close()


def _asked(histories: Sequence[History], name: str, ask: Ask, say: Say) -> dict[str, Any]:
    """Every call of one length is followed by the same call of the next; who begins, changes."""
    # Pages that are asked for are in memory after this, of every length.
    rows = {history.events: [ask(history, number) for number in range(len(SYMBOLS) * 3)] for history in histories}
    if len({tuple(counts) for counts in rows.values()}) > 1:
        raise MarketDataError(f"{name}: the histories do not answer with the same number of rows")
    blocks: dict[int, list[list[float]]] = {history.events: [[] for _ in range(BLOCKS)] for history in histories}
    for number in range(BLOCKS * CALLS):
        say(f"{name}: call {number + 1} of {BLOCKS * CALLS}")
        turn = number % len(histories)
        for history in (*histories[turn:], *histories[:turn]):
            began = time.perf_counter_ns()
            ask(history, number)
            blocks[history.events][number // CALLS].append((time.perf_counter_ns() - began) / 1e6)
    return {
        "rows": rows[histories[0].events][0],
        "ms": {f"{size}": percentiles([call for block in calls for call in block]) for size, calls in blocks.items()},
        "per_tenfold": per_tenfold(blocks),
        "plans": {f"{history.events}": plans(history, ask) for history in histories},
    }


def show(result: Mapping[str, Any], out: Console) -> None:
    """A row a question: milliseconds by length of the history, and growth per tenfold."""
    sizes = list(result["histories"])
    heads = [f"{int(size):,}: p50, p95 ms" for size in sizes]
    table = Table("question", "rows", *heads, *(f"per tenfold, p{level}" for level in LEVELS), box=None, pad_edge=False)
    for name, found in result["questions"].items():
        figures = [", ".join(f"{found['ms'][size][f'p{level}']:.2f}" for level in LEVELS) for size in sizes]
        table.add_row(name, f"{found['rows']}", *figures, *(_growth(found, f"p{level}") for level in LEVELS))
    out.print(table)
    for size, stands in result["histories"].items():
        counts = ", ".join(f"{stands[name]:,} {name}" for name in stands if name not in ("days", "bytes"))
        out.print(
            f"{int(size):,}: {stands['days']} days, {stands['bytes'] / 2**20:,.0f} MiB; {counts}", highlight=False
        )
    out.print(f"{result['calls']} calls each in turn, {result['symbols']} symbols; aim: at most {result['aim']} x")


def _growth(found: Mapping[str, Any], level: str) -> str:
    if not found["per_tenfold"]:
        return ""
    fit = found["per_tenfold"][level]
    between = "" if fit["low"] is None else f" ({fit['low']:.2f} to {fit['high']:.2f})"
    return f"{fit['ratio']:.2f} x{between}"


def _database(size: int) -> str:
    return f"history_{size}"


def _owner_url(held: Stores, size: int) -> str:
    return _renamed(held.owner_url, size)


def _renamed(url: str, size: int) -> str:
    return f"{url.rpartition('/')[0]}/{_database(size)}"


if __name__ == "__main__":
    run("--json" in sys.argv[1:], [argument for argument in sys.argv[1:] if argument != "--json"])
