"""The services' logs on the terminal."""

from __future__ import annotations

import os
import time
from pathlib import Path

from rich.console import Console

from include.errors import StackError
from include.stack.control import Stack
from include.stack.layout import LOG_TAIL_BYTES

LINES, LINES_EACH = 200, 8
FOLLOW_SECONDS = 0.3


def show(stack: Stack, name: str | None, *, follow: bool, out: Console) -> None:
    """The end of one log, or a few lines of each; with `follow`, what comes after as it comes."""
    folder = stack.plan.layout.logs
    if name is None:
        files = sorted(folder.glob("*.log"))
    else:
        files = [stack.plan.layout.log(name)]
        if not files[0].exists():
            known = ", ".join(sorted(file.stem for file in folder.glob("*.log"))) or "none yet"
            hint = "; it is written once CRYPTO_STREAMING=true has started it" if name == "trades" else ""
            raise StackError(f"there is no log of {name}{hint}; there are {known}")
    positions = {}
    for file in files:
        for line in _tail(file, LINES if name else LINES_EACH):
            _print(out, file, line, prefixed=name is None)
        positions[file] = file.stat().st_size
    while follow:
        for file, position in positions.items():
            positions[file] = _news(out, file, position, prefixed=name is None)
        time.sleep(FOLLOW_SECONDS)


def _tail(file: Path, lines: int) -> list[str]:
    with file.open("rb") as stream:
        stream.seek(max(0, file.stat().st_size - LOG_TAIL_BYTES))
        return stream.read().decode(errors="replace").splitlines()[-lines:]


def _news(out: Console, file: Path, position: int, *, prefixed: bool) -> int:
    size = file.stat().st_size
    if size < position:  # rotated
        position = 0
    with file.open("rb") as stream:
        stream.seek(position, os.SEEK_SET)
        for line in stream.read().decode(errors="replace").splitlines():
            _print(out, file, line, prefixed=prefixed)
    return size


def _print(out: Console, file: Path, line: str, *, prefixed: bool) -> None:
    text = f"{file.stem:<22} {line}" if prefixed else line
    out.print(text, markup=False, highlight=False, soft_wrap=True)
