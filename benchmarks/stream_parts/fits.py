"""Straight lines through measured points. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

#: Student's t, 97.5 %, by degrees of freedom: textbook values.
_T975 = (
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131, 2.120,
    2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042,
)  # fmt: skip
_T975_MANY = 1.96


@dataclass(frozen=True, slots=True)
class Fit:
    """y = intercept + slope · x by least squares, and the slope's 95 % interval; None with two points."""

    slope: float
    intercept: float
    low: float | None
    high: float | None
    points: int

    def as_dict(self) -> dict[str, float | int | None]:
        names = ("slope", "low", "high")
        shown = {name: None if (value := getattr(self, name)) is None else round(value, 4) for name in names}
        return {**shown, "intercept": self.intercept, "points": self.points}


def slope(x: Sequence[float], y: Sequence[float]) -> Fit:
    """Raises ValueError for fewer than two different x."""
    count = len(x)
    if count != len(y) or len(set(x)) < 2:
        raise ValueError("a line needs two points with different x")
    middle_x, middle_y = math.fsum(x) / count, math.fsum(y) / count
    spread = math.fsum((value - middle_x) ** 2 for value in x)
    found = math.fsum((a - middle_x) * (b - middle_y) for a, b in zip(x, y, strict=True)) / spread
    intercept = middle_y - found * middle_x
    free = count - 2
    if free == 0:
        return Fit(found, intercept, None, None, count)
    rest = math.fsum((b - intercept - found * a) ** 2 for a, b in zip(x, y, strict=True))
    t = _T975[free - 1] if free <= len(_T975) else _T975_MANY
    reach = t * math.sqrt(rest / free / spread)
    return Fit(found, intercept, found - reach, found + reach, count)


def growth(x: Sequence[float], y: Sequence[float]) -> Fit:
    """The slope between the logarithms: y grows as x to this power. All must be above zero."""
    return slope([math.log10(value) for value in x], [math.log10(value) for value in y])
