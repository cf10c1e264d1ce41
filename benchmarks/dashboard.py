"""The dashboard measured from outside: `./pipeline bench dashboard`.

Stores, the stream's driver and the dashboard run as the pipeline runs them; the browser is the system's Chromium. What
is measured, and what the figures mean, is in README.md beside this file. With --save the result is also kept as
results/dashboard.json.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from statistics import median
from typing import Any

from playwright.sync_api import Browser, Page
from rich.console import Console
from rich.table import Table

from benchmarks.dashboard_parts import browser as reader
from benchmarks.dashboard_parts.clients import rounds
from benchmarks.dashboard_parts.pixels import chart_waits, waits
from benchmarks.dashboard_parts.service import SYMBOLS, Service, dashboard, fill, settings
from benchmarks.dashboard_parts.switch import asked, switches
from benchmarks.record import begun, ended, load, parsed
from benchmarks.stream_parts.latency import Bench, paced
from benchmarks.stream_parts.schedule import Schedule
from benchmarks.stream_parts.spark import driver
from benchmarks.stream_parts.stores import stores
from include.errors import MarketDataError

AIMS = {"switch_p95_ms": 50, "update_share": 0.02, "pixel_p99_ms": 1_500}
#: Of an address, what is switched between.
VIEWS = {"1m, usual layers": "", "1m, all layers": f"&show={reader.ALL_LAYERS}", "5m, usual layers": "&tf=5m"}
SETTLE_SECONDS, WARM_SECONDS = 5, 20
_START_SECONDS, _DRAIN_SECONDS, _PAINT_SECONDS = 180, 240, 15
#: Whole and quick.
SIZES = {
    "switches": (250, 20),
    "loads": (7, 1),
    "rate": (1_000, 200),
    "seconds": (60, 10),
    "clients": (50, 10),
    "rounds": (6, 2),
}

Say = Callable[[str], None]


def run(as_json: bool = False, options: Sequence[str] = ()) -> dict[str, Any]:
    """Measures, prints a table (or JSON). Raises MarketDataError."""
    wanted = chosen(options)
    result: dict[str, Any] = {
        **begun(),
        "quick": wanted.quick,
        "aims": AIMS,
        "symbols": len(SYMBOLS),
    }
    with Console(stderr=True).status("starting") as status:
        result |= measured(wanted, status.update)
    result["load_at_end"] = load()
    ended("dashboard", result, show, save=wanted.save, as_json=as_json, width=140)
    return result


def chosen(options: Sequence[str]) -> argparse.Namespace:
    """Each of SIZES, and whether to save. Raises MarketDataError for what it does not know."""
    parser = argparse.ArgumentParser(prog="pipeline bench dashboard", description=__doc__, exit_on_error=False)
    parser.add_argument("--quick", action="store_true", help="small sizes, to see that it works")
    parser.add_argument("--save", action="store_true", help="keep results/dashboard.json")
    for name in SIZES:
        parser.add_argument(f"--{name}", type=int, metavar="N")
    found = parsed(parser, options, ", ".join(f"--{name}" for name in (*SIZES, "quick", "save")))
    for name, sizes in SIZES.items():
        if getattr(found, name) is None:
            setattr(found, name, sizes[found.quick])
        if getattr(found, name) < 1:
            raise MarketDataError(f"bench dashboard: --{name} must be at least 1")
    return found


def measured(wanted: argparse.Namespace, say: Say) -> dict[str, Any]:
    """Page, switches and clients of one dashboard, beside one driver."""
    with stores(say, **settings()) as held, reader.chromium() as browser:
        say("making two days of candles")
        fill(held)
        with dashboard(held) as service:
            say("page: first and second visits")
            page = reader.loads(browser, service.url, SYMBOLS[0], wanted.loads)
            questions = asked(browser, service.url, *SYMBOLS[:2])
            found = {}
            for name, query in VIEWS.items():
                say(f"switches: {name}")
                found[name] = switches(questions, SYMBOLS, query, wanted.switches)
            with driver(held) as process, held.connect() as connection:
                bench = Bench(held, connection, process, SYMBOLS)
                say("warming up the stream")
                paced(bench, wanted.rate, WARM_SECONDS, wait=_START_SECONDS)
                say(f"pixels at {wanted.rate:,} events/s for {wanted.seconds} s")
                pixels = _pixels(bench, service, browser, wanted)
                say(f"{wanted.clients} clients, {wanted.rounds} times")
                clients = _clients(bench, service, wanted)
    share = pixels.pop("update_bytes") / found["1m, all layers"]["figure_bytes"]
    return {"page": page, "switches": found, "update_share": round(share, 5), "pixels": pixels, "clients": clients}


def _pixels(bench: Bench, service: Service, browser: Browser, wanted: argparse.Namespace) -> dict[str, Any]:
    with reader.market_page(browser, service.url, SYMBOLS[0]) as (page, heard):
        reader.watch(page)
        schedule, sender = paced(bench, wanted.rate, wanted.seconds + SETTLE_SECONDS, wait=_DRAIN_SECONDS)
        _await_painted(page, schedule)
        prices, chart = reader.seen(page)
        if not heard.updates:
            raise MarketDataError("the page got no update of its chart")
        return {
            "rate": wanted.rate,
            "seconds": wanted.seconds,
            "generator": sender,
            "prices_ms": waits(schedule, SYMBOLS, prices, SETTLE_SECONDS),
            "chart_ms": chart_waits(schedule, 0, chart, SETTLE_SECONDS),
            "updates": len(heard.updates),
            "update_bytes": median(heard.updates),
        }


def _await_painted(page: Page, schedule: Schedule) -> None:
    deadline = time.monotonic() + _PAINT_SECONDS
    last = {name: int(schedule.of_symbol(number)[-1]) for number, name in enumerate(SYMBOLS)}
    while True:
        prices, _ = reader.seen(page)
        missing = [name for name, due in last.items() if max((new for _, new in prices.get(name, ())), default=0) < due]
        if not missing:
            return
        if time.monotonic() > deadline:
            raise MarketDataError(f"the page never showed the last events of {', '.join(missing)}")
        page.wait_for_timeout(100)


def _clients(bench: Bench, service: Service, wanted: argparse.Namespace) -> dict[str, Any]:
    seconds = max(5, wanted.seconds // 6)
    # Between rounds the clients of the one before have to be gone.
    sending = (seconds + 2) * wanted.rounds
    with ThreadPoolExecutor(1) as pool:
        found = pool.submit(rounds, service, SYMBOLS, wanted.clients, seconds, wanted.rounds)
        paced(bench, wanted.rate, sending, wait=_DRAIN_SECONDS)
        return found.result()


def show(result: Mapping[str, Any], out: Console) -> None:
    """A line a figure, with its aim where there is one."""
    table = Table("what", "p50", "p95", "p99", "aim", box=None, pad_edge=False)
    aims = result["aims"]
    for name, found in result["switches"].items():
        figures = (f"{found['all_ms'][level]:.1f} ms" for level in ("p50", "p95"))
        table.add_row(f"switch of symbol, {name}", *figures, "", f"p95 < {aims['switch_p95_ms']} ms")
    pixels = result["pixels"]
    for name, found in (("price", pixels["prices_ms"]), ("chart", pixels["chart_ms"])):
        label = f"event to pixel, {name}, {pixels['rate']:,} events/s"
        table.add_row(label, f"{found['p50']:.0f} ms", "", f"{found['p99']:.0f} ms", f"p99 < {aims['pixel_p99_ms']} ms")
    out.print(table)
    page, clients = result["page"], result["clients"]
    stands = clients["server"]
    for line in (
        f"update of the chart: {result['update_share']:.2%} of the figure; aim below {aims['update_share']:.0%}",
        *(
            f"{visit} visit: {found['kib']:,.0f} KiB in {found['requests']:.0f} requests, first paint "
            f"{found['paint_ms']:.0f} ms, candles {found['drawn_ms']:.0f} ms"
            for visit, found in page.items()
        ),
        f"{clients['clients']} clients: {clients['messages_per_second']} messages/s each, prices "
        f"{clients['price_age_ms']['p50']:.0f} ms old (p99 {clients['price_age_ms']['p99']:.0f} ms)",
        f"server before and after {len(stands) - 1} rounds: "
        + ", ".join(f"{each['memory_mib']:.0f} MiB/{each['files']} files" for each in stands),
    ):
        out.print(line, highlight=False)


if __name__ == "__main__":
    run("--json" in sys.argv[1:], [argument for argument in sys.argv[1:] if argument != "--json"])
