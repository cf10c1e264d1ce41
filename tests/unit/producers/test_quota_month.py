"""A month of greedy asking by two processes, with restarts and stores that fail: never over, and not timid."""

from __future__ import annotations

import random
from bisect import bisect_left
from dataclasses import dataclass, field
from itertools import accumulate

import pytest

from include.errors import QuotaExhausted, RateLimited
from include.market.event import MICROSECONDS, Source
from include.producers.shared_gate import SharedGate
from include.settings import Settings
from include.sources.base import QUOTES, Declaration, RateRule
from tests.unit.producers.source_stores import MemoryStore

DAY_US = 86_400 * MICROSECONDS
START_US = 1_700_000_000 * MICROSECONDS
SETTINGS = Settings(_env_file=None)  # type: ignore[call-arg]


@dataclass
class Month:
    """A source as it is asked: bursts of greed, between them rest."""

    source: Source
    rules: tuple[RateRule, ...]
    costs: tuple[int, ...]
    burst_calls: int
    rest_seconds: float
    made: list[tuple[int, int]] = field(default_factory=list)

    @property
    def declaration(self) -> Declaration:
        return Declaration(name=self.source, capabilities=(), rates=self.rules)

    def most_in(self, seconds: int) -> int:
        """Units in the fullest window, both edges included; counted here, and not by what is tested."""
        made = sorted(self.made)
        times = [at_us for at_us, _ in made]
        sums = [0, *accumulate(cost for _, cost in made)]
        return max(
            sums[last + 1] - sums[bisect_left(times, at_us - seconds * MICROSECONDS)]
            for last, at_us in enumerate(times)
        )


def months() -> list[Month]:
    day, month = 86_400, 31 * 86_400
    pace = RateRule
    return [
        Month("yahoo", (pace("yahoo_calls_per_minute", 60), pace("yahoo_calls_per_hour", 3_600)), (1,), 2_500, 500_000),
        Month(
            "alpha_vantage",
            (pace("alpha_vantage_calls_per_minute", 60), pace("alpha_vantage_calls_per_day", day)),
            (1,), 40, 600,
        ),
        Month(
            "coingecko",
            (pace("coingecko_calls_per_minute", 60), pace("coingecko_calls_per_month", month)),
            (1,), 800, 30_000,
        ),
        Month("binance", (pace("binance_weight_per_minute", 60),), (2, 4, 40, 80), 400, 200_000),
    ]  # fmt: skip


class Stack:
    """Two processes over one Redis and one PostgreSQL. At most one store fails at a time."""

    def __init__(self, month: Month, dice: random.Random) -> None:
        self.month = month
        self.dice = dice
        self.redis = MemoryStore("Redis", forgets=True)
        self.postgres = MemoryStore("PostgreSQL", forgets=False)
        self.processes = [self.process(), self.process()]
        self.old = self.redis.snapshot()
        self.faults = 0

    def process(self) -> SharedGate:
        return SharedGate([self.month.declaration], SETTINGS, self.redis, self.postgres)

    def something_fails(self) -> None:
        """The end of the last fault, a call that brings the stores together, and perhaps another fault."""
        self.redis.is_away = self.postgres.is_away = False
        self.processes[0].health(self.month.source)
        match self.dice.choice(["restart", "flush", "snapshot", "older", "redis away", "postgres away", "well"]):
            case "restart":
                self.processes[self.dice.randrange(2)] = self.process()
            case "flush":
                self.redis.restart()
            case "snapshot":
                self.old = self.redis.snapshot()
            case "older":
                self.redis.restart(self.old)
                self.old = self.redis.snapshot()
            case "redis away":
                self.redis.is_away = True
            case "postgres away":
                self.postgres.is_away = True
        self.faults += 1

    def ask(self, now_us: int) -> int | None:
        """None if the call was made, else when it fits."""
        cost = self.dice.choice(self.month.costs)
        # The clocks of two processes are not one.
        now_us += self.dice.randint(-20_000, 20_000)
        try:
            self.dice.choice(self.processes).admit(self.month.source, QUOTES, cost, now_us)
        except (RateLimited, QuotaExhausted) as error:
            return round((error.until or 0.0) * MICROSECONDS)
        self.month.made.append((now_us, cost))
        return None


@pytest.mark.parametrize("month", months(), ids=lambda month: month.source)
def test_a_month_of_greed_is_never_over_in_any_rolling_window(month: Month) -> None:
    dice = random.Random(20131008)
    stack = Stack(month, dice)
    now_us, made_of_burst = START_US, 0
    while now_us < START_US + 32 * DAY_US:
        if dice.random() < 0.02:
            stack.something_fails()
        fits_us = stack.ask(now_us)
        if fits_us is None:
            made_of_burst += 1
            now_us += dice.randint(0, 200_000)
        else:
            now_us = max(now_us + 1_000, min(fits_us, now_us + DAY_US // 4))
        if made_of_burst == month.burst_calls:
            made_of_burst = 0
            now_us += round(month.rest_seconds * dice.random() * 2) * MICROSECONDS
    assert stack.faults > 5
    for rule in month.rules:
        limit = getattr(SETTINGS, rule.setting)
        most = month.most_in(rule.seconds)
        assert most <= limit, f"{rule.setting}: {most} in {rule.seconds} s"
        # Not by asking too little: what is allowed can be used, but for a call that costs more than is left.
        assert most > limit - max(month.costs), f"{rule.setting}: only {most}"
