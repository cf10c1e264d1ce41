"""The gate over in-memory stores: what it refuses and until when, and which store it believes."""

from __future__ import annotations

import pytest

from include.errors import Banned, QuotaExhausted, RateLimited, SourceError, Transient
from include.market.event import MICROSECONDS
from include.producers.shared_gate import SharedGate
from include.settings import Settings
from include.sources.base import QUOTES, Declaration, RateRule
from tests.unit.producers.source_stores import MemoryStore

SECOND = MICROSECONDS
#: A full minute and thirty seconds.
NOW = (1_700_000_000 // 60 * 60 + 30) * SECOND
DAY = 86_400
DECLARATIONS = (
    Declaration(
        name="alpha_vantage",
        capabilities=(),
        rates=(RateRule("alpha_vantage_calls_per_minute", 60), RateRule("alpha_vantage_calls_per_day", DAY)),
    ),
    Declaration(
        name="binance", capabilities=(), rates=(RateRule("binance_weight_per_minute", 60),), unit="weight"
    ),
)  # fmt: skip
SETTINGS = Settings(_env_file=None, binance_weight_per_minute=100)  # type: ignore[call-arg]


class Stores:
    def __init__(self) -> None:
        self.redis = MemoryStore("Redis", forgets=True)
        self.postgres = MemoryStore("PostgreSQL", forgets=False)

    def gate(self) -> SharedGate:
        return SharedGate(DECLARATIONS, SETTINGS, self.redis, self.postgres)


@pytest.fixture
def stores() -> Stores:
    return Stores()


def refused(gate: SharedGate, source: str, now_us: int, cost: int = 1) -> SourceError:
    with pytest.raises(SourceError) as found:
        gate.admit(source, QUOTES, cost, now_us)  # type: ignore[arg-type]
    return found.value


def until_us(error: SourceError) -> int:
    assert error.until is not None
    return round(error.until * MICROSECONDS)


def test_a_refusal_says_to_the_microsecond_when_the_next_call_fits(stores: Stores) -> None:
    gate = stores.gate()
    for second in range(5):
        gate.admit("alpha_vantage", QUOTES, 1, NOW + second * SECOND)
    error = refused(gate, "alpha_vantage", NOW + 10 * SECOND)
    assert isinstance(error, RateLimited)
    assert "ALPHA_VANTAGE_CALLS_PER_MINUTE" in str(error)
    # Both edges of the window belong to it, and a slow call may arrive late: five seconds are added.
    assert until_us(error) == NOW + 65 * SECOND + 1
    assert until_us(refused(gate, "alpha_vantage", until_us(error) - 1)) == until_us(error)
    gate.admit("alpha_vantage", QUOTES, 1, until_us(error))
    assert until_us(refused(gate, "alpha_vantage", until_us(error))) == NOW + 66 * SECOND + 1


def test_a_dear_call_waits_until_enough_of_the_cheap_ones_have_left(stores: Stores) -> None:
    gate = stores.gate()
    for second in range(30):
        gate.admit("binance", QUOTES, 2, NOW + second * SECOND)
    gate.admit("binance", QUOTES, 40, NOW + 30 * SECOND)
    assert until_us(refused(gate, "binance", NOW + 31 * SECOND, 2)) == NOW + 65 * SECOND + 1
    # 50 units must go: the first 25 calls.
    assert until_us(refused(gate, "binance", NOW + 31 * SECOND, 50)) == NOW + (24 + 65) * SECOND + 1


def test_the_day_is_used_up_and_counts_in_the_longer_window(stores: Stores) -> None:
    gate = stores.gate()
    for call in range(25):
        gate.admit("alpha_vantage", QUOTES, 1, NOW + call * 20 * SECOND)
    error = refused(gate, "alpha_vantage", NOW + 3_600 * SECOND)
    assert isinstance(error, QuotaExhausted)
    assert until_us(error) == NOW + (DAY + 5) * SECOND + 1


def test_a_call_that_never_fits_says_which_setting_to_raise(stores: Stores) -> None:
    error = refused(stores.gate(), "binance", NOW, 101)
    assert "BINANCE_WEIGHT_PER_MINUTE=100: raise it" in str(error)
    assert error.until is not None


def test_what_is_refused_is_not_counted_and_claims_no_probe(stores: Stores) -> None:
    gate = stores.gate()
    gate.failed("binance", QUOTES, RateLimited("slow down", until=NOW / SECOND + 60), NOW)
    for _ in range(3):
        refused(gate, "binance", NOW + 59 * SECOND, 40)
    for _ in range(3):
        refused(gate, "binance", NOW + 61 * SECOND, 101)
    gate.admit("binance", QUOTES, 100, NOW + 61 * SECOND)


def test_the_sources_own_count_adds_what_others_used(stores: Stores) -> None:
    gate = stores.gate()
    gate.admit("binance", QUOTES, 10, NOW)
    gate.succeeded("binance", NOW + SECOND, used=70)
    gate.succeeded("binance", NOW + SECOND, used=70)
    assert [use.used for use in gate.describe(NOW + SECOND)[1].quotas] == [70]
    gate.admit("binance", QUOTES, 30, NOW + 2 * SECOND)
    assert isinstance(refused(gate, "binance", NOW + 3 * SECOND), RateLimited)


def test_the_last_minutes_count_is_not_taken_for_others(stores: Stores) -> None:
    """The source's clock is a second behind ours: its answer still counts the minute that is over for us."""
    gate = stores.gate()
    gate.admit("binance", QUOTES, 40, NOW)
    gate.succeeded("binance", NOW + 31 * SECOND, used=40)
    assert [use.used for use in gate.describe(NOW + 31 * SECOND)[1].quotas] == [40]


def test_a_clock_that_is_behind_sees_the_calls_of_the_one_ahead(stores: Stores) -> None:
    ahead, behind = stores.gate(), stores.gate()
    for _ in range(5):
        ahead.admit("alpha_vantage", QUOTES, 1, NOW + SECOND)
    refused(behind, "alpha_vantage", NOW)


@pytest.mark.parametrize("loss", ["emptied", "older", "away"])
def test_whatever_redis_loses_postgresql_remembers(stores: Stores, loss: str) -> None:
    gate = stores.gate()
    gate.admit("alpha_vantage", QUOTES, 1, NOW)
    older = stores.redis.snapshot()
    for _ in range(4):
        gate.admit("alpha_vantage", QUOTES, 1, NOW)
    gate.failed("binance", QUOTES, Banned("banned", until=NOW / SECOND + 900), NOW)
    if loss == "away":
        stores.redis.is_away = True
    else:
        stores.redis.restart(older if loss == "older" else None)
    for asking in (gate, stores.gate()):
        refused(asking, "alpha_vantage", NOW + SECOND)
        assert isinstance(refused(asking, "binance", NOW + 899 * SECOND), Banned)
    # And what PostgreSQL counted alone, Redis knows when it is back.
    stores.redis.is_away = False
    gate.admit("alpha_vantage", QUOTES, 1, NOW + 100 * SECOND)
    assert stores.redis.units_since("alpha_vantage", 0) == 6


def test_redis_decides_alone_while_it_runs_and_postgresql_catches_up(stores: Stores) -> None:
    gate = stores.gate()
    gate.admit("alpha_vantage", QUOTES, 1, NOW)
    stores.postgres.is_away = True
    for _ in range(4):
        gate.admit("alpha_vantage", QUOTES, 1, NOW + SECOND)
    assert isinstance(refused(stores.gate(), "alpha_vantage", NOW + SECOND), RateLimited)
    stores.postgres.is_away = False
    refused(gate, "alpha_vantage", NOW + SECOND)
    assert stores.postgres.units_since("alpha_vantage", 0) == 5


def test_redis_after_a_restart_decides_nothing_alone(stores: Stores) -> None:
    gate = stores.gate()
    gate.admit("alpha_vantage", QUOTES, 1, NOW)
    stores.postgres.is_away = True
    stores.redis.restart(stores.redis.snapshot())
    assert isinstance(refused(gate, "alpha_vantage", NOW), Transient)
    assert stores.redis.units_since("alpha_vantage", 0) == 1


def test_without_a_store_nothing_is_asked_and_an_answer_still_counts(stores: Stores) -> None:
    gate = stores.gate()
    gate.admit("binance", QUOTES, 1, NOW)
    stores.redis.is_away = stores.postgres.is_away = True
    assert isinstance(refused(gate, "binance", NOW), Transient)
    gate.succeeded("binance", NOW, used=5)
    gate.failed("binance", QUOTES, Transient("reset"), NOW)
    assert gate.health("binance").state == "closed"


def test_an_answer_that_changes_nothing_writes_nothing(stores: Stores) -> None:
    gate = stores.gate()
    gate.admit("binance", QUOTES, 1, NOW)
    changes = stores.redis.changes, stores.postgres.changes
    gate.succeeded("binance", NOW, used=1)
    gate.health("binance")
    assert (stores.redis.changes, stores.postgres.changes) == changes


def test_people_see_what_is_left_and_when_more_comes(stores: Stores) -> None:
    gate = stores.gate()
    gate.admit("alpha_vantage", QUOTES, 1, NOW)
    gate.admit("alpha_vantage", QUOTES, 1, NOW + SECOND)
    report = gate.describe(NOW + 66 * SECOND)[0]
    assert (report.source, report.unit, report.health.state) == ("alpha_vantage", "calls", "closed")
    assert [(use.limit.seconds, use.used, use.left, use.frees_at_us) for use in report.quotas] == [
        (60, 1, 4, NOW + 66 * SECOND + 1),
        (DAY, 2, 23, NOW + (DAY + 5) * SECOND + 1),
    ]
