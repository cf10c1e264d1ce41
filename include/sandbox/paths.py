"""From one daily bar to its minutes: a seeded path that opens, peaks, dips and closes exactly there.

Only whole-number draws and elementary IEEE arithmetic are used, so that a seed gives the same
market on every platform (exp, log and the normal sampler may differ in the last bit).
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass

import numpy as np

from include.sandbox.bars import Floats, Ints

#: Prices drawn within each minute; the first and last are its open and close.
STEPS = 6
#: The range of a Brownian path is on average 1.6 standard deviations of its end.
RANGE_TO_DEVIATION = 1.6
UNIT_DRAW = 1 << 20


@dataclass(frozen=True, slots=True)
class Day:
    """A day's bar; prices and volume in integer units."""

    open: int
    high: int
    low: int
    close: int
    volume: int


@dataclass(frozen=True, slots=True)
class Columns:
    """The minutes of a day, each of the day's length."""

    open: Ints
    high: Ints
    low: Ints
    close: Ints
    volume: Ints


def generator(*key: object) -> np.random.Generator:
    """The random stream that belongs to this key, whatever was drawn elsewhere."""
    digest = hashlib.blake2b("|".join(map(str, key)).encode(), digest_size=16).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(digest, "big")))


def draws(random: np.random.Generator, size: int) -> Floats:
    """Independent numbers, mean 0 and deviation 1 (sums of three uniform ones)."""
    total: Ints = random.integers(-UNIT_DRAW, UNIT_DRAW, size=(3, size), endpoint=True).sum(axis=0)
    return np.divide(total, UNIT_DRAW)


def opening_hours_profile(minutes: int) -> Floats:
    """Relative activity of each minute of a stock's day: a burst at the open, quiet at noon, a rise
    into the close and its auction."""
    position = (np.arange(minutes) + 0.5) / minutes
    opening = 1.0 / (1.0 + (position / 0.04) ** 2)
    closing = 1.0 / (1.0 + ((1.0 - position) / 0.03) ** 2)
    profile = 0.6 + 1.6 * (2.0 * position - 1.0) ** 2 + 5.0 * opening + 4.0 * closing
    profile[0] *= 2.0
    profile[-1] *= 2.5
    return np.asarray(np.divide(profile, profile.mean()))


def round_the_clock_profile(minutes: int) -> Floats:
    """Relative activity of each minute of a UTC day: highest in the American afternoon."""
    hour = np.arange(minutes) * 24.0 / minutes
    profile = 0.7 + 1.1 / (1.0 + ((hour - 15.0) / 4.0) ** 2) + 0.3 / (1.0 + ((hour - 1.5) / 2.0) ** 2)
    return np.asarray(np.divide(profile, profile.mean()))


def minutes_of(day: Day, profile: Floats, tick: int, random: np.random.Generator) -> Columns:
    """The day's minutes: first open, last close, extremes and summed volume are the day's, exactly.

    Prices are multiples of `tick` units except where the day's own figures are finer.
    """
    count = len(profile)
    prices = _path(day, profile, tick, random).reshape(count, STEPS)
    return Columns(
        prices[:, 0].copy(),
        prices.max(axis=1),
        prices.min(axis=1),
        prices[:, -1].copy(),
        _volumes(day.volume, profile, random),
    )


def _path(day: Day, profile: Floats, tick: int, random: np.random.Generator) -> Ints:
    size = len(profile) * STEPS
    spread = day.high - day.low
    activity = np.repeat(np.sqrt(profile), STEPS)
    noise = np.cumsum(draws(random, size) * activity) * (spread / RANGE_TO_DEVIATION / math.sqrt(size))
    first, second = sorted(random.choice(np.arange(1, size - 1), size=2, replace=False).tolist())
    # A day that closes higher usually has its low first.
    rising = day.close >= day.open
    low_first = bool(random.integers(0, 4) > 0) == rising
    turns = (day.low, day.high) if low_first else (day.high, day.low)
    knots = (0, first, second, size - 1)
    pinned = (day.open, *turns, day.close)
    steps = np.arange(size)
    path = noise - np.interp(steps, knots, noise[list(knots)]) + np.interp(steps, knots, pinned)
    ticks = np.rint(_folded(path, day.low, spread) / tick).astype(np.int64) * tick
    # Rounding to a tick must not leave a range whose ends are finer than a tick.
    ticks = np.clip(ticks, day.low, day.high)
    ticks[list(knots)] = pinned
    return ticks


def _folded(path: Floats, low: int, spread: int) -> Floats:
    """Reflects what runs over the day's high or under its low back inside."""
    if not spread:
        return np.full_like(path, low)
    phase = np.mod(path - low, 2.0 * spread)
    return low + np.minimum(phase, 2.0 * spread - phase)


def _volumes(total: int, profile: Floats, random: np.random.Generator) -> Ints:
    """Whole units that sum to `total`, at least one a minute where there are enough."""
    count = len(profile)
    least = 1 if total >= count else 0
    weights = profile * random.integers(UNIT_DRAW // 4, UNIT_DRAW, size=count)
    shares = np.cumsum(weights)
    upto = np.floor(shares / shares[-1] * (total - least * count)).astype(np.int64)
    upto[-1] = total - least * count
    return np.asarray(np.add(np.diff(upto, prepend=0), least))
