"""`./pipeline`: the one command. Each verb is a few lines; the work is in the rooms."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from typing import Annotated, NoReturn

import psycopg
import typer
from rich.console import Console
from rich.table import Table

from include.errors import MarketDataError
from include.settings import Market, settings, stack_env_file

app = typer.Typer(
    help="A real-time market-data pipeline: bring it up, look at it, test it.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_show_locals=False,
    rich_markup_mode="rich",
)
# Piped output has no width of its own; 80 columns would fold the tables.
out = Console(width=None if sys.stdout.isatty() else 120)
err = Console(stderr=True)

FIRST_CANDLE_SECONDS = 300


def _fail(reason: str) -> NoReturn:
    err.print(f"pipeline: {reason}", style="red", markup=False, soft_wrap=True, highlight=False)
    raise typer.Exit(1) from None


class MarketName(StrEnum):
    live = "live"
    sandbox = "sandbox"
    replay = "replay"


class AssetName(StrEnum):
    stocks = "stocks"
    crypto = "crypto"


@contextmanager
def one_line_errors() -> Iterator[None]:
    """What a person did or can mend is one line and exit code 1; a bug keeps its trace."""
    try:
        yield
    except MarketDataError as error:
        _fail(str(error))
    except psycopg.OperationalError as error:
        _fail(f"PostgreSQL does not answer ({str(error).splitlines()[0]}): is the stack up? ./pipeline status")
    except OSError as error:
        _fail(f"{error.strerror or error}{f': {error.filename}' if error.filename else ''}")


@app.command()
def up(
    market: Annotated[MarketName | None, typer.Option(help="live, sandbox or replay; else MARKET")] = None,
    wait: Annotated[bool, typer.Option("--wait", help="return when the first candle is stored")] = False,
) -> None:
    """Start every service, apply the migrations, unpause the DAGs."""
    from include.stack import session

    started = time.monotonic()
    with one_line_errors():
        wanted: Market | None = market.value if market else None
        stack = session.start(wanted, _say)
        if wait:
            with err.status("waiting for the first candle"):
                first = session.wait_until_flowing(stack, FIRST_CANDLE_SECONDS)
            _say(f"first candle stored: {first:%Y-%m-%d %H:%M} UTC")
    _print_doors(stack.plan.environment(), stack.plan.market)
    err.print(f"pipeline: ready after {time.monotonic() - started:.0f} s", highlight=False)


@app.command()
def down() -> None:
    """Stop everything, in reverse order; nothing is left running."""
    from include.stack import session

    with one_line_errors():
        session.stop(_say)


@app.command()
def status(as_json: Annotated[bool, typer.Option("--json", help="for programs")] = False) -> None:
    """One row a service; exit code 0 only if all are healthy."""
    from include.stack import session, status_table
    from include.stack.status import rows

    with one_line_errors():
        stack = session.current()
        found = rows(stack)
    if as_json:
        print(json.dumps([row.as_dict() for row in found], indent=2))
    else:
        out.print(status_table.render(found, stack.plan.market))
    if not all(row.healthy for row in found):
        raise typer.Exit(1)


@app.command()
def env() -> None:
    """KEY=value lines of the running stack, secrets included."""
    with one_line_errors():
        chosen = settings()
        file = stack_env_file(chosen.pipeline_home, chosen.state_dir.name)
        print(file.read_text(), end="")


@app.command()
def logs(
    name: Annotated[str | None, typer.Argument(help="a service; without a name, the end of each")] = None,
    follow: Annotated[bool, typer.Option("-f", "--follow")] = False,
) -> None:
    """Show the services' logs."""
    from include.stack import log_reader, session

    with one_line_errors():
        log_reader.show(session.current(), name, follow=follow, out=out)


@app.command()
def restart(name: str) -> None:
    """Restart one service, or `stream`."""
    from include.stack import session

    with one_line_errors():
        session.current().restart(name)
    _say("stream stopped; market_stream starts it again within a minute" if name == "stream" else f"{name} restarted")


