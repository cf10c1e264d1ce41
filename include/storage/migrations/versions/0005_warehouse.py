"""The warehouse and its quality: reference tables, results of checks, alerts, quarantine, archive, time indexes.

Revision ID: 0005
Revises: 0004
"""

from __future__ import annotations

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

CHANGES = """
CREATE TABLE market.schema_changes (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    revision   text NOT NULL,
    direction  text NOT NULL CHECK (direction IN ('up', 'down')),
    applied_at timestamptz NOT NULL DEFAULT now(),
    applied_by text NOT NULL,
    applied_via text NOT NULL,
    seconds    double precision NOT NULL
);
COMMENT ON TABLE market.schema_changes IS 'Every migration that was applied or taken back: when, by whom, by what';
"""
# What the checks measure against. Filled at each start from config/instruments.yaml and the exchange calendar.
REFERENCE = """
CREATE TABLE market.instruments (
    symbol          text PRIMARY KEY,
    asset_class     text NOT NULL CHECK (asset_class IN ('stock', 'crypto')),
    name            text NOT NULL,
    is_collected    boolean NOT NULL,
    collected_since timestamptz NOT NULL DEFAULT now()
);
COMMENT ON COLUMN market.instruments.collected_since IS 'Since when it is collected without a break in the settings';
CREATE TABLE market.trading_sessions (
    asset_class text NOT NULL CHECK (asset_class IN ('stock', 'crypto')),
    day         date NOT NULL,
    opens_at    timestamptz NOT NULL,
    closes_at   timestamptz NOT NULL CHECK (closes_at > opens_at),
    PRIMARY KEY (asset_class, day)
);
CREATE INDEX trading_sessions_time ON market.trading_sessions (asset_class, closes_at);
COMMENT ON TABLE market.trading_sessions IS
    'Regular hours of each day on which the market of this database trades; a day without a row is closed';
"""
# Rows per check and per symbol where the check is one of symbols. Kept by day, so that old days go as a whole.
RESULTS = """
CREATE TABLE market.quality_runs (
    run_id          text PRIMARY KEY,
    dag_run_id      text,
    started_at      timestamptz NOT NULL,
    finished_at     timestamptz,
    covered_from    timestamptz NOT NULL,
    covered_until   timestamptz NOT NULL,
    suites          text[] NOT NULL,
    symbols         text[],
    passed          integer,
    failed_critical integer,
    failed_warning  integer,
    summary         text
);
CREATE INDEX quality_runs_newest ON market.quality_runs (started_at DESC);
COMMENT ON COLUMN market.quality_runs.symbols IS 'Only these; null: all';
COMMENT ON COLUMN market.quality_runs.finished_at IS 'Null while it runs, and for ever if it broke off';
CREATE TABLE market.data_quality_results (
    checked_at    timestamptz NOT NULL,
    run_id        text NOT NULL,
    suite         text NOT NULL,
    check_name    text NOT NULL,
    dimension     text NOT NULL CHECK (dimension IN
        ('schema', 'duplicates', 'freshness', 'completeness', 'validity', 'reconciliation')),
    severity      text NOT NULL CHECK (severity IN ('critical', 'warning', 'info')),
    symbol        text,
    passed        boolean NOT NULL,
    observed      text,
    expected      text,
    measured      double precision,
    reason        text,
    failing_rows  bigint NOT NULL DEFAULT 0,
    failing_keys  jsonb NOT NULL DEFAULT '[]',
    covered_from  timestamptz,
    covered_until timestamptz
) PARTITION BY RANGE (checked_at);
CREATE INDEX data_quality_results_run ON market.data_quality_results (run_id);
CREATE INDEX data_quality_results_time ON market.data_quality_results (checked_at DESC);
CREATE INDEX data_quality_results_symbol ON market.data_quality_results (symbol, check_name, checked_at)
    WHERE symbol IS NOT NULL;
COMMENT ON COLUMN market.data_quality_results.measured IS
    'The figure behind it: seconds since the last event, share of expected minutes, rows that differ';
COMMENT ON COLUMN market.data_quality_results.failing_keys IS 'Keys of failing rows, the first few; never values';
CREATE TABLE market.topic_ends (
    topic           text NOT NULL,
    kafka_partition integer NOT NULL,
    first_offset    bigint NOT NULL,
    end_offset      bigint NOT NULL,
    topic_id        text NOT NULL,
    observed_at     timestamptz NOT NULL,
    PRIMARY KEY (topic, kafka_partition)
);
COMMENT ON TABLE market.topic_ends IS 'What Kafka held when it was asked last; the ledger is compared with it';
"""
ALERTS = """
CREATE TABLE market.alerts (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind            text NOT NULL CHECK (kind IN ('quality', 'anomaly', 'stream', 'pipeline')),
    subject         text NOT NULL,
    severity        text NOT NULL CHECK (severity IN ('warning', 'high', 'critical')),
    symbol          text,
    title           text NOT NULL,
    body            text NOT NULL DEFAULT '',
    raised_at       timestamptz NOT NULL DEFAULT now(),
    last_seen_at    timestamptz NOT NULL DEFAULT now(),
    times_seen      integer NOT NULL DEFAULT 1,
    resolved_at     timestamptz,
    delivered_at    timestamptz,
    acknowledged_at timestamptz,
    acknowledged_by text
);
CREATE UNIQUE INDEX alerts_open ON market.alerts (kind, subject) WHERE resolved_at IS NULL;
CREATE INDEX alerts_newest ON market.alerts (raised_at DESC);
COMMENT ON COLUMN market.alerts.subject IS 'What it is about; of one subject one alert is open at a time';
COMMENT ON COLUMN market.alerts.delivered_at IS 'When every channel that is set up had it';
"""
# Nothing leaves market_events: a row that stands here and is not released is not counted in candles.
QUARANTINE = """
CREATE TABLE market.quarantined_events (
    event_id       text NOT NULL,
    revision       integer NOT NULL,
    event_time     timestamptz NOT NULL,
    symbol         text NOT NULL,
    asset_class    text NOT NULL,
    check_name     text NOT NULL,
    reason         text NOT NULL,
    state          text NOT NULL DEFAULT 'held' CHECK (state IN ('held', 'released', 'dropped')),
    quarantined_at timestamptz NOT NULL DEFAULT now(),
    run_id         text,
    decided_at     timestamptz,
    decided_by     text,
    decision_run   text,
    note           text,
    applied_at     timestamptz,
    PRIMARY KEY (event_id, revision, event_time),
    CHECK ((state = 'held') = (decided_at IS NULL))
);
COMMENT ON COLUMN market.quarantined_events.applied_at IS 'Null: the candles do not show this state yet';
CREATE INDEX quarantined_events_held ON market.quarantined_events (symbol, event_time) WHERE state <> 'released';
CREATE VIEW market.counted_events AS
SELECT e.* FROM market.market_events e
WHERE NOT EXISTS (
    SELECT FROM market.quarantined_events q
    WHERE q.symbol = e.symbol AND q.event_time = e.event_time AND q.event_id = e.event_id AND q.revision = e.revision
      AND q.state <> 'released');
COMMENT ON VIEW market.counted_events IS 'What candles are made of: all events and revisions but those in quarantine';
"""
ARCHIVE = """
CREATE TABLE market.archived_days (
    relation    text NOT NULL,
    day         date NOT NULL,
    part        integer NOT NULL CHECK (part >= 1),
    rows        bigint NOT NULL,
    checksum    numeric NOT NULL,
    file        text NOT NULL,
    bytes       bigint NOT NULL,
    file_sha256 text NOT NULL,
    archived_at timestamptz NOT NULL DEFAULT now(),
    verified_at timestamptz NOT NULL,
    dropped_at  timestamptz,
    PRIMARY KEY (relation, day, part)
);
COMMENT ON TABLE market.archived_days IS
    'Days copied to Parquet files. Warm: dropped_at is null, the rows are here as well. Cold: only in the file';
COMMENT ON COLUMN market.archived_days.checksum IS 'Sum of hash_record_extended over the rows';
COMMENT ON COLUMN market.archived_days.file IS 'Relative to the archive folder';
"""
# One function for every table that is kept by day; the old one stays for a stream that runs on through the change.
PARTITIONS = """
CREATE FUNCTION market.ensure_partitions(relation text, days date[]) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = market, pg_temp AS $$
DECLARE
    day date;
    partition_name text;
BEGIN
    IF NOT EXISTS (SELECT FROM pg_partitioned_table
                   WHERE partrelid = to_regclass('market.' || quote_ident(relation))) THEN
        RAISE EXCEPTION '% is not kept by day', relation USING ERRCODE = 'invalid_parameter_value';
    END IF;
    -- Of what a role may not fill it may not make a day either.
    IF NOT has_table_privilege(session_user, 'market.' || quote_ident(relation), 'INSERT') THEN
        RAISE EXCEPTION 'permission denied for table %', relation USING ERRCODE = 'insufficient_privilege';
    END IF;
    FOREACH day IN ARRAY days LOOP
        partition_name := relation || '_p' || to_char(day, 'YYYYMMDD');
        CONTINUE WHEN to_regclass('market.' || partition_name) IS NOT NULL;
        PERFORM pg_advisory_xact_lock(hashtext(relation || ' partitions'));
        -- By query and not by to_regclass: its cache may not know yet what another session has committed.
        CONTINUE WHEN EXISTS (
            SELECT FROM pg_class WHERE relname = partition_name AND relnamespace = 'market'::regnamespace);
        EXECUTE format('CREATE TABLE market.%I (LIKE market.%I INCLUDING ALL)', partition_name, relation);
        EXECUTE format(
            'ALTER TABLE market.%I ATTACH PARTITION market.%I FOR VALUES FROM (%L) TO (%L)', relation,
            partition_name, day::timestamp AT TIME ZONE 'UTC', (day + 1)::timestamp AT TIME ZONE 'UTC');
    END LOOP;
END $$;
REVOKE ALL ON FUNCTION market.ensure_partitions(text, date[]) FROM PUBLIC;
"""
# Checks read by time over all symbols, and the ledger's check by offset. BRIN costs the writers next to nothing. Rows
# of several topics and partitions lie side by side, each with offsets far from the others': so many ranges, not one.
INDEXES = """
CREATE INDEX market_events_brin ON market.market_events
    USING brin (event_time, kafka_offset int8_minmax_multi_ops) WITH (pages_per_range = 32, autosummarize = on);
CREATE INDEX candles_brin ON market.candles USING brin (window_start) WITH (pages_per_range = 32, autosummarize = on);
CREATE INDEX indicators_brin ON market.indicators USING brin (window_start)
    WITH (pages_per_range = 32, autosummarize = on);
CREATE INDEX price_anomalies_time ON market.price_anomalies (window_start DESC, symbol)
    INCLUDE (interval, metric, z_score, severity);
CREATE INDEX stream_batches_time ON market.stream_batches (committed_at);
-- Each batch asks how new the newest event of its query is.
CREATE INDEX stream_batches_newest ON market.stream_batches (query_name, max_event_time);
"""
# Expand only: a stream that runs on through the change leaves it null, and such a batch is not compared.
CONTROL_SUM = """
ALTER TABLE market.stream_batches ADD COLUMN control_sum numeric(20), ADD COLUMN rows_repeated bigint;
COMMENT ON COLUMN market.stream_batches.rows_repeated IS 'Valid records whose event_id was held already';
COMMENT ON COLUMN market.stream_batches.control_sum IS
    'Over the new rows, modulo 2^64: sum of (2 * kafka_offset + 1) * weighted figures; see storage/control_sum.py';
ALTER TABLE market.stream_checkpoints ADD COLUMN known_ends jsonb NOT NULL DEFAULT '{}';
COMMENT ON COLUMN market.stream_checkpoints.known_ends IS
    'Of each partition, how far the query''s checkpoints before this one had come: up to there it reads again';
UPDATE market.stream_checkpoints c SET known_ends = coalesce((
    SELECT jsonb_object_agg(kafka_partition, past) FROM (
        SELECT p.key AS kafka_partition, max((p.value ->> 1)::bigint) AS past
        FROM market.stream_batches b, jsonb_each(b.offsets) t, jsonb_each(t.value) p
        WHERE b.query_name = c.query_name AND b.checkpoint_id <> c.checkpoint_id AND b.committed_at < c.known_since
        GROUP BY p.key) ends), '{}');
"""
GRANTS = """
GRANT SELECT ON market.schema_changes, market.instruments, market.trading_sessions, market.quality_runs,
    market.data_quality_results, market.topic_ends, market.alerts, market.quarantined_events, market.counted_events,
    market.archived_days TO pipeline_writer, pipeline_reader, pipeline_checker;
GRANT INSERT ON market.data_quality_results TO pipeline_checker;
GRANT INSERT, UPDATE ON market.quality_runs, market.topic_ends, market.alerts TO pipeline_checker;
-- A check can hold and not decide, a decision can hold nothing, and neither changes what is held.
GRANT INSERT (event_id, revision, event_time, symbol, asset_class, check_name, reason, run_id)
    ON market.quarantined_events TO pipeline_checker;
GRANT UPDATE (state, decided_at, decided_by, decision_run, note, applied_at)
    ON market.quarantined_events TO pipeline_writer;
GRANT INSERT, UPDATE ON market.alerts TO pipeline_writer;
GRANT DELETE ON market.candles, market.indicators TO pipeline_writer;
GRANT EXECUTE ON FUNCTION market.ensure_partitions(text, date[]) TO pipeline_writer, pipeline_checker;
"""
GRANTS_BACK = "REVOKE DELETE ON market.candles, market.indicators FROM pipeline_writer"
# The checker writes what it found, so its sessions may write; what, the grants say. For this database by name as well:
# roles are the server's, and the first revision of another database there shuts them again.
SESSIONS = """
ALTER ROLE pipeline_checker RESET default_transaction_read_only;
DO $$ BEGIN
    EXECUTE format('ALTER ROLE pipeline_checker IN DATABASE %I SET default_transaction_read_only = off',
                   current_database());
END $$;
"""
SESSIONS_BACK = """
DO $$ BEGIN
    EXECUTE format('ALTER ROLE pipeline_checker IN DATABASE %I RESET default_transaction_read_only',
                   current_database());
END $$;
"""

