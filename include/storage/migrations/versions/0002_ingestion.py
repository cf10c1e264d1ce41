"""Ingestion: calls and health of the sources, switches between them, coverage of trades, replayed dead letters.

Revision ID: 0002
Revises: 0001
"""

from __future__ import annotations

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

# A watermark belongs to a want: bars of a minute and of a day move on their own.
WATERMARKS = "UPDATE market.ingestion_watermarks SET kind = 'bar60' WHERE kind = 'bar'"
WATERMARKS_BACK = (
    # What the old code does not know would stand in its way as soon as it reads every row.
    "DELETE FROM market.ingestion_watermarks WHERE kind LIKE 'bar%' AND kind <> 'bar60'",
    "UPDATE market.ingestion_watermarks SET kind = 'bar' WHERE kind = 'bar60'",
)

SOURCES = """
CREATE TABLE market.source_calls (
    source    text NOT NULL,
    call_id   text NOT NULL,
    called_at timestamptz NOT NULL,
    cost      integer NOT NULL CHECK (cost > 0),
    PRIMARY KEY (source, call_id)
);
CREATE INDEX source_calls_time ON market.source_calls (source, called_at);
COMMENT ON TABLE market.source_calls IS
    'Every call to a source within its longest quota window, written before it is made; older ones are purged';
CREATE TABLE market.source_health (
    source     text PRIMARY KEY,
    state      jsonb NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE market.source_health IS 'Breaker and bans of each source; the same is in Redis';
CREATE TABLE market.source_switches (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    switched_at timestamptz NOT NULL DEFAULT now(),
    asset_class text NOT NULL CHECK (asset_class IN ('stock', 'crypto')),
    kind        text NOT NULL,
    from_source text,
    to_source   text NOT NULL,
    reason      text NOT NULL
);
CREATE INDEX source_switches_newest ON market.source_switches (asset_class, kind, id DESC);
COMMENT ON TABLE market.source_switches IS 'Which source serves what since when, and why; the newest row holds';
COMMENT ON COLUMN market.source_switches.kind IS 'What is asked for: bar60, bar86400, quote, trade';
"""

COVERAGE = """
CREATE TABLE market.trade_coverage (
    source          text NOT NULL,
    symbol          text NOT NULL,
    covered_from    timestamptz NOT NULL,
    covered_through timestamptz NOT NULL CHECK (covered_through >= covered_from),
    last_trade_id   bigint,
    updated_at      timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (source, symbol, covered_from)
);
COMMENT ON TABLE market.trade_coverage IS 'Spans of time in which every trade was published, without a hole';
"""

REPLAYS = """
CREATE TABLE market.dead_letter_replays (
    topic           text NOT NULL,
    kafka_partition integer NOT NULL,
    kafka_offset    bigint NOT NULL,
    replayed_at     timestamptz NOT NULL DEFAULT now(),
    outcome         text NOT NULL,
    PRIMARY KEY (topic, kafka_partition, kafka_offset)
);
COMMENT ON TABLE market.dead_letter_replays IS 'Dead letters that were read again, and what became of them';
"""

GRANTS = """
GRANT SELECT ON market.source_calls, market.source_health, market.source_switches, market.trade_coverage,
    market.dead_letter_replays TO pipeline_writer, pipeline_reader, pipeline_checker;
GRANT INSERT, DELETE ON market.source_calls TO pipeline_writer;
GRANT INSERT, UPDATE ON market.source_health, market.dead_letter_replays TO pipeline_writer;
GRANT INSERT ON market.source_switches TO pipeline_writer;
GRANT INSERT, UPDATE, DELETE ON market.trade_coverage TO pipeline_writer;
"""


def upgrade() -> None:
    for statement in (WATERMARKS, SOURCES, COVERAGE, REPLAYS, GRANTS):
        op.execute(statement)


def downgrade() -> None:
    op.execute(
        "DROP TABLE market.source_calls, market.source_health, market.source_switches, market.trade_coverage, "
        "market.dead_letter_replays"
    )
    for statement in WATERMARKS_BACK:
        op.execute(statement)
