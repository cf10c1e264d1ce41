"""`./pipeline archive`: which days are where, and a day brought back."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import UTC, date, datetime
from typing import Annotated

import typer
from rich.table import Table

from include.commands.console import one_line_errors, out, say
from include.errors import MarketDataError
from include.settings import required, settings

app = typer.Typer(help="List the archived days, and bring one back.", no_args_is_help=True)

_COLOURS = {"hot": "red", "warm": "yellow", "cold": "blue"}


@app.command("list")
def list_days(as_json: Annotated[bool, typer.Option("--json", help="for programs")] = False) -> None:
    """Every day of the tables that are kept by day: hot, warm (in a file too) or cold (only in a file)."""
    from include.operations.retention import states
    from include.storage.archive import Archive
    from include.storage.archive_catalogue import archive_folder

    with one_line_errors():
        chosen = settings()
        with Archive(required(chosen.database_url, "DATABASE_URL"), archive_folder(chosen)) as archive:
            parts = archive.catalogue()
            by_state = states(archive.partitions(), parts, datetime.now(UTC).date())
    if as_json:
        days = [{"relation": relation, "day": f"{day}", "state": state} for (relation, day), state in by_state.items()]
        print(json.dumps({"days": days, "parts": [asdict(part) for part in parts]}, indent=2, default=str))
        return
    table = Table(box=None, pad_edge=False)
    for name in ("table", "day", "state", "part", "rows", "KiB", "verified (UTC)", "file"):
        table.add_column(name, justify="right" if name in ("part", "rows", "KiB") else "left")
    for (relation, day), state in by_state.items():
        head = (relation, f"{day}", f"[{_COLOURS[state]}]{state}[/]")
        of_day = [part for part in parts if (part.relation, part.day) == (relation, day)]
        for part in of_day:
            figures = (f"{part.part}", f"{part.rows:,}", f"{part.bytes / 1024:,.0f}")
            table.add_row(*head, *figures, f"{part.verified_at:%Y-%m-%d %H:%M}", part.file)
        if not of_day:
            table.add_row(*head, *"-----")
    out.print(table)


@app.command()
def restore(day: Annotated[str, typer.Argument(metavar="DAY", help="UTC, as 2026-11-02")]) -> None:
    """Bring a cold day back into PostgreSQL, verified; for a backfill or a recomputation."""
    from include.operations.retention import restore as bring_back
    from include.storage.archive_catalogue import archive_folder

    with one_line_errors():
        chosen = settings()
        try:
            wanted = date.fromisoformat(day)
        except ValueError:
            raise MarketDataError(f"{day} is not a day: give it as 2026-11-02") from None
        done = bring_back(required(chosen.database_url, "DATABASE_URL"), archive_folder(chosen), wanted)
    for relation, rows in done.items():
        say(f"{relation} of {wanted}: {rows:,} rows are back")
