"""Kafka in KRaft mode from its own jars: one broker on loopback, topics as declared."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import yaml
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]

from include.errors import StackError
from include.settings import PROJECT_ROOT
from include.stack.jars import class_path
from include.stack.layout import write_private
from include.stack.plan import LOOPBACK, Plan

TOPICS_FILE = PROJECT_ROOT / "config" / "kafka.yaml"
TOPIC_DEADLINE_SECONDS = 30
_CONFIGURATION = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@{host}:{controller_port}
listeners=PLAINTEXT://{host}:{port},CONTROLLER://{host}:{controller_port}
advertised.listeners=PLAINTEXT://{host}:{port}
controller.listener.names=CONTROLLER
log.dirs={data}
auto.create.topics.enable=false
num.partitions=1
default.replication.factor=1
offsets.topic.num.partitions=4
offsets.topic.replication.factor=1
transaction.state.log.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.num.partitions=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
"""
# The heap fits a laptop; the serial collector spares the second core for Spark.
_JVM = (
    "-Xms256m",
    "-Xmx512m",
    "-XX:+UseSerialGC",
    "-XX:+ExitOnOutOfMemoryError",
    "-Djava.awt.headless=true",
    "-Djava.net.preferIPv4Stack=true",
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
    "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd'T'HH:mm:ss.SSS",
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
)


def command(plan: Plan) -> list[str]:
    java = str(plan.java_home / "bin" / "java")
    return [java, *_JVM, "-cp", class_path("kafka"), "kafka.Kafka", str(_properties(plan))]


def prepare(plan: Plan) -> None:
    """Write the configuration and format the log folder once."""
    ports = plan.settings.ports
    text = _CONFIGURATION.format(
        host=LOOPBACK, port=ports.kafka, controller_port=ports.kafka_controller, data=_data(plan)
    )
    write_private(_properties(plan), text)
    if (_data(plan) / "meta.properties").exists():
        return
    java = [str(plan.java_home / "bin" / "java"), "-cp", class_path("kafka"), "kafka.tools.StorageTool"]
    format_command = [*java, "format", "-t", plan.secrets.kafka_cluster_id, "-c", str(_properties(plan))]
    made = subprocess.run(format_command, capture_output=True, text=True, env=os.environ | {"LC_ALL": "C"})
    if made.returncode != 0:
        reason = (made.stderr or made.stdout).strip().splitlines()
        raise StackError(f"Kafka's log folder could not be formatted: {reason[-1] if reason else 'no reason given'}")


def create_topics(bootstrap_servers: str) -> list[str]:
    """Create the declared topics that are missing; their names. Raises StackError."""
    declared = yaml.safe_load(TOPICS_FILE.read_text())["topics"]
    admin = AdminClient({"bootstrap.servers": bootstrap_servers, "log_level": 3})
    try:
        known = admin.list_topics(timeout=TOPIC_DEADLINE_SECONDS).topics
        new = [
            NewTopic(
                name,
                num_partitions=topic["partitions"],
                replication_factor=topic.get("replication", 1),
                config={
                    "retention.ms": str(topic["retention_hours"] * 3_600_000),
                    # The broker's clock judges what lies in the future; a producer could forge its own.
                    "message.timestamp.type": "LogAppendTime",
                },
            )
            for name, topic in declared.items()
            if name not in known
        ]
        for created in (admin.create_topics(new) if new else {}).values():
            created.result(TOPIC_DEADLINE_SECONDS)
    except KafkaException as error:
        raise StackError(f"Kafka topics could not be created: {error.args[0].str()}") from error
    return [topic.topic for topic in new]


def _properties(plan: Plan) -> Path:
    return plan.layout.config / "kafka.properties"


def _data(plan: Plan) -> Path:
    return plan.layout.data / "kafka"
