"""Whether a checkpoint folder may be continued: it, the ledger and the topic must tell the same story."""

from __future__ import annotations

import time
import uuid
from pathlib import Path

from include.errors import MarketDataError
from include.storage.stream_store import StreamStore


class CheckpointRefused(MarketDataError):
    """Going on from here would lose or mix up records; the message says what happened and what to do."""


def open_checkpoint(folder: Path, query_name: str, topic_id: str, store: StreamStore, *, rebuild: bool = False) -> str:
    """The identity of the query's checkpoint, which is made if the query is new or is to be rebuilt.

    Batch numbers mean something only together with it. A rebuild sets the old folder aside and reads the topic
    from its start: what is stored is recognised by its event_id, so the rows end as they are. Raises
    CheckpointRefused.
    """
    if rebuild and folder.exists():
        folder.rename(folder.with_name(f"{folder.name}.{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}"))
    identity = _identity(folder)
    if identity is None:
        if store.has_batches(query_name) and not rebuild:
            raise CheckpointRefused(_advice(query_name, f"the checkpoint is gone ({folder})"))
        identity = _made(folder)
    else:
        reason = _why_not(folder, identity, query_name, topic_id, store)
        if reason is not None:
            raise CheckpointRefused(_advice(query_name, reason))
    store.know_checkpoint(query_name, identity, topic_id)
    return identity


def _why_not(folder: Path, identity: str, query_name: str, topic_id: str, store: StreamStore) -> str | None:
    if store.known_topic(query_name, identity) not in (None, topic_id):
        return "the topic was deleted and made again, so the checkpoint's offsets mean other records"
    in_ledger = store.last_batch(query_name, identity)
    planned, done = _newest(folder / "offsets"), _newest(folder / "commits")
    if in_ledger is not None and (planned is None or planned < in_ledger):
        return f"the checkpoint is an old or damaged copy: it ends at batch {planned}, the ledger at {in_ledger}"
    if done is not None and (in_ledger is None or in_ledger < done):
        return (
            f"the ledger ends at batch {in_ledger}, the checkpoint at {done}: the database was set back, or is another"
        )
    return None


def _advice(query_name: str, reason: str) -> str:
    return f"{query_name}: {reason}. Start with --rebuild: the topic is read again from its start, repeats are ignored"


def _identity(folder: Path) -> str | None:
    file = folder / "pipeline_id"
    return file.read_text() if file.exists() else None


def _made(folder: Path) -> str:
    identity = str(uuid.uuid4())
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "pipeline_id").write_text(identity)
    return identity


def _newest(log: Path) -> int | None:
    """The newest batch in one of Spark's logs of a checkpoint."""
    return max((int(file.name) for file in log.glob("[0-9]*") if file.name.isdigit()), default=None)
