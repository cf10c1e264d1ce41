from __future__ import annotations

import pytest

from benchmarks.stream_parts.fits import growth, slope


def test_a_line_is_found_with_its_interval() -> None:
    # By hand: slope 1.4, residuals 0.2 -0.2 -0.6 1 -0.4 over df 3; t = 3.182, standard error 0.2309.
    fit = slope([1, 2, 3, 4, 5], [2.6, 3.6, 4.6, 7.6, 7.6])
    assert fit.slope == pytest.approx(1.4)
    assert fit.intercept == pytest.approx(1.0)
    assert (fit.low, fit.high) == pytest.approx((1.4 - 3.182 * 0.230940, 1.4 + 3.182 * 0.230940), abs=1e-4)


def test_a_power_is_the_slope_between_logarithms() -> None:
    fit = growth([10, 100, 1_000], [5, 50, 500])
    assert fit.slope == pytest.approx(1.0)
    assert fit.low == pytest.approx(1.0)
    assert growth([10, 1_000, 100_000], [3, 3, 3]).slope == pytest.approx(0.0)


def test_two_points_have_no_interval() -> None:
    assert slope([1, 2], [1, 3]).as_dict() == {"slope": 2.0, "low": None, "high": None, "intercept": -1.0, "points": 2}


def test_one_size_is_no_line() -> None:
    with pytest.raises(ValueError, match="different x"):
        slope([3, 3], [1, 2])
