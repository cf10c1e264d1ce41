"""The statements of `archive`. `{relation}` is the table kept by day, `{partition}` one day of it."""

from __future__ import annotations

from psycopg.sql import SQL

COLUMNS = """
SELECT attname AS name, format_type(atttypid, atttypmod) AS kind FROM pg_attribute
WHERE attrelid = to_regclass('market.' || quote_ident(%s)) AND attnum > 0 AND NOT attisdropped ORDER BY attnum
"""
PARTITIONS = r"""
SELECT parent.relname AS relation, to_date(right(child.relname, 8), 'YYYYMMDD') AS day
FROM pg_inherits JOIN pg_class child ON child.oid = inhrelid JOIN pg_class parent ON parent.oid = inhparent
WHERE parent.relnamespace = 'market'::regnamespace AND parent.relname = ANY(%s) AND child.relname ~ '_p\d{8}$'
ORDER BY relation, day
"""
COUNT = SQL("SELECT count(*) AS rows FROM {partition}")
#: The order of rows does not count, that of columns does: a column more is another checksum. Named, so that the rows
#: of an older file can be summed up as they were.
FIGURES = SQL(
    "SELECT count(*) AS rows, coalesce(sum(hash_record_extended(ROW({columns}), 0)), 0) AS checksum FROM {rows}"
)
COPY_OUT = SQL("COPY (SELECT {columns} FROM {partition} ORDER BY {order}) TO STDOUT (FORMAT csv)")
#: What a file holds, in the server, where its rows are compared with the table's.
FILED = SQL("CREATE TEMP TABLE filed ON COMMIT DROP AS SELECT {columns} FROM {relation} WITH NO DATA")
DROP_FILED = "DROP TABLE pg_temp.filed"
NOT_HELD = SQL(
    "SELECT count(*) AS rows FROM ("
    "SELECT {columns} FROM pg_temp.filed EXCEPT ALL SELECT {columns} FROM {partition}) gone"
)
CATALOGUE = "SELECT * FROM market.archived_days"
KEEP_PART = """
INSERT INTO market.archived_days
    (relation, day, part, rows, checksum, file, bytes, file_sha256, archived_at, verified_at)
VALUES (%(relation)s, %(day)s, %(part)s, %(rows)s, %(checksum)s, %(file)s, %(bytes)s, %(file_sha256)s,
    coalesce(%(archived_at)s, now()), now())
RETURNING *
"""
FORGET_PARTS = "DELETE FROM market.archived_days WHERE relation = %s AND day = %s AND part = ANY(%s)"
MARK_DROPPED = """
UPDATE market.archived_days SET dropped_at = now(), verified_at = now()
WHERE relation = %s AND day = %s AND dropped_at IS NULL
"""
MARK_RESTORED = """
UPDATE market.archived_days SET dropped_at = NULL, verified_at = now() WHERE relation = %s AND day = %s
"""
#: Writers of that day wait, its readers do not.
LOCK_PARTITION = SQL("LOCK TABLE {partition} IN SHARE ROW EXCLUSIVE MODE")
DETACH = SQL("ALTER TABLE {relation} DETACH PARTITION {partition}")
DROP = SQL("DROP TABLE {partition}")
ENSURE = "SELECT market.ensure_partitions(%s, %s::date[])"
#: The same fact came again while the day was away: the first delivery is the one that counts.
GIVE_WAY = SQL("DELETE FROM {partition} held USING pg_temp.filed f WHERE {same}")
BRING_BACK = SQL("INSERT INTO {partition} ({columns}) SELECT {columns} FROM pg_temp.filed")
LOCK_DAY = "SELECT pg_advisory_lock(hashtextextended('archive ' || %s || ' ' || %s::date, 0))"
UNLOCK_DAY = "SELECT pg_advisory_unlock(hashtextextended('archive ' || %s || ' ' || %s::date, 0))"
COLD_DAYS = """
SELECT DISTINCT day FROM market.archived_days
WHERE relation = %s AND day >= %s AND day <= %s AND dropped_at IS NOT NULL ORDER BY day
"""
