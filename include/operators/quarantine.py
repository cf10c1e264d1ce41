"""The tasks of review_quarantine: what is held, the decision, and the candles counted again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime
from typing import Any

from airflow.sdk import Param, get_current_context

from include.operators.approval import answerer, decided_by, is_rejected
from include.settings import settings

ASKING = "ask_approval"
DECISIONS = {"release": "released", "drop": "dropped"}
RECOMPUTE_SECONDS = 540.0
ROWS_SHOWN = 50


def review_params() -> dict[str, Param]:
    """The form: what to decide about which rows. Each field that is empty leaves all."""
    return {
        "decision": Param(
            "release",
            type="string",
            enum=list(DECISIONS),
            title="Decision",
            description="release: the rows count again in candles. drop: they never do; they stay in market_events.",
        ),
        "check": Param(None, type=["null", "string"], title="Check", description="Only rows that this check has held."),
        "symbols": Param([], type="array", items={"type": "string"}, title="Symbols"),
        "day": Param(None, type=["null", "string"], format="date", title="Day (UTC)"),
        "event_ids": Param([], type="array", items={"type": "string"}, title="Event ids"),
        "note": Param("", type="string", title="Note", description="Why; it is kept with the rows."),
    }


def show() -> dict[str, Any]:
    """How many rows are chosen, when the last of them was held, and the `question` that shows them; empty if none is.

    Raises psycopg.Error.
    """
    from include.operators.services import database_url
    from include.storage.quarantine import held

    params = get_current_context()["params"]
    rows = held(database_url("postgres_default"), _choice(params))
    lines = [
        f"| `{row['event_id']}` | {row['symbol']} | {row['event_time']:%Y-%m-%d %H:%M:%S} | {row['check_name']} "
        f"| {row['reason']} |"
        for row in rows
    ]
    for line in lines:
        print(line)
    newest = max((row["quarantined_at"] for row in rows), default=None)
    return {
        "rows": len(rows),
        "held_until": newest.isoformat() if newest else None,
        "question": _question(str(params["decision"]), rows, lines) if rows else "",
    }


def decide(shown: Mapping[str, Any]) -> dict[str, Any]:
    """Do it with what was shown, and count the candles again. Raises MarketDataError, psycopg.Error."""
    if not shown["rows"]:
        return {"decided": 0}
    from include.operators.detached import run_module
    from include.operators.services import database_url
    from include.storage import quarantine

    context = get_current_context()
    run, params = context["dag_run"], context["params"]
    decided = quarantine.decide(
        database_url("postgres_default"),
        replace(_choice(params), held_until=datetime.fromisoformat(shown["held_until"])),
        "released" if params["decision"] == "release" else "dropped",
        by=decided_by(run, context["ti"].xcom_pull(task_ids=ASKING)),
        run=f"{run.dag_id}, run {run.run_id}",
        note=str(params["note"]),
    )
    print(f"{decided} rows {DECISIONS[str(params['decision'])]}; now their candles are counted again")
    log_file = settings().state_dir / "logs" / "recompute.log"
    done = run_module("spark_jobs.recompute", ["--quarantine"], log_file, RECOMPUTE_SECONDS)
    return {"decided": decided, "recomputed": done}


def outcome(decided: Mapping[str, Any] | None) -> str:
    """The run in one sentence; `decided` is null where a person refused."""
    context = get_current_context()
    answer = context["ti"].xcom_pull(task_ids=ASKING)
    if is_rejected(answer):
        return f"refused by {answerer(answer)}: nothing was decided"
    count = decided["decided"] if decided else 0
    return f"{count} rows {DECISIONS[str(context['params']['decision'])]}" if count else "nothing of that is held"


def _choice(params: Mapping[str, Any]) -> Any:
    from include.storage.quarantine import Choice

    return Choice(
        check_name=params["check"] or None,
        symbols=tuple(params["symbols"] or ()) or None,
        day=date.fromisoformat(params["day"]) if params["day"] else None,
        event_ids=tuple(params["event_ids"] or ()) or None,
    )


def _question(decision: str, rows: Sequence[Mapping[str, Any]], lines: list[str]) -> str:
    counts = Counter((row["symbol"], row["check_name"]) for row in rows)
    summed = "\n".join(f"- {symbol}: {count} by {check}" for (symbol, check), count in sorted(counts.items()))
    hidden = len(lines) - ROWS_SHOWN
    more = f"\n\n... and {hidden} more: all are in the log of show_rows" if hidden > 0 else ""
    head = "| event | symbol | time (UTC) | check | why |\n| --- | --- | --- | --- | --- |\n"
    return f"**{decision}** {len(lines)} rows:\n\n{summed}\n\n{head}" + "\n".join(lines[:ROWS_SHOWN]) + more
