"""The stack that a command means: the one that runs, or the one that the settings describe."""

from __future__ import annotations

import fcntl
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from include.errors import SettingsError, StackError
from include.settings import MARKETS, Market, active_market_file, load_settings, required
from include.stack.control import Say, Stack, bring_down
from include.stack.layout import Layout
from include.stack.plan import make_plan
from include.stack.status import rows
from include.stack.supervisor import Supervisor
from include.storage.database import DatabaseManager

FLOW_POLL_SECONDS = 1.0


def start(market: Market | None, say: Say) -> Stack:
    """Bring up what is asked for. Raises StackError if another market's stack runs here."""
    home = load_settings(with_stack=False).pipeline_home
    with one_at_a_time(home):
        return _start(home, market, say)


def _start(home: Path, market: Market | None, say: Say) -> Stack:
    running = _running_market(home)
    wanted = market or _given_market() or running
    plan = make_plan(wanted, running=running is not None and wanted == running)
    if running is not None and running != plan.market:
        raise StackError(f"a stack with MARKET={running} runs here: ./pipeline down first")
    if plan.market == "sandbox" and market is None and _given_market() is None and running is None:
        say("MARKET is not set and no live source answers: this is the SANDBOX, a simulated market")
    stack = Stack(plan, say)
    if not stack.up():
        say("everything runs already")
    return stack


def current() -> Stack:
    """The stack that was started last here, running or not. Raises SettingsError if there is none."""
    return Stack(make_plan(_active_market(), running=True), _silent)


def stop(say: Say) -> None:
    """Stop every stack of this home; none running is fine. Needs no setting but where the home is."""
    home = load_settings(with_stack=False).pipeline_home
    for market in MARKETS:
        layout = Layout(home, market)
        if layout.stack_env.exists():
            with one_at_a_time(home):
                bring_down(layout, say)


@contextmanager
def one_at_a_time(home: Path) -> Iterator[None]:
    """Starts and stops of one home wait for each other."""
    home.mkdir(parents=True, exist_ok=True)
    with (home / ".lock").open("w") as guard:
        fcntl.flock(guard, fcntl.LOCK_EX)
        yield


def wait_until_flowing(stack: Stack, seconds: int) -> datetime:
    """Start of the first stored candle, once there is one and all is healthy. Raises StackError with the reason."""
    url = required(stack.plan.settings.database_url, "DATABASE_URL")
    deadline = time.monotonic() + seconds
    while True:
        with DatabaseManager(url) as database:
            first = database.first_candle_at()
        is_over = time.monotonic() > deadline
        # All that starts needs the processors; to look at every service costs a quarter of a second of them.
        unwell = [row for row in rows(stack) if not row.healthy] if first is not None or is_over else []
        if first is not None and not unwell:
            return first
        if is_over:
            break
        time.sleep(FLOW_POLL_SECONDS)
    if unwell:
        raise StackError(f"{unwell[0].service} is not healthy after {seconds} s: {unwell[0].last_error}")
    raise StackError(f"no candle within {seconds} s: see ./pipeline logs stream and the runs of the ingest DAGs")


def state_folder() -> Path:
    """The folder of the stack that was started last."""
    home = load_settings(with_stack=False).pipeline_home
    return Layout(home, _active_market()).state


def delete(folder: Path) -> None:
    shutil.rmtree(folder)
    (folder.parent / "active").unlink(missing_ok=True)


def _running_market(home: Path) -> Market | None:
    for market in MARKETS:
        layout = Layout(home, market)
        if layout.stack_env.exists() and Supervisor(layout).is_alive():
            return market
    return None


def _given_market() -> Market | None:
    return load_settings(with_stack=False).market


def _active_market() -> Market:
    given = load_settings(with_stack=False)
    file = active_market_file(given.pipeline_home)
    market = file.read_text().strip() if file.exists() else given.market
    if market not in MARKETS:
        raise SettingsError("no stack was started here yet: ./pipeline up")
    return market


def _silent(_line: str) -> None:
    return
