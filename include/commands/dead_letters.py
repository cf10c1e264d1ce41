"""`./pipeline dead-letters`: what was refused, why, and another try by today's rules."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import psycopg
import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

from include.commands.console import err, fail, out
from include.errors import MarketDataError
from include.producers.dead_letters import DeadLetter, DeadLetters, LetterFilter
from include.settings import settings
from include.storage.refused_records import RefusedRecords

app = typer.Typer(help="List, show and replay what was refused.", no_args_is_help=True)
#: More than any list is asked for.
ALL = 1_000_000

Source = Annotated[str | None, typer.Option(help="only of this source")]
Symbol = Annotated[str | None, typer.Option(help="only of this symbol")]
Reason = Annotated[str | None, typer.Option(help="only with this in the reason")]


@app.command("list")
def list_letters(
    source: Source = None,
    symbol: Symbol = None,
    reason: Reason = None,
    limit: Annotated[int, typer.Option(min=1, help="at most so many, the newest")] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="for programs")] = False,
) -> None:
    """The newest dead letters first."""
    with _opened() as (letters, _), _reading() as progress:
        found = letters.newest(LetterFilter(source, symbol, reason), limit, progress)
    if as_json:
        print(json.dumps([_as_dict(letter) for letter in found], indent=2))
        return
    table = Table("id", "at (UTC)", "source", "symbol", "asked for", "reason", "replayed", box=None, pad_edge=False)
    for letter in found:
        at = f"{letter.at:%Y-%m-%d %H:%M:%S}"
        cells = (letter.id, at, letter.source, letter.symbol, letter.asked_for, letter.reason, letter.outcome)
        table.add_row(*(_plain(cell) for cell in cells))
    if found:
        out.print(table)
    else:
        out.print("there is no such dead letter")


@app.command()
def show(id_: Annotated[str, typer.Argument(metavar="ID", help="topic/partition/offset")]) -> None:
    """One dead letter with all that came, as JSON."""
    with _opened() as (letters, _):
        print(json.dumps(_as_dict(letters.get(id_)), indent=2, ensure_ascii=False))


@app.command()
def replay(
    ids: Annotated[list[str] | None, typer.Argument(metavar="[ID]...")] = None,
    everything: Annotated[bool, typer.Option("--all", help="every letter of the list")] = False,
    source: Source = None,
    symbol: Symbol = None,
    reason: Reason = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="judge and say, publish nothing")] = False,
    force: Annotated[bool, typer.Option("--force", help="those too that were published before")] = False,
) -> None:
    """Judge letters again by today's parsers and rules; publish what is valid now, under the same ids."""
    from include.producers.replaying import judged_again

    chosen = LetterFilter(source, symbol, reason)
    with _opened() as (letters, refused), _reading() as progress:
        if not ids and not everything and chosen == LetterFilter():
            raise MarketDataError("name letters by id, choose by --source, --symbol or --reason, or say --all")
        found = [letters.get(id_) for id_ in ids or ()] or letters.newest(chosen, ALL, progress)
        outcomes = judged_again(settings(), found, refused, dry_run=dry_run, force=force)
    table = Table("id", "source", "symbol", "outcome", box=None, pad_edge=False)
    for outcome in outcomes:
        letter = outcome.letter
        table.add_row(*(_plain(cell) for cell in (letter.id, letter.source, letter.symbol, outcome.words)))
    if outcomes:
        out.print(table)
    events = sum(outcome.events for outcome in outcomes)
    verb = "would be published" if dry_run else "published"
    err.print(
        f"pipeline: {_count(len(outcomes), 'dead letter')} read, {_count(events, 'event')} {verb}", highlight=False
    )


@contextmanager
def _opened() -> Iterator[tuple[DeadLetters, RefusedRecords]]:
    """Both places of dead letters; what a person can mend is one line and exit code 1."""
    try:
        from include.producers.replaying import open_letters

        with open_letters(settings()) as (letters, refused):
            yield letters, refused
    except (MarketDataError, psycopg.Error, OSError) as error:
        fail(str(error).strip().splitlines()[0])


@contextmanager
def _reading() -> Iterator[Any]:
    """A bar for long topics; it is gone when the reading is over."""
    columns = (TextColumn("reading dead letters"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as bar:
        task = bar.add_task("letters", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _as_dict(letter: DeadLetter) -> dict[str, Any]:
    return {
        "id": letter.id,
        "at": letter.at.isoformat(),
        "source": letter.source,
        "symbol": letter.symbol,
        "reason": letter.reason,
        "asked_for": letter.asked_for,
        "raw": letter.raw.decode("utf-8", "backslashreplace"),
        "raw_bytes": letter.raw_bytes,
        "outcome": letter.outcome or None,
    }


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _plain(cell: str) -> str:
    """What came from outside is no markup and no control character."""
    from rich.markup import escape

    return escape("".join(character if character.isprintable() else "?" for character in cell)) or "-"
