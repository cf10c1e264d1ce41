"""`./pipeline`: the one command. Each verb is a few lines; the work is in the rooms."""

from __future__ import annotations

import json
import os
import sys
import time
from enum import StrEnum
from importlib import import_module
from typing import Annotated

import typer
from rich.table import Table

from include.commands import archive, dead_letters, sandbox
from include.commands.console import err, one_line_errors, out, say
from include.commands.lineage import lineage
from include.commands.quality import quality
from include.errors import MarketDataError
from include.settings import Market, settings, stack_env_file

app = typer.Typer(
    help="A real-time market-data pipeline: bring it up, look at it, test it.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_show_locals=False,
    rich_markup_mode="rich",
)
FIRST_CANDLE_SECONDS = 300
#: Each is `benchmarks/<name>.py` with `run(as_json, options)`.
BENCHMARKS = ("backfill", "dashboard", "ingest", "stream", "warehouse")

app.add_typer(sandbox.app, name="sandbox")
app.add_typer(dead_letters.app, name="dead-letters")
app.add_typer(archive.app, name="archive")
app.command()(quality)
app.command()(lineage)


class MarketName(StrEnum):
    live = "live"
    sandbox = "sandbox"
    replay = "replay"


class AssetName(StrEnum):
    stocks = "stocks"
    crypto = "crypto"


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
        stack = session.start(wanted, say)
        if wait:
            with err.status("waiting for the first candle"):
                first = session.wait_until_flowing(stack, FIRST_CANDLE_SECONDS)
            say(f"first candle stored: {first:%Y-%m-%d %H:%M} UTC")
    _print_doors(stack.plan.environment(), stack.plan.market)
    err.print(f"pipeline: ready after {time.monotonic() - started:.0f} s", highlight=False)


@app.command()
def down() -> None:
    """Stop everything, in reverse order; nothing is left running."""
    from include.stack import session

    with one_line_errors():
        session.stop(say)


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
    say("stream stopped; market_stream starts it again within a minute" if name == "stream" else f"{name} restarted")


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
        session.stop(say)
        session.delete(folder)
    say(f"{folder} is gone")


@app.command("run-once")
def run_once(
    asset: AssetName,
    symbol: Annotated[list[str] | None, typer.Option(help="only this one; may be given more than once")] = None,
    source: Annotated[str | None, typer.Option(help="only from this source")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="ask and judge, publish nothing")] = False,
) -> None:
    """One ingestion batch now: fetch, validate, publish; counts per source."""
    from include.logs import log_to_stderr
    from include.producers.crypto_producer import CryptoDataProducer
    from include.producers.stock_producer import StockDataProducer

    log_to_stderr()
    producer = StockDataProducer() if asset is AssetName.stocks else CryptoDataProducer()
    with one_line_errors(), producer:
        report = producer.run_once(symbol or (), source, dry_run=dry_run)
    table = Table(*report.COLUMNS, box=None, pad_edge=False)
    for row in report.rows():
        table.add_row(*(str(cell) for cell in row))
    out.print(table)
    for switch in report.switches:
        say(f"switched {switch}")
    if report.waiting:
        say(f"{report.waiting} events wait on disk for Kafka: ./pipeline status")
    if dry_run:
        say("dry run: nothing was published")


@app.command()
def sources() -> None:
    """Who serves what: breakers, bans, what is left of the quotas, the latest switches."""
    from include.commands.sources import show

    with one_line_errors():
        show(out)


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
        raise typer.Exit(test_runner.run(context.args, say))


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def bench(
    context: typer.Context,
    name: Annotated[str | None, typer.Argument(help=f"one of {', '.join(BENCHMARKS)}; without a name, all")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="for programs")] = False,
) -> None:
    """Run the benchmarks beside their references; what follows the name goes to the benchmark."""
    with one_line_errors():
        if name not in (None, *BENCHMARKS):
            raise MarketDataError(f"there is no benchmark {name}; there are {', '.join(BENCHMARKS)}")
        for chosen in BENCHMARKS if name is None else (name,):
            import_module(f"benchmarks.{chosen}").run(as_json, context.args)


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


if __name__ == "__main__":
    app()
