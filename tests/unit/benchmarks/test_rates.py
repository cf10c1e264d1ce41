from __future__ import annotations

import pytest

from benchmarks.stream_parts.growth import fits, warm_batches
from benchmarks.stream_parts.rates import figures, ratios
from benchmarks.stream_parts.spark import Course, Mark
from include.errors import MarketDataError

#: Started at 100 s; first work done at 110 s; the broker's CPU is no side's.
COURSE = Course(
    Mark(100.0, 0, {"driver": 0.0, "postgres": 1.0, "kafka": 5.0}),
    [
        Mark(110.0, 1_000, {"driver": 8.0, "postgres": 1.5, "kafka": 6.0}),
        Mark(112.0, 3_000, {"driver": 10.0, "postgres": 2.0, "kafka": 7.0}),
        Mark(113.0, 5_000, {"driver": 10.75, "postgres": 2.25, "kafka": 9.0}),
    ],
)


def test_the_start_and_the_warming_up_are_told_apart() -> None:
    found = figures(COURSE)
    assert (found["start_seconds"], found["start_cpu_seconds"]) == (10.0, 8.5)
    assert (found["all"]["records"], found["all"]["per_second"]) == (4_000, 1_333)
    assert found["all"]["per_cpu_second"] == round(4_000 / 3.5)
    assert found["warm"]["per_cpu_second"] == 2_000
    assert found["warm"]["cpu_seconds"] == {"driver": 0.75, "postgres": 0.25, "kafka": 2.0}


def test_what_was_done_at_once_has_no_rate() -> None:
    with pytest.raises(MarketDataError, match="more events"):
        figures(Course(COURSE.began, COURSE.marks[:1]))


def test_a_leftover_of_few_records_is_no_batch() -> None:
    leftover = Mark(114.0, 5_003, {"driver": 10.9, "postgres": 2.25, "kafka": 9.0})
    longer = Course(COURSE.began, [*COURSE.marks, leftover])
    assert figures(longer) == figures(COURSE)
    assert warm_batches(longer) == warm_batches(COURSE)


def test_a_ratio_is_of_the_medians() -> None:
    def runs(*rates: int) -> list[dict[str, dict[str, int]]]:
        return [{half: {"per_cpu_second": rate, "per_second": 2 * rate} for half in ("all", "warm")} for rate in rates]

    assert ratios(runs(10, 30, 500), runs(10))["per_cpu_second_warm"] == 3.0


def test_each_warm_batch_is_a_point() -> None:
    points = warm_batches(COURSE)
    assert points == {"cpu_us_per_event": [500.0], "batch_seconds": [1.0]}


def test_growth_is_fitted_over_all_batches() -> None:
    made = [{"symbols": size, "cpu_us_per_event": [cost, cost], "batch_seconds": [1.0, 1.0]}
            for size, cost in ((10, 20.0), (1_000, 40.0))]  # fmt: skip
    found = fits(made, "symbols")
    assert found["cpu_us_per_event"]["slope"] == pytest.approx(0.1505, abs=1e-4)
    assert found["batch_seconds"]["points"] == 4
    assert fits(made[:1], "symbols") == {}
