"""Lineage: which code committed a batch and made a quality run.

Revision ID: 0010
Revises: 0009
"""

from __future__ import annotations

from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

# Null in the rows of before, and in those of a stream that runs on through the change.
CODE = """
ALTER TABLE market.stream_batches ADD COLUMN code_version text;
ALTER TABLE market.quality_runs ADD COLUMN code_version text;
COMMENT ON COLUMN market.stream_batches.code_version IS
    'What committed it: package version, git commit if there is one, digest of the code; see include/code_version.py';
COMMENT ON COLUMN market.quality_runs.code_version IS 'What checked; as in stream_batches';
"""
# A candle asks for the backfills of its symbol and day; the key begins with the run.
BACKFILLS = "CREATE INDEX backfill_results_symbol ON market.backfill_results (symbol, day)"


def upgrade() -> None:
    op.execute(CODE)
    op.execute(BACKFILLS)


def downgrade() -> None:
    op.execute("DROP INDEX market.backfill_results_symbol")
    op.execute("ALTER TABLE market.quality_runs DROP COLUMN code_version")
    op.execute("ALTER TABLE market.stream_batches DROP COLUMN code_version")
