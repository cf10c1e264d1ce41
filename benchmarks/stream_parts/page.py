"""The report as one page, and the summary as lines of text. Pure: a result in, text out."""

from __future__ import annotations

import html
from collections.abc import Iterator, Mapping
from typing import Any

from benchmarks.stream_parts import plots
from benchmarks.stream_parts.plots import NAMES, slope_text
from benchmarks.stream_parts.rates import median_of

_STYLE = """
:root { color-scheme: light dark; --ground: #fff; --ink: #1d2127; --line: #d5d9df; }
@media (prefers-color-scheme: dark) { :root { --ground: #14171b; --ink: #e3e6ea; --line: #3a4048; } }
body { background: var(--ground); color: var(--ink); font: 16px/1.5 system-ui, sans-serif; max-width: 62rem;
  margin: 2rem auto; padding: 0 1rem; }
svg { max-width: 100%; height: auto; font-family: system-ui, sans-serif; }
table { border-collapse: collapse; margin: 1rem 0; }
th, td { text-align: left; padding: .25rem .9rem .25rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
td.n { text-align: right; font-variant-numeric: tabular-nums; }
figure { margin: 1.5rem 0; }
.table { overflow-x: auto; }
"""
_TITLES = {
    "drain": "Drain of a prefilled topic",
    "raw": "Raw events into PostgreSQL",
    "latency": "From tick to reader",
    "growth": "Growth",
}
_PLOTS = {"drain": plots.drain, "raw": plots.raw, "latency": plots.latency, "growth": plots.growth}

Row = tuple[str, ...]


def page(result: Mapping[str, Any]) -> str:
    """One HTML page that asks nothing of the network; the parts that were measured, and what failed."""
    body = [
        "<h1>Benchmark of the stream</h1>",
        f"<p>{html.escape(where(result))}</p>",
    ]
    for name, title in _TITLES.items():
        part = result["parts"].get(name)
        if part is None:
            continue
        body.append(f"<h2>{title}</h2>")
        if "failed" in part:
            body.append(f"<p><strong>Not measured: {html.escape(part['failed'])}</strong></p>")
            continue
        body.append(f"<p>Measured {html.escape(part['at'])}, in {part['took_seconds']:.0f} s.</p>")
        body.append(_table(*table(name, part)))
        body += [f"<figure>{svg}</figure>" for svg in _PLOTS[name](part).values()]
        body += [f"<p>{html.escape(line)}</p>" for line in remarks(name, part)]
    head = f'<meta charset="utf-8"><title>Benchmark of the stream</title><style>{_STYLE}</style>'
    viewport = '<meta name="viewport" content="width=device-width, initial-scale=1">'
    return f'<!doctype html><html lang="en"><head>{viewport}{head}</head><body>{"".join(body)}</body></html>\n'


def where(result: Mapping[str, Any]) -> str:
    """The machine and the commit."""
    machine = result["machine"]
    return f"{machine['cpus']} CPUs ({machine['processor']}), {machine['memory_gib']} GiB; commit {result['commit']}."


def table(name: str, part: Mapping[str, Any]) -> tuple[Row, list[Row]]:
    """Headings and rows of a part's table."""
    return _TABLES[name](part)


def remarks(name: str, part: Mapping[str, Any]) -> Iterator[str]:
    """What a reader must know to judge the figures."""
    if name == "drain":
        yield from (f"{NAMES[side]}: {text}." for side, text in part["does"].items())
        yield "All sides' candles are equal to the last digit: they were compared before a figure counted."
        yield from part["missing"]
    elif name == "raw":
        yield f"{part['rows']:,} rows in transactions of {part['batch']:,}; contents compared after each run."
    elif name == "latency":
        yield (
            f"Readers poll every {part['poll_ms']:.0f} ms; each event counts from the moment it was due, whatever "
            "held it up. Readers and generator share the machine with the stream."
        )
        if part["highest_sustained"]:
            yield f"Highest steady rate tried with a bounded backlog: {part['highest_sustained']:,} events/s."
    elif name == "growth":
        yield (
            "Slopes are between logarithms; their 95 % intervals come from the warm batches of these runs, and know "
            "nothing of other days."
        )


