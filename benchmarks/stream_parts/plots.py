"""Pictures of a result, as SVG that takes its ink from the page. Pure: a result in, text out."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import ScalarFormatter

from benchmarks.stream_parts.rates import median_of

#: A colour that no side has; the page's own takes its place, so that ink is dark on light and light on dark.
_INK = "#010203"
#: Told apart on both grounds, and by those who see few colours.
COLOURS = ("#3b82c4", "#e08a1e", "#2a9d6f", "#c4568f", "#8a6fd1")
_SIDE_COLOURS = dict(zip(("driver", "quix", "candles", "batch"), COLOURS, strict=False))
_CPU_COLOURS = {
    **dict(zip(("driver", "quix"), COLOURS, strict=False)),
    **dict(zip(("postgres", "redis", "spark"), COLOURS[2:], strict=True)),
}
NAMES = {
    "driver": "the driver, whole",
    "quix": "Quix, candles",
    "candles": "ours, candles",
    "batch": "spark.read, candles",
    "sink": "the sink",
    "rows": "psycopg COPY of rows",
    "encoded": "COPY of encoded bytes",
}
_STYLE = {
    **{f"{part}.color": _INK for part in ("text", "xtick", "ytick")},
    "axes.edgecolor": _INK,
    "axes.labelcolor": _INK,
    "axes.titlecolor": _INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": _INK,
    "grid.alpha": 0.15,
    "font.family": "sans-serif",
    "font.size": 10,
    "svg.fonttype": "none",
    "svg.hashsalt": "stream",
    "legend.frameon": False,
}


def drain(part: Mapping[str, Any]) -> dict[str, str]:
    """Events a CPU second by side and size, and where the CPU goes."""
    with mpl.rc_context(_STYLE):
        figure, axes = _figure()
        sizes = part["sizes"]
        sides = list(sizes[0]["runs"])
        width = 0.8 / len(sizes)
        for number, size in enumerate(sizes):
            shown = [side for side in sides if side in size["runs"]]
            at = [sides.index(side) + number * width for side in shown]
            heights = [median_of(size["runs"][side], "warm", "per_cpu_second") for side in shown]
            bars = axes.bar(at, heights, width * 0.95, color=[_SIDE_COLOURS[side] for side in shown])
            axes.bar_label(bars, [f"{size['records'] / 1e6:.2g} M\n{height:,.0f}" for height in heights], fontsize=8)
        axes.set_xticks([place + width * (len(sizes) - 1) / 2 for place in range(len(sides))], _names(sides))
        axes.set_ylabel("events per CPU second")
        axes.set_title("Drain of a prefilled topic, warm half")
        axes.margins(y=0.18)
        return {"drain": _svg(figure), "drain-cpu": _cpu_of_drain(sizes[0])}


def _cpu_of_drain(size: Mapping[str, Any]) -> str:
    figure, axes = _figure()
    sides = list(size["runs"])
    base = [0.0] * len(sides)
    for name in _CPU_COLOURS:
        heights = [_cpu_per_million(size["runs"][side], name) for side in sides]
        if any(heights):
            axes.bar(range(len(sides)), heights, 0.6, bottom=base, label=name, color=_CPU_COLOURS[name])
            base = [low + height for low, height in zip(base, heights, strict=True)]
    axes.set_xticks(range(len(sides)), _names(sides))
    axes.set_ylabel("CPU seconds per million events")
    axes.set_title("Where the CPU goes (broker apart), warm half")
    axes.legend()
    return _svg(figure)


def raw(part: Mapping[str, Any]) -> dict[str, str]:
    """Rows a second into PostgreSQL."""
    with mpl.rc_context(_STYLE):
        figure, axes = _figure()
        sides = list(part["medians"])
        heights = [part["medians"][side]["rows_per_second"] for side in sides]
        bars = axes.bar(range(len(sides)), heights, 0.6, color=COLOURS[: len(sides)])
        axes.bar_label(bars, [f"{height:,.0f}" for height in heights])
        for place, side in enumerate(sides):
            points = [run["rows_per_second"] for run in part["runs"][side]]
            axes.plot([place] * len(points), points, "o", color=_INK, markersize=3, alpha=0.6)
        axes.set_xticks(range(len(sides)), _names(sides))
        axes.set_ylabel("rows per second")
        axes.set_title("Raw events into PostgreSQL (median, and each run)")
        return {"raw": _svg(figure)}


def latency(part: Mapping[str, Any]) -> dict[str, str]:
    """The waits by percentile, and the backlog at each step."""
    with mpl.rc_context(_STYLE):
        figure, axes = _figure()
        for number, one in enumerate(part["rates"]):
            for store, style in (("redis", "--"), ("postgres", "-")):
                tail = [(1 / max(1e-4, 1 - level / 100), wait) for level, wait in one[store]["curve"]]
                label = f"{one['rate']:,}/s, {store}"
                axes.plot(*zip(*tail, strict=True), style, color=COLOURS[number % len(COLOURS)], label=label)
        axes.axhline(part["aim_p99_ms"], color=_INK, linewidth=0.8, linestyle=":")
        axes.set_xscale("log")
        axes.set_xticks([2, 10, 100, 1_000, 10_000], ["50", "90", "99", "99.9", "99.99"])
        axes.set_xlabel("percentile")
        axes.set_ylabel("milliseconds from due to seen")
        axes.set_ylim(bottom=0)
        axes.set_title("Tick to reader, open loop (dotted: the aim at p99)")
        axes.legend()
        found = {"latency": _svg(figure)}
        if part["steps"]:
            found["backlog"] = _backlog(part["steps"])
        return found


def _backlog(steps: Sequence[Mapping[str, Any]]) -> str:
    figure, axes = _figure()
    for number, step in enumerate(steps):
        seconds = [at for at, _ in step["backlog"]]
        behind = [events / step["rate"] for _, events in step["backlog"]]
        label = f"{step['rate']:,}/s{'' if step['sustained'] else ', not sustained'}"
        axes.plot(seconds, behind, color=COLOURS[number % len(COLOURS)], label=label)
    axes.set_xlabel("seconds")
    axes.set_ylabel("backlog, seconds of events")
    axes.set_ylim(bottom=0)
    axes.set_title("Backlog while events come at a steady rate")
    axes.legend()
    return _svg(figure)


def growth(part: Mapping[str, Any]) -> dict[str, str]:
    """CPU per event against symbols and history, both axes logarithmic."""
    titles = {"symbols": "number of symbols", "history": "events in the history"}
    with mpl.rc_context(_STYLE):
        found = {}
        for by, title in titles.items():
            if not part[by]:
                continue
            figure, axes = _figure()
            points = [(run[by], value) for run in part[by] for value in run["cpu_us_per_event"]]
            axes.plot(*zip(*points, strict=True), "o", color=COLOURS[0], alpha=0.6, label="each warm batch")
            fit = part["fits"].get(by, {}).get("cpu_us_per_event")
            if fit:
                ends = [min(x for x, _ in points), max(x for x, _ in points)]
                line = [10 ** fit["intercept"] * x ** fit["slope"] for x in ends]
                axes.plot(ends, line, color=COLOURS[1], label=f"slope {slope_text(fit)}")
            axes.set_xscale("log")
            axes.set_yscale("log")
            # Never so close that a flat line looks steep; figures in full, not as powers.
            costs = [cost for _, cost in points]
            axes.set_ylim(min(costs) / 2, max(costs) * 2)
            axes.yaxis.set_major_formatter(ScalarFormatter())
            axes.yaxis.set_minor_formatter(ScalarFormatter())
            axes.set_xlabel(title)
            axes.set_ylabel("CPU microseconds per event")
            axes.set_title(f"Cost of an event by {title}")
            axes.legend()
            found[f"growth-{by}"] = _svg(figure)
        return found


def slope_text(fit: Mapping[str, Any]) -> str:
    """`0.05 (0.02 to 0.08)`."""
    interval = "" if fit["low"] is None else f" ({fit['low']:.2f} to {fit['high']:.2f})"
    return f"{fit['slope']:.2f}{interval}"


def _names(sides: Sequence[str]) -> list[str]:
    return [NAMES[side].replace(", ", ",\n") for side in sides]


def _cpu_per_million(runs: Sequence[Mapping[str, Any]], name: str) -> float:
    warm = [run["warm"] for run in runs]
    spent = [one["cpu_seconds"].get(name, 0.0) / one["records"] * 1e6 for one in warm]
    return float(sum(spent) / len(spent))


def _figure() -> tuple[Figure, Axes]:
    figure = Figure(figsize=(7.2, 4.2), layout="constrained")
    return figure, figure.add_subplot()


def _svg(figure: Figure) -> str:
    """The picture without a ground, fonts of the reader, no outside reference."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    body = text[text.index("<svg") :]
    body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.DOTALL)
    return body.replace(_INK, "currentColor")
