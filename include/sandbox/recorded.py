"""MARKET=replay: recorded days, re-timed to now by a constant shift a day."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from include.market.event import AssetClass
from include.market.instrument import Catalogue
from include.sandbox.bars import Bars, empty, joined
from include.sandbox.market import Segment
from include.sandbox.recordings import read_recordings
from include.sandbox.timeline import Timeline, load_anchor, recorded_days
from include.settings import Settings

#: Written once under the market's state folder.
ANCHOR_FILE = "replay_anchor.json"
#: A stock's day, after-hours trading included, lies within one date of the exchange; in UTC the
#: last hour of a winter day would belong to the next.
STOCK_ZONE = "America/New_York"


class RecordedMarket:
    """The symbols that were recorded, each with its recorded minutes and no other."""

    name = "replay"
    description = "Recorded"

    def __init__(self, bars: Mapping[str, Bars], catalogue: Catalogue, timeline: Timeline, start: int) -> None:
        self._bars = bars
        self._timeline = timeline
        self.start = start
        crypto = tuple(sorted(symbol for symbol in bars if _is_crypto(symbol, catalogue)))
        self._symbols: dict[AssetClass, tuple[str, ...]] = {
            "stock": tuple(sorted(set(bars).difference(crypto))),
            "crypto": crypto,
        }

    def symbols(self, asset_class: AssetClass) -> tuple[str, ...]:
        return self._symbols[asset_class]

    def minutes(self, symbol: str, start: int, end: int) -> Bars:
        recorded = self._bars[symbol]
        pieces = [
            recorded.between(
                max(segment.recorded_start, start - segment.shift_seconds),
                min(segment.recorded_end, end - segment.shift_seconds),
            ).shifted(segment.shift_seconds)
            for segment in self._timeline.segments(start, end)
        ]
        return joined(pieces) if pieces else empty(recorded.price_decimals, recorded.volume_decimals)

    def ordinal(self, symbol: str, second: int) -> int:
        # Every recorded minute lies in a day of the loop: a lap has them all, in their order.
        lap, recorded = self._timeline.recorded(second)
        starts = self._bars[symbol].start
        return lap * len(starts) + int(np.searchsorted(starts, recorded))

    def minute_at(self, symbol: str, ordinal: int) -> int:
        starts = self._bars[symbol].start
        lap, place = divmod(ordinal, len(starts))
        return self._timeline.replayed(lap, int(starts[place]))

    def timeline(self, start: int, end: int) -> Sequence[Segment]:
        return tuple(self._timeline.segments(start, end))


def open_recordings(config: Settings, catalogue: Catalogue, now: float) -> RecordedMarket:
    """The replay that the settings describe. Raises SettingsError that names REPLAY_DATA_DIR."""
    bars = read_recordings(config.replay_data_dir)
    # Round-the-clock recordings have UTC days.
    zone = "UTC" if any(_is_crypto(symbol, catalogue) for symbol in bars) else STOCK_ZONE
    days = recorded_days(bars, zone)
    wanted = (*config.stock_symbols, *config.crypto_symbols)
    anchor = load_anchor(Path(config.state_dir) / ANCHOR_FILE, days, wanted, now)
    return RecordedMarket(bars, catalogue, Timeline(days, anchor), anchor.wall)


def _is_crypto(symbol: str, catalogue: Catalogue) -> bool:
    return symbol in catalogue and catalogue.get(symbol).asset_class == "crypto"