@app.command()
def doctor(
    security: Annotated[bool, typer.Option("--security", help="look at modes, sockets and secrets")] = False,
) -> None:
    """Check the machine and the installation; exit code 1 if something is wrong."""
    from include.stack import doctor as checks

    with one_line_errors():
        results = checks.security() if security else checks.health()
    table = Table(box=None, pad_edge=False, show_header=False)
    for result in results:
        table.add_row("[green]ok[/]" if result.ok else "[red]!![/]", result.name, result.advice)
    out.print(table)
    if not all(result.ok for result in results):
        raise typer.Exit(1)


@app.command()
def reset(yes: Annotated[bool, typer.Option("--yes", help="do not ask")] = False) -> None:
    """Stop the stack and delete its data, logs and secrets."""
    from include.stack import session

    with one_line_errors():
        folder = session.state_folder()
        if not yes:
            typer.confirm(f"Delete all data, logs and secrets in {folder}?", abort=True)
        session.stop(_say)
        session.delete(folder)
    _say(f"{folder} is gone")


@app.command("run-once")
def run_once(asset: AssetName) -> None:
    """One ingestion batch now: fetch, validate, publish; counts per source."""
    from include.logs import log_to_stderr
    from include.producers.crypto_producer import CryptoDataProducer
    from include.producers.stock_producer import StockDataProducer

    log_to_stderr()
    producer = StockDataProducer() if asset is AssetName.stocks else CryptoDataProducer()
    with one_line_errors(), producer:
        report = producer.run_once()
    table = Table(*report.COLUMNS, box=None, pad_edge=False)
    for row in report.rows():
        table.add_row(*(str(cell) for cell in row))
    out.print(table)


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def psql(context: typer.Context) -> None:
    """PostgreSQL's own shell, connected."""
    from include.settings import required
    from include.stack.postgres import binary

    with one_line_errors():
        url = required(settings().database_url, "DATABASE_URL")
        program = str(binary("psql"))
        # By environment and not as an argument: the process list must not show the password.
        variables = _libpq_variables(url)
    os.execve(program, [program, *context.args], os.environ | variables)


@app.command("redis-cli", context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def redis_cli(context: typer.Context) -> None:
    """Redis commands, connected: `redis-cli GET price:AAPL`, or a prompt."""
    from include.stack.redis_shell import run

    with one_line_errors():
        raise typer.Exit(run(context.args, out))


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []})
def airflow(context: typer.Context) -> None:
    """Airflow's own command line, connected."""
    from include.stack import session

    with one_line_errors():
        environment = session.current().plan.process_environment()
    os.execve(sys.executable, [sys.executable, "-m", "airflow", *context.args], os.environ | environment)


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []})
def test(context: typer.Context) -> None:
    """Run the tests: unit, integration, e2e, browser, lint or all; then pytest options."""
    from include.stack import test_runner

    with one_line_errors():
        raise typer.Exit(test_runner.run(context.args, _say))


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def bench(context: typer.Context) -> None:
    """Run the benchmarks beside their references."""
    with one_line_errors():
        raise MarketDataError("there is no benchmark yet: the first comes with the stream's own work")


def _libpq_variables(url: str) -> dict[str, str]:
    from urllib.parse import unquote, urlsplit

    parts = urlsplit(url)
    return {
        "PGHOST": parts.hostname or "",
        "PGPORT": str(parts.port or 5432),
        "PGUSER": unquote(parts.username or ""),
        "PGPASSWORD": unquote(parts.password or ""),
        "PGDATABASE": parts.path.strip("/"),
    }


def _print_doors(environment: dict[str, str], market: str) -> None:
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_row("Market", f"[bold]{market.upper()}[/]")
    table.add_row("Dashboard", environment["DASHBOARD_URL"])
    table.add_row("Airflow", environment["AIRFLOW_URL"])
    table.add_row("", f"user {environment['AIRFLOW_USERNAME']}, password {environment['AIRFLOW_PASSWORD']}")
    table.add_row("Spark UI", environment["SPARK_UI_URL"])
    out.print(table)


def _say(line: str) -> None:
    err.print(f"pipeline: {line}", markup=False, soft_wrap=True, highlight=False)


if __name__ == "__main__":
    app()
