"""First schema: the market's mark, raw events, candles, the stream's ledger and lease, roles.

Revision ID: 0001
Revises: none
"""

from __future__ import annotations

from alembic import context, op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

MARK = """
CREATE TABLE market.platform (
    only_row   boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    market     text NOT NULL CHECK (market IN ('live', 'sandbox', 'replay')),
    created_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE market.platform IS 'Which market this database belongs to; another one is refused';
"""

# The key holds event_time because PostgreSQL wants the partition key in every unique key. NaN sorts
# above every number, so `< 'Infinity'` keeps it out where `> 0` would let it in.
EVENTS = """
CREATE TABLE market.market_events (
    event_id         text NOT NULL,
    symbol           text NOT NULL,
    asset_class      text NOT NULL CHECK (asset_class IN ('stock', 'crypto')),
    source           text NOT NULL,
    kind             text NOT NULL CHECK (kind IN ('bar', 'trade', 'quote')),
    event_time       timestamptz NOT NULL,
    interval_seconds integer NOT NULL CHECK (interval_seconds >= 0),
    open             numeric(18,8) NOT NULL,
    high             numeric(18,8) NOT NULL CHECK (high < 'Infinity' AND high >= open AND high >= close),
    low              numeric(18,8) NOT NULL CHECK (low > 0 AND low <= open AND low <= close),
    close            numeric(18,8) NOT NULL,
    volume           numeric(28,8) CHECK (volume >= 0 AND volume < 'Infinity'),
    currency         text NOT NULL,
    ingested_at      timestamptz NOT NULL,
    kafka_partition  integer,
    kafka_offset     bigint,
    revision         integer NOT NULL DEFAULT 0,
    PRIMARY KEY (event_id, revision, event_time)
) PARTITION BY RANGE (event_time);
CREATE INDEX market_events_symbol_time ON market.market_events (symbol, event_time);
"""

# Partitions are made where the writer cannot: a definer's function, the only DDL outside migrations.
# ATTACH takes a weaker lock than CREATE ... PARTITION OF, so readers and the other query go on.
PARTITIONS = """
CREATE FUNCTION market.ensure_event_partitions(days date[]) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = market, pg_temp AS $$
DECLARE
    day date;
    partition_name text;
BEGIN
    FOREACH day IN ARRAY days LOOP
        partition_name := 'market_events_p' || to_char(day, 'YYYYMMDD');
        CONTINUE WHEN to_regclass('market.' || partition_name) IS NOT NULL;
        PERFORM pg_advisory_xact_lock(hashtext('market_events partitions'));
        -- By query and not by to_regclass: its cache may not know yet what another session has committed.
        CONTINUE WHEN EXISTS (
            SELECT FROM pg_class WHERE relname = partition_name AND relnamespace = 'market'::regnamespace);
        EXECUTE format('CREATE TABLE market.%I (LIKE market.market_events INCLUDING ALL)', partition_name);
        EXECUTE format(
            'ALTER TABLE market.market_events ATTACH PARTITION market.%I FOR VALUES FROM (%L) TO (%L)',
            partition_name, day::timestamp AT TIME ZONE 'UTC', (day + 1)::timestamp AT TIME ZONE 'UTC');
    END LOOP;
END $$;
REVOKE ALL ON FUNCTION market.ensure_event_partitions(date[]) FROM PUBLIC;
"""

VIEWS = """
CREATE VIEW market.current_events AS
SELECT e.* FROM market.market_events e
WHERE NOT EXISTS (
    SELECT 1 FROM market.market_events newer
    WHERE newer.event_id = e.event_id AND newer.event_time = e.event_time AND newer.revision > e.revision);
COMMENT ON VIEW market.current_events IS 'Each event once: its newest revision';
CREATE VIEW market.stock_prices_raw AS
SELECT symbol, event_time AS "timestamp", close AS price, open, high, low, volume, source
FROM market.current_events WHERE asset_class = 'stock';
CREATE VIEW market.crypto_prices_raw AS
SELECT symbol, event_time AS "timestamp", close AS price, open, high, low, volume, source
FROM market.current_events WHERE asset_class = 'crypto';
"""

CANDLES = """
CREATE TABLE market.candles (
    symbol       text NOT NULL,
    interval     text NOT NULL CHECK (interval IN ('1m', '5m')),
    window_start timestamptz NOT NULL,
    open         numeric(18,8) NOT NULL,
    high         numeric(18,8) NOT NULL,
    low          numeric(18,8) NOT NULL,
    close        numeric(18,8) NOT NULL,
    volume       numeric(28,8),
    vwap         numeric(28,12),
    event_count  integer NOT NULL,
    source       text NOT NULL,
    asset_class  text NOT NULL,
    is_final     boolean NOT NULL DEFAULT false,
    updated_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (symbol, interval, window_start)
) WITH (fillfactor = 80);
CREATE INDEX candles_provisional ON market.candles (asset_class, window_start) WHERE NOT is_final;
"""