def _drain_table(part: Mapping[str, Any]) -> tuple[Row, list[Row]]:
    rows = []
    for size in part["sizes"]:
        for side, runs in size["runs"].items():
            figures = [f"{median_of(runs, half, f'per_{unit}'):,.0f}" for unit, half in _DRAIN_FIGURES]
            start = f"{min(run['start_seconds'] for run in runs):.0f} s"
            rows.append((f"{size['records']:,}", NAMES[side], *figures, start))
        for pair, ratios in size["ratios"].items():
            shown = [f"{ratios[f'per_{unit}_{half}']:.2f} x" for unit, half in _DRAIN_FIGURES]
            aim = part["aims"].get(pair)
            rows.append(("", f"ratio {pair}{f' (aim {aim:g})' if aim else ''}", *shown, ""))
    heads = ("events", "side", "per CPU s, all", "per CPU s, warm", "per s, all", "per s, warm", "start")
    return heads, rows


_DRAIN_FIGURES = [(unit, half) for unit in ("cpu_second", "second") for half in ("all", "warm")]


def _raw_table(part: Mapping[str, Any]) -> tuple[Row, list[Row]]:
    names = ("rows_per_second", "rows_per_cpu_second")
    rows: list[Row] = [
        (NAMES[side], *(f"{medians[name]:,.0f}" for name in names)) for side, medians in part["medians"].items()
    ]
    for pair, ratios in part["ratios"].items():
        rows.append((f"ratio {pair} (aim {part['aims'][pair]:g})", *(f"{ratios[name]:.2f} x" for name in names)))
    return ("side", "rows per s", "rows per CPU s"), rows


def _latency_table(part: Mapping[str, Any]) -> tuple[Row, list[Row]]:
    levels = ("p50", "p90", "p99", "p99.9", "max")
    rows: list[Row] = [
        (f"{one['rate']:,}", store, *(f"{one[store][level]:,.0f}" for level in levels))
        for one in part["rates"]
        for store in ("redis", "postgres")
    ]
    rows += [
        (f"{step['rate']:,}", "backlog", f"worst {step['worst_backlog_seconds']:.1f} s", "", "", "",
         "sustained" if step["sustained"] else "not sustained")
        for step in part["steps"]
    ]  # fmt: skip
    return ("events per s", "seen in", *(f"{level}, ms" for level in levels)), rows


def _growth_table(part: Mapping[str, Any]) -> tuple[Row, list[Row]]:
    rows: list[Row] = []
    for by in ("symbols", "history"):
        for run in part[by]:
            seconds = sorted(run["batch_seconds"])[len(run["batch_seconds"]) // 2]
            warm = run["warm"]
            rows.append((f"{run[by]:,} {by}", f"{warm['per_cpu_second']:,}", f"{seconds:.2f} s"))
        for figure, fit in part["fits"].get(by, {}).items():
            aim = f" (aim {part['aims'][by]:g})" if figure == "cpu_us_per_event" else ""
            rows.append((f"slope by {by}: {_FITTED[figure]}{aim}", slope_text(fit), ""))
    return ("size", "events per CPU s, warm", "between commits, median"), rows


_FITTED = {"cpu_us_per_event": "CPU per event", "batch_seconds": "time between commits"}
_TABLES = {"drain": _drain_table, "raw": _raw_table, "latency": _latency_table, "growth": _growth_table}


def _table(heads: Row, rows: list[Row]) -> str:
    head = "".join(f"<th>{html.escape(cell)}</th>" for cell in heads)
    lines = ["".join(_cell(cell, is_name=place == 0) for place, cell in enumerate(row)) for row in rows]
    body = "".join(f"<tr>{line}</tr>" for line in lines)
    return f'<div class="table"><table><tr>{head}</tr>{body}</table></div>'


def _cell(text: str, *, is_name: bool) -> str:
    kind = ' class="n"' if text.lstrip("-")[:1].isdigit() and not is_name else ""
    return f"<td{kind}>{html.escape(text)}</td>"
