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
    """A market source did not give usable data."""


class Transient(SourceError):
    """The source failed in a way that usually passes: time-out, reset, 5xx."""

    retriable = True


class RateLimited(SourceError):
    """The source asks for fewer calls; `until` is UTC epoch seconds, None if it did not say."""

    retriable = True

    def __init__(self, message: str, until: float | None = None) -> None:
        super().__init__(message)
        self.until = until


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


class PublishError(MarketDataError):
    """Kafka did not confirm every message."""

    retriable = True


class MarketMismatch(MarketDataError):
    """The database belongs to another market (live, sandbox or replay)."""


class LeaseLost(MarketDataError):
    """Another driver owns the stream; this one must stop and write nothing more."""
