"""The colours that plotly must be told; everything else is in assets/dashboard.css."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

Scheme = Literal["dark", "light"]


@dataclass(frozen=True, slots=True)
class Colours:
    """Hex colours of one scheme and palette."""

    up: str
    down: str
    text: str
    grid: str
    spike: str
    label_text: str
    background: str
    alert: str
    #: Of indicators; apart from each other and from up and down.
    lines: tuple[str, str, str, str]


_NEUTRAL: dict[Scheme, dict[str, Any]] = {
    "dark": {
        "text": "#9aa6ba",
        "grid": "#1c2330",
        "spike": "#5d6b82",
        "label_text": "#0b0e14",
        "background": "#11161f",
        "alert": "#f2c14e",
        "lines": ("#8ab4ff", "#d7a6ff", "#9d7bd8", "#7fd6e8"),
    },
    "light": {
        "text": "#566277",
        "grid": "#e8ecf2",
        "spike": "#8793a7",
        "label_text": "#ffffff",
        "background": "#ffffff",
        "alert": "#a66a00",
        "lines": ("#2b66d0", "#8e3fc4", "#6a3d9a", "#0e7f96"),
    },
}
# The second pair stays apart for every common kind of colour blindness.
_PAIRS: dict[tuple[Scheme, bool], tuple[str, str]] = {
    ("dark", False): ("#2ebd9f", "#f6626e"),
    ("light", False): ("#0b8573", "#cf3440"),
    ("dark", True): ("#5b9dff", "#f5a03c"),
    ("light", True): ("#1d5fd1", "#b8560a"),
}


def colours(scheme: str | None, blue_orange: bool = False) -> Colours:
    """Anything but `light` is dark."""
    chosen: Scheme = "light" if scheme == "light" else "dark"
    up, down = _PAIRS[chosen, blue_orange]
    return Colours(up=up, down=down, **_NEUTRAL[chosen])


def faded(colour: str, opacity: float) -> str:
    """`#rrggbb` with an opacity, as plotly takes it."""
    red, green, blue = (int(colour[at : at + 2], 16) for at in (1, 3, 5))
    return f"rgba({red},{green},{blue},{opacity})"
