"""How often a source is asked again: a little, with jitter, and only where that can help."""

from __future__ import annotations

import time
from collections.abc import Callable

from tenacity import Retrying, retry_if_exception, stop_after_attempt, stop_before_delay
from tenacity.wait import wait_base, wait_random_exponential

from include.errors import SourceError

TRIES = 3
BUDGET_SECONDS = 10.0


def retrying(sleep: Callable[[float], None] = time.sleep, wait: wait_base | None = None) -> Retrying:
    """At most three tries; no new one starts once the waits and answers have taken ten seconds.

    Full jitter (each wait is drawn from zero to the exponential bound), so that the symbols of one
    batch, and several stacks behind one address, do not return in step. A refusal is not tried again:
    it would make a ban longer, and the next batch is a minute away.
    """
    return Retrying(
        stop=stop_after_attempt(TRIES) | stop_before_delay(BUDGET_SECONDS),
        wait=wait or wait_random_exponential(multiplier=0.5, max=4),
        retry=retry_if_exception(lambda error: isinstance(error, SourceError) and error.retriable),
        sleep=sleep,
        reraise=True,
    )