# Rows that stand nowhere else, and decisions of people.
NOTHING_LOST = """
DO $$ BEGIN
    IF EXISTS (SELECT FROM market.archived_days WHERE dropped_at IS NOT NULL) THEN
        RAISE EXCEPTION 'days that are only in the archive would be lost: ./pipeline archive list shows them, bring '
            'each back with ./pipeline archive restore DAY, then run this again';
    END IF;
    IF EXISTS (SELECT FROM market.quarantined_events) THEN
        RAISE EXCEPTION 'what was decided about events in quarantine would be lost: copy market.quarantined_events '
            'to a place of yours and empty it, then run this again';
    END IF;
END $$;
"""


def upgrade() -> None:
    for statement in (
        CHANGES, REFERENCE, RESULTS, ALERTS, QUARANTINE, ARCHIVE, PARTITIONS, INDEXES, CONTROL_SUM, GRANTS, SESSIONS,
    ):  # fmt: skip
        op.execute(statement)


def downgrade() -> None:
    op.execute(NOTHING_LOST)
    op.execute(SESSIONS_BACK)
    op.execute(GRANTS_BACK)
    op.execute("ALTER TABLE market.stream_checkpoints DROP COLUMN known_ends")
    op.execute("ALTER TABLE market.stream_batches DROP COLUMN control_sum, DROP COLUMN rows_repeated")
    op.execute(
        "DROP INDEX market.market_events_brin, market.candles_brin, market.indicators_brin, "
        "market.price_anomalies_time, market.stream_batches_time, market.stream_batches_newest"
    )
    op.execute("DROP FUNCTION market.ensure_partitions(text, date[])")
    op.execute("DROP VIEW market.counted_events")
    op.execute(
        "DROP TABLE market.schema_changes, market.instruments, market.trading_sessions, market.quality_runs, "
        "market.data_quality_results, market.topic_ends, market.alerts, market.quarantined_events, "
        "market.archived_days"
    )
