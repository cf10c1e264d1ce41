"""Is a service in this container well? `healthcheck.py URL [COMPONENT]`, exit 0 or 1.

The address must answer 200; with COMPONENT, its answer (Airflow's health document) must also say that this
part of it is healthy. Standard library only: it runs every few seconds.
"""

from __future__ import annotations

import json
import sys
from urllib.error import URLError
from urllib.request import urlopen

TIMEOUT_SECONDS = 5


def problem(url: str, component: str | None = None) -> str | None:
    """What is wrong, None if nothing is."""
    try:
        with urlopen(url, timeout=TIMEOUT_SECONDS) as response:
            body = response.read()
    except (URLError, TimeoutError, ConnectionError) as error:
        return f"{url}: {error}"
    if component is None:
        return None
    status = json.loads(body).get(component, {}).get("status")
    return None if status == "healthy" else f"{component} is {status}"


if __name__ == "__main__":
    found = problem(*sys.argv[1:3])
    if found:
        raise SystemExit(found)
