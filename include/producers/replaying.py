"""The dead letters' bench: what command and page need to look at letters and to judge them again, in one place."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from threading import Lock
from typing import Any

import psycopg

from include.errors import Unreachable
from include.producers.dead_letters import DeadLetter, DeadLetters, LetterFilter
from include.producers.ingestion import system_clock
from include.producers.letter_replay import Outcome, Replay
from include.producers.publisher import KafkaPublisher
from include.producers.spool import Spool
from include.settings import Settings, required
from include.sources.catalogue import catalogue
from include.sources.registry import build_source
from include.storage.refused_records import RefusedRecords
from include.storage.trade_coverage import PostgresTradedMinutes


@contextmanager
def open_letters(configuration: Settings, *, only_read: bool = False) -> Iterator[tuple[DeadLetters, RefusedRecords]]:
    """Both places of dead letters; `only_read`: by the reader's role. Raises SettingsError, psycopg.Error."""
    servers = required(configuration.kafka_bootstrap_servers, "KAFKA_BOOTSTRAP_SERVERS")
    reader = configuration.reader_database_url if only_read else None
    url = required(reader or configuration.writer_database_url or configuration.database_url, "DATABASE_URL")
    with RefusedRecords(url) as refused, closing(DeadLetters(servers, refused)) as letters:
        yield letters, refused


def judged_again(
    configuration: Settings,
    letters: Sequence[DeadLetter],
    refused: RefusedRecords,
    *,
    dry_run: bool,
    force: bool = False,
) -> list[Outcome]:
    """One outcome a letter by today's parsers and rules; unless it is a dry run, what is valid is published.

    Raises PublishError, SettingsError, psycopg.Error.
    """
    database = required(configuration.writer_database_url or configuration.database_url, "DATABASE_URL")
    minutes = PostgresTradedMinutes(database)
    again = Replay(_source(configuration), catalogue(), system_clock(), minutes)
    if dry_run:
        return again.run(letters, None, refused, force=force)
    with closing(_publisher(configuration)) as publisher:
        return again.run(letters, publisher, refused, force=force)


class LetterBench:
    """For a page: every question opens what it needs and closes it. Safe to call from several threads.

    Raises MarketDataError where a store does not answer, or a letter is not there.
    """

    def __init__(self, configuration: Settings) -> None:
        self._configuration = configuration
        # Two replays at once would share the spool.
        self._replaying = Lock()

    def newest(self, limit: int) -> list[DeadLetter]:
        """The newest first, of both places."""
        with _answering(), open_letters(self._configuration, only_read=True) as (letters, _):
            return letters.newest(LetterFilter(), limit, look_back=limit)

    def get(self, id_: str) -> DeadLetter:
        with _answering(), open_letters(self._configuration, only_read=True) as (letters, _):
            return letters.get(id_)

    def judge(self, ids: Sequence[str]) -> list[Outcome]:
        """What a replay would do; nothing is published or recorded."""
        with _answering(), open_letters(self._configuration, only_read=True) as (letters, refused):
            found = [letters.get(each) for each in ids]
            return judged_again(self._configuration, found, refused, dry_run=True)

    def replay(self, ids: Sequence[str]) -> list[Outcome]:
        """Publish what is valid now; a letter that was published before is left alone."""
        with self._replaying, _answering(), open_letters(self._configuration) as (letters, refused):
            found = [letters.get(each) for each in ids]
            return judged_again(self._configuration, found, refused, dry_run=False)


@contextmanager
def _answering() -> Iterator[None]:
    try:
        yield
    except psycopg.Error as error:
        raise Unreachable("the database does not answer") from error
    except OSError as error:
        raise Unreachable(f"the spool on disk does not do its part: {error.strerror}") from error


def _source(configuration: Settings) -> Any:
    return lambda name: build_source(name, configuration)


def _publisher(configuration: Settings) -> KafkaPublisher:
    spool = Spool(configuration.state_dir / "spool" / "dead_letters.sqlite", configuration.spool_max_megabytes)
    return KafkaPublisher(required(configuration.kafka_bootstrap_servers, "KAFKA_BOOTSTRAP_SERVERS"), spool)
