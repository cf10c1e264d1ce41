"""Places where a test lets the driver die, freeze or fail: the edges at which a crash could lose or double a row.

    PIPELINE_FAILPOINT="before commit:kill:3"   the third time that the driver comes there

Actions: `kill` (JVM and Python at once, SIGKILL), `freeze` (both, SIGSTOP), `fail` (an error of the batch). Without
the variable a failpoint does nothing.
"""

from __future__ import annotations

import os
import signal

VARIABLE = "PIPELINE_FAILPOINT"
PLACES = ("batch read", "events stored", "before commit", "committed", "shown")
_SIGNALS = {"kill": signal.SIGKILL, "freeze": signal.SIGSTOP}
_passed: dict[str, int] = {}


class FailpointError(RuntimeError):
    """Wanted by a test."""


def failpoint(place: str) -> None:
    """Do what the variable says if it names this place and this is the time that it names."""
    wanted = os.environ.get(VARIABLE)
    if not wanted:
        return
    name, action, number = wanted.split(":")
    if name != place:
        return
    _passed[place] = _passed.get(place, 0) + 1
    if _passed[place] != int(number):
        return
    if action == "fail":
        raise FailpointError(f"{place}: asked to fail")
    os.killpg(os.getpgid(0), _SIGNALS[action])
