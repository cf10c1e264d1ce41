"""PostgreSQL, Redis and the broker are killed under a running driver, and an answer to COMMIT is lost."""

from __future__ import annotations

import signal

import psutil
import psycopg
import pytest
import redis
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from include.stack.supervisor import Supervisor
from spark_jobs.stream import EXIT_NOT_OWNER
from tests.faults.conftest import Undisturbed
from tests.faults.proxy import cutting
from tests.faults.world import World
from tests.stores import Services
from tests.waiting import wait_until


@pytest.mark.exhaustive  # reader by reader and sink by sink it is in the integration tests
def test_each_store_is_killed_and_comes_back(world: World, undisturbed: Undisturbed) -> None:
    """One driver lives through all of it, and while it lives a second one is refused."""
    driver = world.driver()
    world.feed_and_commit()
    second = world.driver()
    assert second.process.wait(60) == EXIT_NOT_OWNER
    assert "lease" in second.log.read_text()
    for name, answers in (("postgres", postgres_answers), ("kafka", kafka_answers), ("redis", redis_answers)):
        kill(world.services, name)
        wait_until(lambda answers=answers: answers(world.services), seconds=60, what=f"{name} again")
        world.feed_and_commit()
    assert driver.is_running, driver.log.read_text()[-2_000:]
    world.finish()
    world.check(undisturbed.rows)
    # Redis came back with what it had saved, if anything; the rest is filled in from PostgreSQL.
    wait_until(lambda: world.prices() == undisturbed.prices, seconds=30, what="all prices in Redis")
    assert driver.is_running


@pytest.mark.exhaustive  # sink by sink it is in the integration tests
def test_lost_answers_to_commit(world: World, undisturbed: Undisturbed) -> None:
    with cutting(world.services.writer_database_url) as (cutter, url):
        driver = world.driver(WRITER_DATABASE_URL=url)
        world.feed_and_commit()
        for _ in range(3):
            before = cutter.cuts
            cutter.arm(1)
            world.feed_until(lambda before=before: cutter.cuts > before, "a cut")
        world.finish()
        assert driver.stop() == 0, driver.log.read_text()[-2_000:]
    world.check(undisturbed.rows)


def kill(services: Services, name: str) -> None:
    """SIGKILL, as supervisord sees it die; it starts it again by itself."""
    pid = Supervisor(services.plan.layout).processes()[name]["pid"]
    program = psutil.Process(pid)
    # For root PostgreSQL runs inside a namespace of its own: the program that counts is the wrapper's child.
    family = [program, *program.children(recursive=True)]
    for process in family if name == "postgres" else [program]:
        process.send_signal(signal.SIGKILL)
    psutil.wait_procs([program], timeout=10)


def postgres_answers(services: Services) -> bool:
    try:
        psycopg.connect(services.database_url, connect_timeout=2).close()
    except psycopg.OperationalError:
        return False
    return True


def kafka_answers(services: Services) -> bool:
    try:
        AdminClient({"bootstrap.servers": services.kafka_bootstrap_servers, "log_level": 0}).list_topics(timeout=2)
    except KafkaException:
        return False
    return True


def redis_answers(services: Services) -> bool:
    try:
        return bool(redis.Redis.from_url(services.redis_url).ping())
    except redis.RedisError:
        return False
