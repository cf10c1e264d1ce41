"""A small Redis prompt: no wheel carries redis-cli, and this one is connected already."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from typing import Any, cast

import redis
from rich.console import Console

from include.settings import required, settings


def run(arguments: Sequence[str], out: Console) -> int:
    """One command, or a prompt (also from a pipe); the exit code."""
    url = required(settings().redis_url, "REDIS_URL")
    with redis.Redis.from_url(url, decode_responses=True) as client:
        if arguments:
            return _execute(client, arguments, out)
        code = 0
        while True:
            try:
                line = input("redis> " if sys.stdin.isatty() else "")
            except EOFError:
                return code
            if line.strip() in ("exit", "quit"):
                return code
            if line.strip():
                code = _execute(client, shlex.split(line), out)


def _execute(client: redis.Redis, command: Sequence[str], out: Console) -> int:
    try:
        answer = cast(Any, client).execute_command(*command)
    except redis.RedisError as error:
        out.print(f"(error) {error}", markup=False, highlight=False)
        return 1
    for line in answer if isinstance(answer, list) else [answer]:
        out.print("(nil)" if line is None else str(line), markup=False, highlight=False, soft_wrap=True)
    return 0
