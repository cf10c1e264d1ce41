"""supervisord keeps the local services alive; this is its configuration and its remote control."""

from __future__ import annotations

import os
import subprocess
import sys
import xmlrpc.client
from collections.abc import Iterable
from dataclasses import dataclass, field
from http.client import HTTPException
from pathlib import Path
from typing import Any, cast

from supervisor.xmlrpc import SupervisorTransport

from include.errors import StackError
from include.settings import PROJECT_ROOT
from include.stack.layout import Layout, write_private

RUNNING_STATES = ("STARTING", "RUNNING", "BACKOFF")
_ALREADY_STARTED, _NOT_RUNNING = 60, 70


@dataclass(frozen=True, slots=True)
class Program:
    """One service as supervisord runs it."""

    name: str
    command: list[str]
    stop_signal: str = "TERM"
    stop_seconds: int = 30
    environment: dict[str, str] = field(default_factory=dict)


class Supervisor:
    """The supervisord of one stack, over its private socket."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout

    def launch(self, programs: Iterable[Program], environment: dict[str, str]) -> None:
        """Start supervisord with its programs, none of them running yet. Raises StackError."""
        folder = self._layout.socket.parent
        folder.mkdir(mode=0o700, exist_ok=True)
        if folder.stat().st_uid != os.getuid():
            raise StackError(f"{folder} belongs to another user: remove it, or set TMPDIR to a folder of yours")
        file = self._layout.config / "supervisord.conf"
        write_private(file, _configuration(self._layout, programs))
        made = subprocess.run(
            [sys.executable, "-m", "supervisor.supervisord", "-c", str(file)],
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            cwd=PROJECT_ROOT,
        )
        if made.returncode != 0:
            raise StackError(f"supervisord did not start: {(made.stderr or made.stdout).strip()[-300:]}")

    def is_alive(self) -> bool:
        try:
            return bool(self._call("supervisor.getState")["statecode"] == 1)
        except (OSError, HTTPException, xmlrpc.client.Error):
            return False

    def processes(self) -> dict[str, dict[str, Any]]:
        """supervisord's own facts by program name; empty if it does not run."""
        try:
            return {entry["name"]: entry for entry in self._call("supervisor.getAllProcessInfo")}
        except (OSError, HTTPException, xmlrpc.client.Error):
            return {}

    def start(self, name: str) -> None:
        """Start without waiting; a program that runs already is left alone."""
        try:
            self._call("supervisor.startProcess", name, False)
        except xmlrpc.client.Fault as fault:
            if fault.faultCode != _ALREADY_STARTED:
                raise StackError(f"{name} cannot be started: {fault.faultString}") from fault

    def stop(self, name: str) -> None:
        """Stop and wait until it has."""
        try:
            self._call("supervisor.stopProcess", name, True)
        except xmlrpc.client.Fault as fault:
            if fault.faultCode != _NOT_RUNNING:
                raise StackError(f"{name} cannot be stopped: {fault.faultString}") from fault

    def shutdown(self) -> None:
        self._call("supervisor.shutdown")

    def pid(self) -> int:
        return int(self._call("supervisor.getPID"))

    def _call(self, method: str, *arguments: Any) -> Any:
        transport = SupervisorTransport(None, None, f"unix://{self._layout.socket}")
        proxy = xmlrpc.client.ServerProxy(f"http://{self._layout.instance}", transport=cast(Any, transport))
        target = proxy
        for part in method.split("."):
            target = getattr(target, part)
        return cast(Any, target)(*arguments)


def _configuration(layout: Layout, programs: Iterable[Program]) -> str:
    lines = [
        "[unix_http_server]",
        f"file={_literal(layout.socket)}",
        "chmod=0700",
        "[supervisord]",
        f"logfile={_literal(layout.log('supervisord'))}",
        f"pidfile={_literal(layout.socket.parent / 'supervisord.pid')}",
        f"directory={_literal(PROJECT_ROOT)}",
        "logfile_maxbytes=5MB",
        "logfile_backups=1",
        "minfds=4096",
        "strip_ansi=true",
        *(["user=root"] if os.getuid() == 0 else []),
        "[rpcinterface:supervisor]",
        "supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface",
    ]
    for program in programs:
        variables = ",".join(f'{name}="{value}"' for name, value in program.environment.items())
        lines += [
            f"[program:{program.name}]",
            f"command={' '.join(_quoted(part) for part in program.command)}",
            *([f"environment={variables.replace('%', '%%')}"] if variables else []),
            "autostart=false",
            "autorestart=true",
            "startsecs=2",
            "startretries=5",
            f"stopsignal={program.stop_signal}",
            f"stopwaitsecs={program.stop_seconds}",
            "stopasgroup=true" if program.stop_signal == "TERM" else "stopasgroup=false",
            "killasgroup=true",
            "redirect_stderr=true",
            f"stdout_logfile={_literal(layout.log(program.name))}",
            "stdout_logfile_maxbytes=20MB",
            "stdout_logfile_backups=2",
        ]
    return "\n".join(lines) + "\n"


def _literal(path: Path) -> str:
    """A path as supervisor's own expansion leaves it alone."""
    return str(path).replace("%", "%%")


def _quoted(part: str) -> str:
    escaped = part.replace("%", "%%")
    return f'"{escaped}"' if " " in part or ";" in part or "*" in part or "'" in part else escaped
