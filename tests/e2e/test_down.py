"""A stop leaves nothing behind; a start after it finds everything again."""

from __future__ import annotations

import os
import signal

import psycopg

from include.stack.layout import Layout
from include.stack.processes import of_stack
from include.stack.supervisor import Supervisor
from tests.conftest import RunningStack
from tests.ports import BASE_PORTS, is_free


def test_down_leaves_no_process_and_a_warm_start_keeps_the_data(stack: RunningStack) -> None:
    """The last test of all that use the shared stack."""
    with psycopg.connect(stack.env["DATABASE_URL"]) as connection:
        before = connection.execute("SELECT count(*) FROM market_events").fetchone()
    assert stack.run("down", timeout=180).returncode == 0
    assert list(of_stack(Layout(stack.home, "sandbox"))) == []
    assert stack.run("status").returncode == 1
    assert listeners(stack) == []
    assert stack.run("up", timeout=300).returncode == 0
    with psycopg.connect(stack.env["DATABASE_URL"]) as connection:
        after = connection.execute("SELECT count(*) FROM market_events").fetchone()
    assert before is not None
    assert after is not None
    assert after[0] >= before[0] > 0

    # supervisord dies: what it started is found and ended all the same.
    os.kill(Supervisor(Layout(stack.home, "sandbox")).pid(), signal.SIGKILL)
    assert stack.run("down", timeout=180).returncode == 0
    assert listeners(stack) == []


def listeners(stack: RunningStack) -> list[int]:
    """Ports of this stack on which somebody still listens."""
    shift = int(stack.variables["PIPELINE_PORT_OFFSET"])
    return [port + shift for port in BASE_PORTS if not is_free(port + shift)]