REFUSED = """
CREATE TABLE market.dead_letters (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    received_at     timestamptz NOT NULL DEFAULT now(),
    topic           text NOT NULL,
    kafka_partition integer NOT NULL,
    kafka_offset    bigint NOT NULL,
    symbol          text,
    source          text,
    reason          text NOT NULL,
    payload         bytea,
    UNIQUE (topic, kafka_partition, kafka_offset)
);
CREATE TABLE market.late_events (
    event_id        text NOT NULL,
    symbol          text NOT NULL,
    event_time      timestamptz NOT NULL,
    kafka_topic     text NOT NULL,
    kafka_partition integer NOT NULL,
    kafka_offset    bigint NOT NULL,
    reason          text NOT NULL,
    watermark       timestamptz NOT NULL,
    received_at     timestamptz NOT NULL DEFAULT now(),
    UNIQUE (kafka_topic, kafka_partition, kafka_offset)
);
"""

LEDGER = """
CREATE TABLE market.stream_batches (
    query_name         text NOT NULL,
    checkpoint_id      text NOT NULL,
    batch_id           bigint NOT NULL,
    epoch              bigint NOT NULL,
    offsets            jsonb NOT NULL,
    rows_in            bigint NOT NULL,
    rows_new           bigint NOT NULL,
    rows_dead_lettered bigint NOT NULL,
    rows_late          bigint NOT NULL,
    max_event_time     timestamptz,
    committed_at       timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (query_name, checkpoint_id, batch_id)
);
CREATE TABLE market.stream_lease (
    application   text PRIMARY KEY,
    epoch         bigint NOT NULL DEFAULT 0,
    owner         text,
    pid           integer,
    started_at    timestamptz,
    heartbeat_at  timestamptz,
    desired_state text NOT NULL DEFAULT 'running' CHECK (desired_state IN ('running', 'stopped')),
    details       jsonb NOT NULL DEFAULT '{}',
    last_error    text
);
-- Apart from the lease: batches share-lock this row to their commit, and a heartbeat must not wait for them.
CREATE TABLE market.stream_fence (
    application text PRIMARY KEY,
    epoch       bigint NOT NULL
);
CREATE TABLE market.ingestion_watermarks (
    source            text NOT NULL,
    kind              text NOT NULL,
    symbol            text NOT NULL,
    published_through timestamptz NOT NULL,
    updated_at        timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (source, kind, symbol)
);
"""

# Roles belong to the whole server, so they may stand already. Passwords are set by the start script.
ROLES = """
DO $$
DECLARE role_name text;
BEGIN
    FOREACH role_name IN ARRAY ARRAY['pipeline_writer', 'pipeline_reader', 'pipeline_checker'] LOOP
        IF NOT EXISTS (SELECT 1 FROM pg_roles WHERE rolname = role_name) THEN
            EXECUTE format('CREATE ROLE %I LOGIN', role_name);
        END IF;
        EXECUTE format('ALTER ROLE %I SET search_path = market, public', role_name);
    END LOOP;
    EXECUTE format('ALTER DATABASE %I SET search_path = market, public', current_database());
    EXECUTE format('REVOKE ALL ON DATABASE %I FROM PUBLIC', current_database());
    EXECUTE format('GRANT CONNECT, TEMPORARY ON DATABASE %I TO pipeline_writer', current_database());
    EXECUTE format('GRANT CONNECT ON DATABASE %I TO pipeline_reader, pipeline_checker', current_database());
END $$;
ALTER ROLE pipeline_reader SET default_transaction_read_only = on;
ALTER ROLE pipeline_reader SET statement_timeout = '5s';
ALTER ROLE pipeline_checker SET default_transaction_read_only = on;
GRANT USAGE ON SCHEMA market TO pipeline_writer, pipeline_reader, pipeline_checker;
GRANT SELECT ON ALL TABLES IN SCHEMA market TO pipeline_writer, pipeline_reader, pipeline_checker;
GRANT INSERT ON market.market_events, market.dead_letters, market.late_events, market.stream_batches
    TO pipeline_writer;
GRANT INSERT, UPDATE ON market.candles, market.stream_lease, market.stream_fence, market.ingestion_watermarks
    TO pipeline_writer;
GRANT EXECUTE ON FUNCTION market.ensure_event_partitions(date[]) TO pipeline_writer;
"""


def upgrade() -> None:
    for statement in (MARK, EVENTS, PARTITIONS, VIEWS, CANDLES, REFUSED, LEDGER, ROLES):
        op.execute(statement)
    market = context.config.attributes.get("market")
    if market is not None:
        op.execute(f"INSERT INTO market.platform (market) VALUES ('{market}')")


def downgrade() -> None:
    # Roles stay: they belong to the server and may own rights in other databases.
    op.execute("DROP VIEW market.stock_prices_raw, market.crypto_prices_raw, market.current_events")
    op.execute("DROP FUNCTION market.ensure_event_partitions(date[])")
    op.execute(
        "DROP TABLE market.market_events, market.candles, market.dead_letters, market.late_events, "
        "market.stream_batches, market.stream_lease, market.stream_fence, market.ingestion_watermarks, market.platform"
    )
