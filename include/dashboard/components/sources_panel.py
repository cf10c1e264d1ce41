"""The market sources: breaker, bans, quotas, what each serves now, and the switches between them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from dash import html

from include.dashboard.components.attributes import aria
from include.dashboard.components.notice import notice
from include.dashboard.components.table import table
from include.dashboard.formatting import NOT_KNOWN, age_text
from include.dashboard.operations_view import SourceFacts, SourcesPicture
from include.dashboard.operations_words import WANTS, health_of, moment_of, source_state, trouble_of, window_words
from include.storage.operations_rows import SourceRow, Used
from include.storage.source_switches import SourceSwitch


def sources_table(picture: SourcesPicture, sources: Sequence[SourceFacts], now: datetime) -> Any:
    """One row a source, in the order in which they are preferred."""
    held = {each.source: each for each in picture.health}
    used = {(each.source, each.seconds): each for each in picture.used}
    first = _first_choices(sources, picture.serving)
    rows = [_row(each, held.get(each.name), used, picture.serving, first.get(each.name, []), now) for each in sources]
    caption = "Breaker and quotas as PostgreSQL has them, shared by all processes; nothing is asked for this"
    return table(("Source", "State", "Serves now", "Quota", "Last error"), rows, caption)


def switches_table(picture: SourcesPicture, now: datetime) -> Any:
    """The newest first."""
    if not picture.switches:
        return notice("No switch between sources", "each market is served by its first choice")
    rows = [
        [
            f"{moment_of(each.switched_at, now)} UTC",
            _served(each),
            each.to_source if each.from_source is None else f"{each.from_source} → {each.to_source}",
            each.reason,
        ]
        for each in picture.switches
    ]
    return table(("Switched", "What", "From, to", "Why"), rows, f"The last {len(rows)} switches")


def _row(
    facts: SourceFacts,
    row: SourceRow | None,
    used: dict[tuple[str, int], Used],
    serving: Sequence[SourceSwitch],
    unswitched: Sequence[str],
    now: datetime,
) -> list[Any]:
    health = health_of(row)
    sign, kind, words = source_state(health, now)
    if not facts.has_key:
        sign, kind, words = "○", "waiting", "not asked: it has no key"
    elif row is None:
        sign, kind, words = "○", "waiting", "never asked yet"
    mine = [_serves(each, now) for each in serving if each.to_source == facts.name]
    mine += [html.Li([each, html.Span(" as its first choice", className="hint")]) for each in unswitched]
    quotas = [
        _quota(facts, quota.seconds, quota.units, used.get((facts.name, quota.seconds)), now) for quota in facts.quotas
    ]
    trouble = trouble_of(health)
    return [
        facts.name,
        html.Span([html.Span(sign, className="sign"), words], className=f"told {kind}"),
        html.Ul(mine, className="plain") if mine else NOT_KNOWN,
        html.Div(quotas, className="quotas") if quotas else "no quota",
        html.Span(trouble, className="wide") if trouble else "none",
    ]


def _first_choices(sources: Sequence[SourceFacts], serving: Sequence[SourceSwitch]) -> dict[str, list[str]]:
    """By source, the asset classes that it serves because nothing was ever switched."""
    found: dict[str, list[str]] = {}
    decided = {each.asset_class for each in serving}
    for facts in sources:
        mine = [each for each in facts.asset_classes if facts.has_key and each not in decided]
        found[facts.name] = mine
        decided.update(mine)
    return found


def _serves(switch: SourceSwitch, now: datetime) -> html.Li:
    age = age_text((now - switch.switched_at).total_seconds())
    return html.Li([_served(switch), html.Span(f" for {age}: {switch.reason}", className="hint")])


def _served(switch: SourceSwitch) -> str:
    return f"{switch.asset_class} {WANTS.get(switch.kind, switch.kind)}"


def _quota(facts: SourceFacts, seconds: int, units: int, used: Used | None, now: datetime) -> html.Div:
    spent = 0 if used is None else used.used
    left = max(0, units - spent)
    window = window_words(seconds)
    words = f"{spent:,} of {units:,} {facts.unit} in {window}, {left:,} left"
    frees = used.frees_at if used is not None else None
    # A minute's window is always about to free something; only a long one is worth a word, or one that is used up.
    resets = f", next free at {moment_of(frees, now)} UTC" if frees and (not left or seconds > 3600) else ""
    return html.Div(
        [
            html.Meter(
                value=str(min(spent, units)),
                min="0",
                max=str(units),
                high=str(0.8 * units),
                optimum="0",
                **aria(label=f"{facts.name}: {words}"),
            ),
            html.Span(words + resets, className="warning" if not left else ""),
        ],
        className="quota",
    )
