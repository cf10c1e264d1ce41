"""Supervision of long-running applications: what is wanted and by whom, and every start with how it ended.

Revision ID: 0004
Revises: 0003
"""

from __future__ import annotations

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

LEASE = """
ALTER TABLE market.stream_lease
    ADD COLUMN desired_by      text,
    ADD COLUMN desired_why     text,
    ADD COLUMN desired_at      timestamptz,
    ADD COLUMN desired_run     text,
    ADD COLUMN stop_epoch      bigint,
    ADD COLUMN forgiven_at     timestamptz,
    ADD COLUMN process_started double precision,
    ADD COLUMN lag_samples     jsonb NOT NULL DEFAULT '[]';
COMMENT ON COLUMN market.stream_lease.desired_run IS 'The run whose form or end made it so';
COMMENT ON COLUMN market.stream_lease.stop_epoch IS 'The owner with this epoch is asked to finish and leave';
COMMENT ON COLUMN market.stream_lease.forgiven_at IS 'Starts before this do not count against a new one';
COMMENT ON COLUMN market.stream_lease.process_started IS 'Epoch seconds; a later process may get the pid';
"""
STARTS = """
CREATE TABLE market.stream_starts (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    application     text NOT NULL,
    epoch           bigint,
    started_at      timestamptz NOT NULL DEFAULT now(),
    cause           text NOT NULL,
    host            text,
    pid             integer,
    process_started double precision,
    tracked         text,
    ended_at        timestamptz,
    outcome         text CHECK (outcome IN ('stopped', 'failed', 'died', 'stuck', 'not started', 'refused')),
    reason          text,
    failed_batch    jsonb,
    CHECK ((ended_at IS NULL) = (outcome IS NULL))
);
CREATE INDEX stream_starts_newest ON market.stream_starts (application, id DESC);
COMMENT ON TABLE market.stream_starts IS 'Every start of an application that Airflow keeps alive, and how it ended';
COMMENT ON COLUMN market.stream_starts.pid IS 'What was launched: it leads the session of all that came of it';
COMMENT ON COLUMN market.stream_starts.tracked IS 'What a cluster calls it';
"""
GRANTS = """
GRANT SELECT ON market.stream_starts TO pipeline_writer, pipeline_reader, pipeline_checker;
GRANT INSERT, UPDATE ON market.stream_starts TO pipeline_writer;
"""


def upgrade() -> None:
    for statement in (LEASE, STARTS, GRANTS):
        op.execute(statement)


def downgrade() -> None:
    op.execute("DROP TABLE market.stream_starts")
    op.execute(
        "ALTER TABLE market.stream_lease DROP COLUMN desired_by, DROP COLUMN desired_why, DROP COLUMN desired_at, "
        "DROP COLUMN desired_run, DROP COLUMN stop_epoch, DROP COLUMN forgiven_at, DROP COLUMN process_started, "
        "DROP COLUMN lag_samples"
    )
