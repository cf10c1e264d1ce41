"""Who has seen an anomaly: beside the anomalies, for those are counted again and replaced.

Revision ID: 0012
Revises: 0011
"""

from __future__ import annotations

from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

SEEN = """
CREATE TABLE market.anomaly_acknowledgements (
    symbol          text NOT NULL,
    interval        text NOT NULL,
    window_start    timestamptz NOT NULL,
    metric          text NOT NULL,
    acknowledged_at timestamptz NOT NULL DEFAULT now(),
    acknowledged_by text NOT NULL,
    PRIMARY KEY (symbol, interval, window_start, metric)
);
COMMENT ON TABLE market.anomaly_acknowledgements IS
    'Anomalies that a person has seen; of one that is withdrawn and comes again, it still says so';
CREATE INDEX anomaly_acknowledgements_newest ON market.anomaly_acknowledgements (acknowledged_at DESC);
GRANT SELECT ON market.anomaly_acknowledgements TO pipeline_writer, pipeline_reader, pipeline_checker;
GRANT INSERT ON market.anomaly_acknowledgements TO pipeline_writer;
"""


def upgrade() -> None:
    op.execute(SEEN)


def downgrade() -> None:
    op.execute("DROP TABLE market.anomaly_acknowledgements")
