"""Trailing statistics: a value's figures do not depend on where a block of work begins."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spark_jobs.transforms import series
from spark_jobs.transforms.series import Series, preceding

_RUNS = st.lists(st.integers(1, 12), max_size=8)


@given(runs=_RUNS, block=st.integers(1, 9), size=st.integers(1, 7), lag=st.integers(0, 1), seed=st.integers(0, 2**32))
def test_a_block_changes_no_bit(runs: list[int], block: int, size: int, lag: int, seed: int) -> None:
    run = np.repeat(np.arange(len(runs)), runs)
    given_values = Series(np.random.default_rng(seed).normal(100, 5, len(run)), preceding(run))
    whole = given_values.moments(size, lag=lag)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(series, "_BLOCK", block)
        parts = given_values.moments(size, lag=lag)
    for one, other in ((whole.count, parts.count), (whole.mean, parts.mean), (whole.squares, parts.squares)):
        np.testing.assert_array_equal(one, other)


@given(runs=_RUNS, seed=st.integers(0, 2**32))
def test_the_moments_are_those_of_the_values_before(runs: list[int], seed: int) -> None:
    run = np.repeat(np.arange(len(runs)), runs)
    values = np.random.default_rng(seed).normal(100, 5, len(run))
    found = Series(values, preceding(run)).moments(5, lag=1)
    for place, before in enumerate(preceding(run)):
        held = values[place - min(before, 5) : place]
        assert found.count[place] == len(held)
        if len(held):
            assert found.mean[place] == pytest.approx(held.mean(), rel=1e-12)
            assert found.squares[place] == pytest.approx(((held - held.mean()) ** 2).sum(), rel=1e-9, abs=1e-9)
