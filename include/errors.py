"""The platform's error tree. A message says what is wrong and what to do next, in one line."""

from __future__ import annotations


class MarketDataError(Exception):
    """Base of all errors that the platform raises on purpose."""

    #: Whether trying the same thing again later can succeed.
    retriable = False


class SettingsError(MarketDataError):
    """A setting has a value that cannot be used; the message names the setting."""


class StackError(MarketDataError):
    """A local service cannot be installed, started or stopped."""


class SourceError(MarketDataError):
    """A market source did not give usable data. Failover, breaker and reports go by the class."""

    def __init__(self, message: str, until: float | None = None) -> None:
        super().__init__(message)
        #: UTC epoch seconds before which asking again is useless; None if the source did not say.
        self.until = until
        #: False where the gate refused: the source was not asked, and is not at fault.
        self.asked = False


class Transient(SourceError):
    """The source failed in a way that usually passes: time-out, reset, 5xx."""

    retriable = True


class RateLimited(SourceError):
    """The source asks for fewer calls."""


class QuotaExhausted(SourceError):
    """The day's or month's calls are used up, by the source's word or by our own ledger."""


class Banned(SourceError):
    """The source has shut this address or key out; a call before `until` makes it longer."""


class AuthStale(SourceError):
    """The key, cookie or crumb is not accepted."""


class PlanForbidden(SourceError):
    """The key's plan does not include what was asked for; other questions may be answered."""


class GeoBlocked(SourceError):
    """The source refuses this location; another host may serve it, a retry does not."""


class SymbolUnknown(SourceError):
    """The source does not know the symbol."""


class EmptyRange(SourceError):
    """The source answered, and there is no data in the range."""


class BadPayload(SourceError):
    """The body is not what the source documents; `payload` is what came, for the dead letters."""

    def __init__(self, message: str, payload: bytes = b"") -> None:
        super().__init__(message)
        self.payload = payload


class Stale(SourceError):
    """The source answers, and the market is open, but nothing new has come for too long."""


class BreakerOpen(SourceError):
    """The source failed lately and is left alone until `until`; it was not asked."""


class PublishError(MarketDataError):
    """Kafka did not confirm every message."""

    retriable = True


class Unreachable(MarketDataError):
    """A service of the platform does not answer."""

    retriable = True


class MarketMismatch(MarketDataError):
    """The database belongs to another market (live, sandbox or replay)."""


class LeaseLost(MarketDataError):
    """Another driver owns the stream; this one must stop and write nothing more."""
