"""Asks a source: through the gate, with bounded patience and bounded bodies, and tells the gate how it went."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from tenacity import Retrying

from include.errors import BadPayload, SourceError, SymbolUnknown
from include.market.event import Source
from include.sources.base import Answer, Clock, Declaration, FetchResult, PriceSource, Question, Rejected
from include.sources.gate import Gate

#: Follow-up questions of one call: enough for almost three days of minutes; older ones come with later polls.
MAX_PAGES = 4


class Transport(Protocol):
    """Makes the request. The one place of a source that touches the network."""

    def get(self, url: str, params: Mapping[str, str], headers: Mapping[str, str]) -> Answer:
        """The answer, whatever its status. Raises Transient where none came, in whole, in time, and
        BadPayload for one that is larger than any body of a source."""
        ...

    def close(self) -> None: ...


class SourceClient:
    """One source as the producers use it."""

    def __init__(
        self, source: PriceSource, base_url: str, transport: Transport, gate: Gate, retry: Retrying, clock: Clock
    ) -> None:
        self._source = source
        self._base_url = base_url.rstrip("/")
        self._transport = transport
        self._gate = gate
        self._retry = retry
        self._clock = clock

    @property
    def source(self) -> PriceSource:
        return self._source

    @property
    def declaration(self) -> Declaration:
        return self._source.declaration

    @property
    def name(self) -> Source:
        return self._source.declaration.name

    def fetch(self, question: Question) -> FetchResult:
        """The question's facts, its follow-up questions included; `more` is left where there is still more.

        Raises the SourceError tree, and nothing else for what is sent.
        """
        try:
            result = self._patiently(question)
        except SymbolUnknown:
            if len(question.instruments) == 1:
                raise
            # One name that the source does not know fails all: each is asked for alone.
            result = self._one_by_one(question)
        for _ in range(MAX_PAGES - 1):
            if result.more is None:
                break
            try:
                result.add(self._patiently(result.more))
            except SourceError as error:
                # What has come is good; the rest is asked for again with the next poll.
                result.dropped[f"the rest did not come: {type(error).__name__}"] += 1
                if isinstance(error, BadPayload):
                    result.rejected.append(rejected(error, question, self.name))
                break
        return result

    def close(self) -> None:
        self._transport.close()

    def _one_by_one(self, question: Question) -> FetchResult:
        """Raises SymbolUnknown where none of them is known."""
        result = FetchResult()
        unknown: list[SymbolUnknown] = []
        for instrument in question.instruments:
            since = {instrument.symbol: question.since_us}
            for single in self._source.questions(question.want, [instrument], since, self._clock()):
                try:
                    result.add(self._patiently(single))
                except SymbolUnknown as error:
                    result.dropped[f"{instrument.symbol} is not known to {self.name}"] += 1
                    unknown.append(error)
        if len(unknown) == len(question.instruments):
            raise unknown[0]
        return result

    def _patiently(self, question: Question) -> FetchResult:
        """One question, however often it takes to ask it; the gate hears of one failure, not of each try."""
        try:
            return self._retry(self._ask, question)
        except SourceError as error:
            if error.asked:
                self._gate.failed(self.name, question.want, error, self._clock())
            raise

    def _ask(self, question: Question) -> FetchResult:
        """One request; each is counted."""
        self._gate.admit(self.name, question.want, question.cost, self._clock())
        try:
            result, used = self._answered(question)
        except SourceError as error:
            error.asked = True
            raise
        self._gate.succeeded(self.name, self._clock(), used)
        return result

    def _answered(self, question: Question) -> tuple[FetchResult, int | None]:
        params = {**question.params, **question.secret_params}
        try:
            answer = self._transport.get(self._base_url + question.path, params, question.secret_headers)
            now_us = self._clock()
            refused = self._source.refusal(answer, now_us)
            if refused is not None:
                raise refused
            return self._source.read(question, answer, now_us), self._source.used(answer)
        except BadPayload as error:
            # A source may send back the key that it was asked with.
            for secret in (*question.secret_params.values(), *question.secret_headers.values()):
                error.payload = error.payload.replace(secret.encode(), b"***")
            raise


def rejected(error: BadPayload, question: Question, source: Source) -> Rejected:
    """What came instead of an answer, for the dead letters."""
    symbols = [instrument.symbol for instrument in question.instruments]
    symbol = symbols[0] if len(symbols) == 1 else ""
    return Rejected(error.payload, str(error), source, symbol, question.want.name)
