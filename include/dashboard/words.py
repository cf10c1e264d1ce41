"""What marks on the chart and rows of the alerts say, in words."""

from __future__ import annotations

from math import expm1

from include.storage.alert_reads import Notice
from include.storage.anomaly_reads import Anomaly
from include.storage.chart_reads import DataGap

_MINUS = "−"  # noqa: RUF001


def signed(value: float, decimals: int) -> str:
    """With its sign, a real minus."""
    return f"{'+' if value >= 0 else _MINUS}{abs(value):.{decimals}f}"


def anomaly_words(anomaly: Anomaly) -> str:
    """What was seen, and what was usual before."""
    head = f"z {signed(anomaly.z_score, 1)} · {anomaly.severity}"
    if anomaly.metric == "price":
        usual = f"usual {signed(100 * anomaly.mean, 3)} ± {100 * anomaly.stddev:.3f} %"
        return f"{head}<br>return {signed(100 * anomaly.value, 3)} %<br>{usual}"
    return f"{head}<br>volume {_times(anomaly.value, anomaly.mean):.1f} times the usual"


def gap_words(gap: DataGap) -> str:
    minutes = round((gap.gap_end - gap.gap_start).total_seconds() / 60)
    span = f"{minutes} minute{'' if minutes == 1 else 's'} missing from {gap.gap_start:%H:%M}"
    return f"{span}<br>{gap.cause} · {gap.state}" + (f"<br>{gap.reason}" if gap.reason else "")


def notice_words(each: Notice) -> tuple[str, str]:
    """Title and detail of one line of the list of alerts."""
    if each.kind != "anomaly" or each.value is None or each.z_score is None or each.window_start is None:
        return each.title, each.body.strip().partition("\n")[0][:160]
    what = f"{each.symbol} {each.interval} {each.metric} z {signed(each.z_score, 1)}"
    moved = (
        f"{signed(100 * each.value, 2)} %"
        if each.metric == "price"
        else f"{_times(each.value, each.mean or 0.0):.1f} times the usual volume"
    )
    return what, f"{moved} at {each.window_start:%H:%M} UTC"


def _times(value: float, mean: float) -> float:
    """How often the usual volume; both are ln(1 + volume)."""
    return expm1(value) / max(expm1(mean), 1e-9)
