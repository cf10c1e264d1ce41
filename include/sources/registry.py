"""Which sources there are: each name of `include.market.event.Source` is the file of that name here."""

from __future__ import annotations

from importlib import import_module

from include.market.event import SOURCES, AssetClass, Source
from include.settings import Settings
from include.sources.base import Capability, Clock, Declaration, PriceSource, Want
from include.sources.client import SourceClient, Transport
from include.sources.gate import Gate
from include.sources.http import HttpTransport
from include.sources.retry import retrying


def build_source(name: Source, settings: Settings) -> PriceSource:
    """The source with its key and plan; it touches no network."""
    source: PriceSource = import_module(f"include.sources.{name}").build(settings)
    return source


def build_client(name: Source, settings: Settings, gate: Gate, clock: Clock) -> SourceClient:
    """The source, ready to be asked."""
    source = build_source(name, settings)
    module = import_module(f"include.sources.{name}")
    # A source that wants more than plain requests says so; its client (yfinance takes a second to
    # import) is not loaded by a batch that uses another.
    transport: Transport = module.transport() if hasattr(module, "transport") else HttpTransport()
    return SourceClient(source, base_url(source.declaration, settings), transport, gate, retrying(), clock)


def base_url(declaration: Declaration, settings: Settings) -> str:
    """`<NAME>_BASE_URL`, or what the source declares."""
    return str(getattr(settings, f"{declaration.name}_base_url", declaration.base_url))


def declarations(settings: Settings) -> list[Declaration]:
    """Of all sources, the preferred ones first."""
    return [build_source(name, settings).declaration for name in SOURCES]


def chain(asset_class: AssetClass, want: Want, settings: Settings) -> list[tuple[PriceSource, Capability]]:
    """The sources that can give this, the preferred one first; those without their key are left out."""
    found = []
    for name in SOURCES:
        source = build_source(name, settings)
        capability = source.declaration.offers(asset_class, want, source.plan)
        key = source.declaration.key_setting
        if capability is not None and (key is None or getattr(settings, key, None) is not None):
            found.append((source, capability))
    return found
