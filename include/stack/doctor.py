"""Checks of machine, installation and security, each with what to do about it."""

from __future__ import annotations

import json
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from include.settings import PROJECT_ROOT, load_settings
from include.stack import preflight, processes, session
from include.stack.control import Stack
from include.stack.jars import damaged_jars, install_jars
from include.stack.java import find_java_home
from include.stack.plan import make_plan
from include.stack.services import services
from include.stack.supervisor import RUNNING_STATES, Supervisor

LOOPBACKS = ("127.0.0.1", "::1", "::ffff:127.0.0.1")


@dataclass(frozen=True, slots=True)
class Check:
    name: str
    ok: bool
    advice: str = ""


def health() -> list[Check]:
    """Installation and machine; for a stopped stack also whether it could start."""
    given = load_settings()
    plan = make_plan(given.market, running=given.market is not None)
    install_jars()
    damaged = damaged_jars()
    states = Supervisor(plan.layout).processes()
    to_start = [
        service for service in services(plan) if states.get(service.name, {}).get("statename") not in RUNNING_STATES
    ]
    running = len(to_start) < len(services(plan))
    found = [
        Check("settings can be read", True, f"MARKET={plan.market}"),
        Check("Java 17 or newer", True, str(find_java_home())),
        Check(
            "jars are the locked ones",
            not damaged,
            f"delete {damaged[0].file.name} and run again" if damaged else "",
        ),
    ]
    problems = [] if running else preflight.problems(plan, to_start)
    found += [Check("ready to start", False, problem) for problem in problems]
    if not problems:
        found.append(Check("running" if running else "ready to start", True))
    return found


def security() -> list[Check]:
    """What a hardening list asks: private files, loopback only, no password in a process list."""
    stack = session.current()
    layout = stack.plan.layout
    private = [layout.secrets_file, layout.stack_env, *layout.config.glob("*.conf")]
    private += [layout.airflow_home / "airflow.cfg", layout.airflow_home / "passwords.json"]
    open_files = [path for path in private if path.exists() and path.stat().st_mode & 0o077]
    open_doors = list(_open_doors(stack))
    shown = list(_shown_secrets(stack, layout.secrets_file))
    tracked = PROJECT_ROOT / ".env"
    return [
        Check("secrets are private", not open_files, f"chmod 600 {open_files[0]}" if open_files else ""),
        Check("the state folder is private", not stat.S_IMODE(layout.state.stat().st_mode) & 0o077, ""),
        Check("only loopback is listened on", not open_doors, "; ".join(open_doors[:3])),
        Check("no secret in a process list", not shown, "; ".join(shown[:3])),
        Check(
            ".env is private",
            not tracked.exists() or not tracked.stat().st_mode & 0o077,
            f"chmod 600 {tracked}" if tracked.exists() else "",
        ),
    ]


def _open_doors(stack: Stack) -> Iterator[str]:
    for process in processes.of_stack(stack.plan.layout):
        try:
            connections = process.net_connections("inet")
        except psutil.Error:
            continue
        for connection in connections:
            if connection.status == psutil.CONN_LISTEN and connection.laddr.ip not in LOOPBACKS:
                yield f"{process.name()} listens on {connection.laddr.ip}:{connection.laddr.port}"


def _shown_secrets(stack: Stack, secrets_file: Path) -> Iterator[str]:
    values = list(json.loads(secrets_file.read_text()).values())
    for process in processes.of_stack(stack.plan.layout):
        try:
            line = " ".join(process.cmdline())
        except psutil.Error:
            continue
        if any(value in line for value in values):
            yield f"pid {process.pid} shows a secret in its arguments"
