"""What all commands share: where they print, and how a person's mistake ends."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

import psycopg
import typer
from rich.console import Console

from include.errors import MarketDataError

# Piped output has no width of its own; 80 columns would fold the tables.
out = Console(width=None if sys.stdout.isatty() else 160)
err = Console(stderr=True)


def say(line: str) -> None:
    """A line about the command itself, apart from its output."""
    err.print(f"pipeline: {line}", markup=False, soft_wrap=True, highlight=False)


def fail(reason: str) -> NoReturn:
    """One line, exit code 1."""
    err.print(f"pipeline: {reason}", style="red", markup=False, soft_wrap=True, highlight=False)
    raise typer.Exit(1) from None


@contextmanager
def one_line_errors() -> Iterator[None]:
    """What a person did or can mend is one line and exit code 1; a bug keeps its trace."""
    try:
        yield
    except MarketDataError as error:
        fail(str(error))
    except psycopg.OperationalError as error:
        fail(f"PostgreSQL does not answer ({str(error).splitlines()[0]}): is the stack up? ./pipeline status")
    except OSError as error:
        fail(f"{error.strerror or error}{f': {error.filename}' if error.filename else ''}")
