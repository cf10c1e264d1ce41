"""The stream: partials of candles, indicators, anomalies and their outbox, repairs, known checkpoints.

Revision ID: 0003
Revises: 0002
"""

from __future__ import annotations

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

# Nothing here is a truth: a window without its partial is counted again from market_events. So it needs no
# write-ahead log, and PostgreSQL may empty it after a crash.
PARTIALS = """
CREATE UNLOGGED TABLE market.candle_partials (
    symbol          text NOT NULL,
    interval        text NOT NULL,
    window_start    timestamptz NOT NULL,
    is_quote        boolean NOT NULL,
    first_time      timestamptz NOT NULL,
    first_offset    bigint NOT NULL,
    first_partition integer NOT NULL,
    first_id        text NOT NULL,
    open            numeric(18,8) NOT NULL,
    last_time       timestamptz NOT NULL,
    last_offset     bigint NOT NULL,
    last_partition  integer NOT NULL,
    last_id         text NOT NULL,
    close           numeric(18,8) NOT NULL,
    source          text NOT NULL,
    high            numeric(18,8) NOT NULL,
    low             numeric(18,8) NOT NULL,
    volume          numeric(38,8),
    volumes         bigint NOT NULL,
    weighted        numeric(38,0),
    weights         bigint NOT NULL,
    event_count     bigint NOT NULL,
    asset_class     text NOT NULL,
    PRIMARY KEY (symbol, interval, window_start, is_quote)
) WITH (fillfactor = 70);
CREATE INDEX candle_partials_time ON market.candle_partials (asset_class, window_start);
COMMENT ON TABLE market.candle_partials IS 'Sums of the windows that still get events; may be emptied at any time';
"""
INDICATORS = """
CREATE TABLE market.indicators (
    symbol           text NOT NULL,
    interval         text NOT NULL,
    window_start     timestamptz NOT NULL,
    sma_20           double precision,
    ema_12           double precision,
    ema_26           double precision,
    bollinger_upper  double precision,
    bollinger_middle double precision,
    bollinger_lower  double precision,
    volatility_20    double precision,
    log_return       double precision,
    more             jsonb,
    updated_at       timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (symbol, interval, window_start)
) WITH (fillfactor = 80);
COMMENT ON COLUMN market.indicators.more IS 'Indicators of the registry that have no column of their own';
-- The stream looks for the last 61 of each at every batch; most candles of a thin market have neither.
CREATE INDEX indicators_returns ON market.indicators (symbol, interval, window_start) WHERE log_return IS NOT NULL;
CREATE INDEX candles_volumes ON market.candles (symbol, interval, window_start) WHERE volume IS NOT NULL;
CREATE TABLE market.indicator_repairs (
    symbol       text NOT NULL,
    interval     text NOT NULL,
    window_start timestamptz NOT NULL,
    recorded_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (symbol, interval)
);
COMMENT ON TABLE market.indicator_repairs IS 'Indicators from window_start on are to be computed again, in batch';
"""
ANOMALIES = """
CREATE TABLE market.price_anomalies (
    symbol       text NOT NULL,
    interval     text NOT NULL,
    window_start timestamptz NOT NULL,
    metric       text NOT NULL CHECK (metric IN ('price', 'volume')),
    value        double precision NOT NULL,
    mean         double precision NOT NULL,
    stddev       double precision NOT NULL,
    z_score      double precision NOT NULL,
    severity     text NOT NULL CHECK (severity IN ('warning', 'high', 'critical')),
    detected_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (symbol, interval, window_start, metric)
);
CREATE INDEX price_anomalies_detected ON market.price_anomalies (detected_at);
CREATE TABLE market.anomaly_outbox (
    id   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    body jsonb NOT NULL
);
COMMENT ON TABLE market.anomaly_outbox IS 'Anomalies on their way to Kafka: written with them, deleted when confirmed';
"""
CHECKPOINTS = """
CREATE TABLE market.stream_checkpoints (
    query_name    text NOT NULL,
    checkpoint_id text NOT NULL,
    topic_id      text NOT NULL,
    known_since   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (query_name, checkpoint_id)
);
COMMENT ON COLUMN market.stream_checkpoints.topic_id IS 'A topic made again under its name counts from 0 again';
"""
# A topic made again counts its records from 0 again: theirs are other records.
COORDINATES = """
ALTER TABLE market.dead_letters ADD COLUMN topic_id text NOT NULL DEFAULT '';
ALTER TABLE market.dead_letters DROP CONSTRAINT dead_letters_topic_kafka_partition_kafka_offset_key;
ALTER TABLE market.dead_letters ADD CONSTRAINT dead_letters_coordinates
    UNIQUE (topic, topic_id, kafka_partition, kafka_offset);
ALTER TABLE market.late_events ADD COLUMN topic_id text NOT NULL DEFAULT '';
ALTER TABLE market.late_events DROP CONSTRAINT late_events_kafka_topic_kafka_partition_kafka_offset_key;
ALTER TABLE market.late_events ADD CONSTRAINT late_events_coordinates
    UNIQUE (kafka_topic, topic_id, kafka_partition, kafka_offset);
"""
# The old key knows no topic_id: the newest of equal coordinates stays.
COORDINATES_BACK = """
DELETE FROM market.dead_letters a USING market.dead_letters b
WHERE (a.topic, a.kafka_partition, a.kafka_offset) = (b.topic, b.kafka_partition, b.kafka_offset) AND a.id < b.id;
ALTER TABLE market.dead_letters DROP COLUMN topic_id;
ALTER TABLE market.dead_letters ADD CONSTRAINT dead_letters_topic_kafka_partition_kafka_offset_key
    UNIQUE (topic, kafka_partition, kafka_offset);
DELETE FROM market.late_events a USING market.late_events b
WHERE (a.kafka_topic, a.kafka_partition, a.kafka_offset) = (b.kafka_topic, b.kafka_partition, b.kafka_offset)
  AND a.ctid < b.ctid;
ALTER TABLE market.late_events DROP COLUMN topic_id;
ALTER TABLE market.late_events ADD CONSTRAINT late_events_kafka_topic_kafka_partition_kafka_offset_key
    UNIQUE (kafka_topic, kafka_partition, kafka_offset);
"""
GRANTS = """
GRANT SELECT ON market.candle_partials, market.indicators, market.indicator_repairs, market.price_anomalies,
    market.anomaly_outbox, market.stream_checkpoints TO pipeline_writer, pipeline_reader, pipeline_checker;
GRANT INSERT, UPDATE, DELETE ON market.candle_partials, market.price_anomalies, market.indicator_repairs
    TO pipeline_writer;
GRANT INSERT, UPDATE ON market.indicators TO pipeline_writer;
GRANT INSERT, DELETE ON market.anomaly_outbox TO pipeline_writer;
GRANT INSERT ON market.stream_checkpoints TO pipeline_writer;
"""


def upgrade() -> None:
    for statement in (PARTIALS, INDICATORS, ANOMALIES, CHECKPOINTS, COORDINATES, GRANTS):
        op.execute(statement)


def downgrade() -> None:
    op.execute(COORDINATES_BACK)
    op.execute("DROP INDEX market.candles_volumes")
    op.execute(
        "DROP TABLE market.candle_partials, market.indicators, market.indicator_repairs, market.price_anomalies, "
        "market.anomaly_outbox, market.stream_checkpoints"
    )
