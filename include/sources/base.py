"""The shape that every market source has: a declaration, the questions it takes, and what its answers mean.

A source is pure: it builds questions and reads answers. Who asks (`client`), how often (`gate`), and what
happens when it fails (the producers' failover) is the same for all of them and goes by the declaration.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from include.errors import SourceError, SymbolUnknown
from include.market.corporate_action import CorporateAction
from include.market.event import MICROSECONDS, AssetClass, Kind, MarketEvent, Source
from include.market.instrument import Instrument

#: Says what time it is: UTC epoch microseconds.
Clock = Callable[[], int]

MINUTE_US = 60 * MICROSECONDS
#: `Capability.delay_seconds` of figures that are made when the day is over.
END_OF_DAY = 86_400


@dataclass(frozen=True, slots=True)
class Want:
    """What can be asked for: a kind of event and, for bars, their length in seconds."""

    kind: Kind | Literal["action"]
    seconds: int = 0

    @property
    def name(self) -> str:
        """As in event ids and watermarks: `bar60`, `bar86400`, `quote`, `trade`."""
        return f"{self.kind}{self.seconds}" if self.seconds else self.kind


MINUTE_BARS = Want("bar", 60)
DAILY_BARS = Want("bar", 86_400)
QUOTES = Want("quote")
TRADES = Want("trade")
#: Splits and dividends.
ACTIONS = Want("action")


@dataclass(frozen=True, slots=True)
class Capability:
    """One row of a source's table: what it gives, for whom, how old, and what that costs."""

    want: Want
    asset_class: AssetClass
    #: Instruments in one question.
    batch: int = 1
    #: Of the source's quota, a question.
    cost: int = 1
    #: How old the figures are at least.
    delay_seconds: int = 0
    #: The plans of a key that include it; empty: every plan, and no key at all.
    plans: frozenset[str] = frozenset()
    #: Other wants that the same answer serves: they need no question of their own.
    carries: tuple[Want, ...] = ()
    #: How far back it goes; None: no end is known.
    depth_us: int | None = None
    #: Bars in one answer, where those of a day do not fit.
    rows: int | None = None
    #: Bars of before a split come in the shares of now.
    is_split_adjusted: bool = False


@dataclass(frozen=True, slots=True)
class RateRule:
    """At most so much in any `seconds`: the value of `setting`, or `default` where include/settings.py has
    no such setting."""

    setting: str
    seconds: int
    default: int = 60


@dataclass(frozen=True, slots=True)
class Declaration:
    """What a source can give; the rest of the platform decides by this, never by the name."""

    name: Source
    capabilities: tuple[Capability, ...]
    rates: tuple[RateRule, ...]
    #: What the rates count: `calls` or `weight`.
    unit: str = "calls"
    #: Seconds of peace after a refusal that states no end; doubled with each further one.
    cooldown_seconds: int = 60
    #: The setting with the key without which nothing can be asked; None: a key is not needed.
    key_setting: str | None = None
    #: Where it is asked, unless the setting `<NAME>_BASE_URL` says another place.
    base_url: str = ""

    def offers(self, asset_class: AssetClass, want: Want, plan: str = "") -> Capability | None:
        """The capability for this under this plan, or None."""
        for capability in self.capabilities:
            fits = capability.want == want and capability.asset_class == asset_class
            if fits and (not capability.plans or plan in capability.plans):
                return capability
        return None


@dataclass(frozen=True, slots=True)
class Question:
    """One HTTP request. Its secrets are kept out of its representation."""

    want: Want
    instruments: tuple[Instrument, ...]
    path: str
    params: Mapping[str, str]
    #: Facts from before this (UTC epoch microseconds) are not wanted.
    since_us: int = 0
    cost: int = 1
    secret_params: Mapping[str, str] = field(default_factory=dict, repr=False)
    secret_headers: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back. Header names are lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Rejected:
    """A fact that cannot become an event.

    `raw` is the smallest body that the source's `read` takes and that holds just this fact (or all of
    the body, where it could not be taken apart), so that a dead letter can be read again. `asked_for`
    is the want's name; `event` where `raw` is an event of ours that is not valid.
    """

    raw: bytes
    reason: str
    source: Source
    symbol: str
    asked_for: str = "event"


@dataclass(slots=True)
class FetchResult:
    """`dropped` counts rows that are no fault (open bars, rows without a trade), by reason."""

    events: list[MarketEvent] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)
    dropped: Counter[str] = field(default_factory=Counter)
    #: The question that brings the rest, where the source gives no more at once.
    more: Question | None = None
    actions: list[CorporateAction] = field(default_factory=list)

    def add(self, other: FetchResult) -> None:
        """Takes over what another answer gave, its `more` too."""
        self.events += other.events
        self.actions += other.actions
        self.rejected += other.rejected
        self.dropped += other.dropped
        self.more = other.more


class PriceSource(Protocol):
    """One market source: pure, but for the key and the plan that it was built with."""

    @property
    def declaration(self) -> Declaration: ...

    @property
    def plan(self) -> str:
        """The plan of the key; empty where the source knows no plans."""
        ...

    def questions(
        self,
        want: Want,
        instruments: Sequence[Instrument],
        since_us: Mapping[str, int],
        now_us: int,
        until_us: int | None = None,
    ) -> list[Question]:
        """What to ask to get `want` for the instruments, each from its own time in `since_us` (by symbol)
        on; bars that start at `until_us` or later are not needed, but may come.

        Raises SymbolUnknown for an instrument without an id here."""
        ...

    def refusal(self, answer: Answer, now_us: int) -> SourceError | None:
        """The error that an answer stands for, decided by its body first; None if it should be read."""
        ...

    def read(self, question: Question, answer: Answer, now_us: int) -> FetchResult:
        """Events of a good answer: closed bars with `since_us <= start` and `end <= now_us`, prices.
        Raises BadPayload for a body that is not as documented, EmptyRange where it says there is nothing."""
        ...

    def used(self, answer: Answer) -> int | None:
        """What the source says was used of its quota in the running minute; None if it does not say."""
        ...


def source_id(instrument: Instrument, source: Source) -> str:
    """The instrument's name at the source. Raises SymbolUnknown where the catalogue has none."""
    try:
        return instrument.ids[source]
    except KeyError:
        raise SymbolUnknown(f"{instrument.symbol} has no {source} id: add it to config/instruments.yaml") from None
