"""When a checkpoint may be continued, on the real ledger."""

from __future__ import annotations

import shutil
from pathlib import Path

import psycopg
import pytest

from include.storage.stream_store import StreamStore
from spark_jobs.checkpoints import CheckpointRefused, open_checkpoint
from tests.stores import Services


class Trial:
    """A query of its own with a checkpoint folder as Spark leaves it."""

    def __init__(self, services: Services, folder: Path, name: str) -> None:
        self.services, self.folder, self.name = services, folder / name, name
        self.store = StreamStore(services.writer_database_url, 0)

    def open(self, topic_id: str = "topic", *, rebuild: bool = False) -> str:
        return open_checkpoint(self.folder, self.name, topic_id, self.store, rebuild=rebuild)

    def commit(self, identity: str, *batches: int) -> None:
        for log in ("offsets", "commits"):
            (self.folder / log).mkdir(exist_ok=True)
        with psycopg.connect(self.services.database_url) as connection:
            for batch in batches:
                for log in ("offsets", "commits"):
                    (self.folder / log / str(batch)).touch()
                connection.execute(
                    "INSERT INTO stream_batches (query_name, checkpoint_id, batch_id, epoch, offsets, rows_in, "
                    "rows_new, rows_dead_lettered, rows_late) VALUES (%s, %s, %s, 1, '{}', 0, 0, 0, 0)",
                    (self.name, identity, batch),
                )


@pytest.fixture
def trial(services: Services, tmp_path: Path, request: pytest.FixtureRequest) -> Trial:
    return Trial(services, tmp_path, request.node.name)


def test_a_checkpoint_keeps_its_identity(trial: Trial) -> None:
    identity = trial.open()
    assert trial.open() == identity, "a driver that ended before its first batch"
    trial.commit(identity, 0, 1)
    assert trial.open() == identity


def test_one_that_is_gone_is_refused_until_a_rebuild_is_asked_for(trial: Trial) -> None:
    identity = trial.open()
    trial.commit(identity, 0)
    shutil.rmtree(trial.folder)
    with pytest.raises(CheckpointRefused, match="the checkpoint is gone .* Start with --rebuild"):
        trial.open()
    rebuilt = trial.open(rebuild=True)
    assert rebuilt != identity
    assert trial.open() == rebuilt, "asked for once"


def test_an_old_copy_and_a_truncated_one_are_refused(trial: Trial) -> None:
    identity = trial.open()
    trial.commit(identity, 0, 1, 2)
    (trial.folder / "offsets" / "2").unlink()
    (trial.folder / "commits" / "2").unlink()
    with pytest.raises(CheckpointRefused, match="ends at batch 1, the ledger at 2"):
        trial.open()
    shutil.rmtree(trial.folder / "offsets")
    with pytest.raises(CheckpointRefused, match="ends at batch None, the ledger at 2"):
        trial.open()
    trial.open(rebuild=True)
    assert [folder.name.split(".")[0] for folder in trial.folder.parent.iterdir()] == [trial.name] * 2, "set aside"


def test_a_topic_made_again_is_refused(trial: Trial) -> None:
    trial.commit(trial.open("the first"), 0)
    with pytest.raises(CheckpointRefused, match="the topic was deleted and made again"):
        trial.open("the second")


def test_a_database_set_back_is_refused(trial: Trial) -> None:
    identity = trial.open()
    trial.commit(identity, 0, 1)
    (trial.folder / "commits" / "5").touch()
    with pytest.raises(CheckpointRefused, match="the ledger ends at batch 1, the checkpoint at 5"):
        trial.open()
