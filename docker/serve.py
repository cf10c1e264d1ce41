"""Runs a server of ours inside a container: `serve.py include.web`.

On a machine the servers listen on loopback only. In a container that would shut out the other containers and
the published port, and it is the port mapping in docker-compose.yml that stays on 127.0.0.1.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any

EVERY_INTERFACE = "0.0.0.0"


def main(package: str) -> None:
    entry: Any = import_module(f"{package}.__main__")
    entry.HOST = EVERY_INTERFACE
    sys.exit(entry.main())


if __name__ == "__main__":
    main(sys.argv[1])
