"""The checkpoint is damaged, the topic made again: refused by name, and rebuilt to the same rows."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from include.market.topics import EVENTS
from include.storage.lease import read_stream_state
from spark_jobs.stream import EXIT_FAILED
from tests.faults.conftest import Undisturbed
from tests.faults.world import World
from tests.topics import recreate_topics


def last(folder: Path) -> Path:
    return max((file for file in folder.iterdir() if file.name.isdigit()), key=lambda file: int(file.name))


def truncated(folder: Path) -> None:
    last(folder / "commits").unlink()
    last(folder / "offsets").unlink()


def flipped(folder: Path) -> None:
    """One bit of the plan of the newest batch, which is not committed any more and would be run again."""
    last(folder / "commits").unlink()
    file = last(folder / "offsets")
    body = bytearray(file.read_bytes())
    body[len(body) // 2] ^= 1
    file.write_bytes(body)


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "its identity deleted": (lambda folder: (folder / "pipeline_id").unlink(), "the checkpoint"),
    "Spark's metadata deleted": (lambda folder: (folder / "metadata").unlink(), "metadata"),
    "the newest batch cut off": (truncated, "an old or damaged copy"),
    "a bit flipped": (flipped, ""),
}


@pytest.mark.exhaustive
def test_a_damaged_checkpoint_is_refused_by_name_and_rebuilt(world: World, undisturbed: Undisturbed) -> None:
    driver = world.driver()
    world.feed_and_commit(chunks=10)
    assert driver.stop() == 0
    checkpoint = world.services.plan.layout.state / "checkpoints" / "v1" / "events_stock"
    whole = checkpoint.parent.parent / "kept"
    shutil.copytree(checkpoint, whole)
    for name, (damage, words) in DAMAGES.items():
        damage(checkpoint)
        driver = world.driver()
        assert driver.process.wait(90) == EXIT_FAILED, name
        said = last_error(world)
        assert words in said, (name, said)
        shutil.rmtree(checkpoint, ignore_errors=True)
        shutil.copytree(whole, checkpoint)
    world.driver("--rebuild")
    world.finish()
    world.check(undisturbed.rows)


@pytest.mark.exhaustive  # that they are refused is in the integration tests
def test_yesterdays_copy_and_none_are_refused_and_rebuilt(world: World, undisturbed: Undisturbed) -> None:
    driver = world.driver()
    world.feed_and_commit()
    assert driver.stop() == 0
    checkpoints = world.services.plan.layout.state / "checkpoints"
    copy = checkpoints.with_name("yesterday")
    shutil.copytree(checkpoints, copy)
    driver = world.driver()
    world.feed_and_commit()
    assert driver.stop() == 0
    shutil.rmtree(checkpoints)
    copy.rename(checkpoints)

    assert world.driver().process.wait(90) == EXIT_FAILED
    assert "an old or damaged copy" in last_error(world)
    assert "--rebuild" in last_error(world)
    shutil.rmtree(checkpoints)
    assert world.driver().process.wait(90) == EXIT_FAILED
    assert "the checkpoint is gone" in last_error(world)
    world.driver("--rebuild")
    world.finish()
    world.check(undisturbed.rows)


@pytest.mark.exhaustive
def test_a_topic_made_again_is_refused_and_read_from_its_start(world: World, undisturbed: Undisturbed) -> None:
    driver = world.driver()
    world.feed_and_commit(chunks=20)
    recreate_topics(world.services.kafka_bootstrap_servers, list(EVENTS.values()))
    world.feed()
    assert driver.process.wait(180) == EXIT_FAILED, "what it had not read is gone, and it says so"
    assert world.driver().process.wait(90) == EXIT_FAILED
    assert "the topic was deleted and made again" in last_error(world)

    world.driver("--rebuild")
    world.sent = 0
    world.finish()
    # What was refused before is refused again, under the new topic.
    world.check(undisturbed.rows, but=("dead_letters",))
    refused = {row[:3] for row in world.rows()["dead_letters"]}
    assert refused == {row[:3] for row in undisturbed.rows["dead_letters"]}


def last_error(world: World) -> str:
    state = read_stream_state(world.services.database_url)
    return (state.last_error or "") if state else ""
