"""Figures as people read them: tabular, signed, with a shape beside the colour."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Literal

Direction = Literal["up", "down", "flat"]
NOT_KNOWN = "–"  # noqa: RUF001
_MINUS = "−"  # noqa: RUF001
_SHAPES: dict[Direction, str] = {"up": "▲", "down": "▼", "flat": "■"}


@dataclass(frozen=True, slots=True)
class Change:
    """A change in per cent as text with sign and shape, never told by colour alone."""

    text: str
    direction: Direction
    spoken: str


def price_text(price: Decimal) -> str:
    """At least 2 decimals, at most as many as a price of that size is quoted with."""
    most = 2 if price >= 1000 else 4 if price >= 1 else 8
    text = f"{price:,.{most}f}"
    whole, _, decimals = text.partition(".")
    return f"{whole}.{decimals.rstrip('0').ljust(2, '0')}"


def change_of(change_pct: float | None) -> Change:
    if change_pct is None:
        return Change(NOT_KNOWN, "flat", "change not known")
    rounded = round(change_pct, 2)
    direction: Direction = "up" if rounded > 0 else "down" if rounded < 0 else "flat"
    sign = {"up": "+", "down": _MINUS, "flat": ""}[direction]
    size = f"{abs(rounded):.2f}"
    words = "unchanged" if direction == "flat" else f"{direction} {size} percent"
    return Change(f"{_SHAPES[direction]} {sign}{size}%", direction, words)


def volume_text(volume: Decimal | None) -> str:
    """Four significant figures with K, M or B; an en dash where the source does not say."""
    if volume is None:
        return NOT_KNOWN
    for size, suffix in ((Decimal(10) ** 9, "B"), (Decimal(10) ** 6, "M"), (Decimal(10) ** 3, "K")):
        if volume >= size:
            return f"{volume / size:.2f}{suffix}"
    return f"{volume:.4f}".rstrip("0").rstrip(".")


def age_text(seconds: float) -> str:
    """`7s`, `3m`, `2h`, `4d`: one unit, rounded down."""
    whole = max(0, int(seconds))
    for size, suffix in ((86_400, "d"), (3600, "h"), (60, "m")):
        if whole >= size:
            return f"{whole // size}{suffix}"
    return f"{whole}s"


def moment_text(moment: datetime) -> str:
    """`2026-11-25 14:03`, in the zone it has."""
    return f"{moment:%Y-%m-%d %H:%M}"


def size_text(size: float) -> str:
    """`700 kB`, `1.4 MB`: bytes in steps of a thousand."""
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} GB" if size < 1000 else f"{size:,.0f} GB"
