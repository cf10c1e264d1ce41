"""Days of a table that is kept by day, as Parquet files: hot, warm, cold and back. See docs/WAREHOUSE.md.

A day is hot while its rows are only in PostgreSQL, warm when a verified file has them too, cold when only the file
has them. A row of `archived_days` is written in the transaction that verified its file; a file without such a row
is read by nobody.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
from psycopg.rows import dict_row
from psycopg.sql import SQL, Identifier

from include.storage import archive_sql as sql
from include.storage.archive_catalogue import KEY, ORDER, ArchiveError, Figures, Part, Partition
from include.storage.archive_files import arrow_type, copied_slices, read_part, sha256_of, write_part
from include.storage.database import libpq_url
from include.storage.stream_copy import copy_in

#: So long a lock is waited for. The stream waits behind us meanwhile, so it is short.
LOCK_TIMEOUT = "3s"

Cursor = psycopg.Cursor[dict[str, Any]]


class Archive:
    """The owner's hand on the archive. `passed` hears of each step that is done, and may fail there."""

    def __init__(self, database_url: str, folder: Path, passed: Callable[[str], None] = lambda step: None) -> None:
        self._folder = folder
        self._passed = passed
        self._connection: psycopg.Connection[dict[str, Any]] = psycopg.connect(
            libpq_url(database_url),
            autocommit=True,
            row_factory=dict_row,
            connect_timeout=10,
            application_name="archive",
            # Times go out as text, and the planner's compiler costs more than it saves.
            options=f"-c timezone=UTC -c jit=off -c lock_timeout={LOCK_TIMEOUT}",
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()

    def partitions(self, counted_before: date | None = None) -> list[Partition]:
        """The days that are in PostgreSQL; rows are counted of those before that day."""
        found = []
        for row in self._connection.execute(sql.PARTITIONS, (list(ORDER),)).fetchall():
            rows = None
            if counted_before is not None and row["day"] < counted_before:
                counting = sql.COUNT.format(partition=_partition(row["relation"], row["day"]))
                rows = int(_only(self._connection.execute(counting))["rows"])
            found.append(Partition(row["relation"], row["day"], rows))
        return found

    def catalogue(self) -> list[Part]:
        """Every file, by relation, day and part."""
        with self._connection.cursor() as cursor:
            return _parts(cursor)

    def make_partitions(self, relation: str, days: Sequence[date]) -> None:
        """Those that are there stay as they are."""
        self._connection.execute(sql.ENSURE, (relation, list(days)))

    def archive_day(self, relation: str, day: date) -> Part | None:
        """Copy a day's rows to a verified file; None if the file that there is says it all, or there is no row.

        Where rows came since, a new file takes the old one's place. Raises ArchiveError if the old one has rows that
        the table has not: they were altered or deleted, and no file of ours may hide that.
        """
        with self._locked(relation, day):
            with self._connection.transaction(), self._connection.cursor() as cursor:
                # The rows that are copied and those that are compared are the same, whoever writes meanwhile.
                cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
                schema = self._schema(cursor, relation)
                held = _figures(cursor, _partition(relation, day), schema.names)
                self._passed("counted")
                warm = [part for part in _parts(cursor, relation, day) if not part.is_cold]
                if self._is_filed(warm, held):
                    return None
                for part in warm:
                    self._must_be_held(cursor, part)
                made = self._write(cursor, relation, day, schema, held, warm)
                self._passed("catalogued")
            self._passed("committed")
            self._remove(warm)
        return made

    def drop_day(self, relation: str, day: date) -> int:
        """Let go of a warm day's rows, or of a day without any; how many there were.

        Its file is verified again while nobody can write to the day. Raises ArchiveError and leaves all as it is
        unless file, catalogue and table agree.
        """
        partition = _partition(relation, day)
        with (
            self._locked(relation, day),
            self._connection.transaction(),
            self._connection.cursor() as cursor,
        ):
            cursor.execute(sql.LOCK_PARTITION.format(partition=partition))
            schema = self._schema(cursor, relation)
            held = _figures(cursor, partition, schema.names)
            warm = [part for part in _parts(cursor, relation, day) if not part.is_cold]
            if not self._is_filed(warm, held):
                said = f"the catalogue says {warm[0].figures}" if warm else "no file has them"
                raise ArchiveError(f"{relation} of {day} is not dropped: PostgreSQL has {held}, {said}")
            self._passed("compared")
            cursor.execute(sql.DETACH.format(relation=Identifier("market", relation), partition=partition))
            self._passed("detached")
            cursor.execute(sql.DROP.format(partition=partition))
            cursor.execute(sql.MARK_DROPPED, (relation, day))
            self._passed("dropped")
        return held.rows

    def restore_day(self, relation: str, day: date) -> int:
        """Bring a cold day back into PostgreSQL, where it is warm again; how many rows it has.

        Several parts, or rows that came while it was cold, become one part with it. Raises ArchiveError if the day is
        not cold, or a file is not as the catalogue says.
        """
        with self._locked(relation, day):
            parts = [part for part in self.catalogue() if (part.relation, part.day) == (relation, day)]
            cold = [part for part in parts if part.is_cold]
            if not cold:
                raise ArchiveError(f"{relation} of {day} is not in the archive alone: there is nothing to restore")
            # By itself: whoever makes a partition meanwhile, as the stream does at midnight, must not wait for us.
            self.make_partitions(relation, [day])
            with self._connection.transaction(), self._connection.cursor() as cursor:
                for part in parts:
                    if not part.is_cold:
                        self._must_be_held(cursor, part)
                # The oldest part last: what it has is the first delivery, and wins.
                for part in reversed(cold):
                    self._bring_back(cursor, part)
                self._passed("brought back")
                schema = self._schema(cursor, relation)
                held = _figures(cursor, _partition(relation, day), schema.names)
                replaced = [] if len(parts) == 1 and self._is_filed(parts, held) else parts
                if replaced:
                    self._write(cursor, relation, day, schema, held, replaced)
                else:
                    cursor.execute(sql.MARK_RESTORED, (relation, day))
                self._passed("restored")
            self._passed("committed")
            self._remove(replaced)
        return held.rows

    def _write(
        self, cursor: Cursor, relation: str, day: date, schema: pa.Schema, held: Figures, replaced: Sequence[Part]
    ) -> Part:
        """The partition's rows in a new file, verified, in the catalogue in the place of `replaced`."""
        number = self._next_number(cursor, relation, day)
        file = _file(relation, day, number)
        path = self._folder / file
        columns = SQL(", ").join(map(Identifier, schema.names))
        order = SQL(", ").join(map(Identifier, ORDER[relation]))
        copying = sql.COPY_OUT.format(columns=columns, partition=_partition(relation, day), order=order)
        write_part(path, copied_slices(cursor, copying, schema), schema)
        try:
            self._passed("written")
            self._load(cursor, relation, path)
            filed = _figures(cursor, Identifier("pg_temp", "filed"), schema.names)
            cursor.execute(sql.DROP_FILED)
            if filed != held:
                raise ArchiveError(f"{relation} of {day}: the file reads {filed}, PostgreSQL has {held}")
            self._passed("verified")
        except Exception:
            path.unlink(missing_ok=True)
            raise
        cursor.execute(sql.FORGET_PARTS, (relation, day, [part.part for part in replaced]))
        bound = {
            "relation": relation, "day": day, "part": number, **held._asdict(), "file": file,
            "bytes": path.stat().st_size, "file_sha256": sha256_of(path),
            "archived_at": min((part.archived_at for part in replaced), default=None),
        }  # fmt: skip
        return Part(**_only(cursor.execute(sql.KEEP_PART, bound)))

    def _is_filed(self, parts: Sequence[Part], held: Figures) -> bool:
        """Whether the table's rows are wholly in this one file. Raises ArchiveError if the file is damaged."""
        if not parts:
            return held.rows == 0
        (part,) = parts
        self._sound(part)
        return part.figures == held

    def _sound(self, part: Part) -> Path:
        """The part's file, which is to the last bit what was verified."""
        path = self._folder / part.file
        if not path.exists():
            raise ArchiveError(f"{part}: the file {path} is gone")
        if sha256_of(path) != part.file_sha256:
            raise ArchiveError(f"{part}: the file {path} is damaged, its SHA-256 is not the catalogue's")
        return path

    def _must_be_held(self, cursor: Cursor, part: Part) -> None:
        columns = SQL(", ").join(map(Identifier, self._load(cursor, part.relation, self._sound(part))))
        asked = sql.NOT_HELD.format(columns=columns, partition=_partition(part.relation, part.day))
        gone = _only(cursor.execute(asked))["rows"]
        cursor.execute(sql.DROP_FILED)
        if gone:
            raise ArchiveError(f"{part}: {gone} of its rows are not in PostgreSQL, they were altered or deleted there")

    def _bring_back(self, cursor: Cursor, part: Part) -> None:
        names = self._load(cursor, part.relation, self._sound(part))
        filed = _figures(cursor, Identifier("pg_temp", "filed"), names)
        if filed != part.figures:
            raise ArchiveError(f"{part}: the file reads {filed}, the catalogue says {part.figures}")
        partition = _partition(part.relation, part.day)
        if part.relation in KEY:
            pairs = [SQL("held.{0} = f.{0}").format(Identifier(name)) for name in KEY[part.relation]]
            cursor.execute(sql.GIVE_WAY.format(partition=partition, same=SQL(" AND ").join(pairs)))
        columns = SQL(", ").join(map(Identifier, names))
        cursor.execute(sql.BRING_BACK.format(partition=partition, columns=columns))
        cursor.execute(sql.DROP_FILED)

    def _load(self, cursor: Cursor, relation: str, path: Path) -> list[str]:
        """The file's rows into the temporary table `filed`; the names of its columns."""
        names: list[str] = pq.read_schema(path).names
        columns = SQL(", ").join(map(Identifier, names))
        cursor.execute(sql.FILED.format(columns=columns, relation=Identifier("market", relation)))
        for rows in read_part(path):
            copy_in(cursor, f"pg_temp.filed ({columns.as_string(cursor)})", rows)
        return names

    def _schema(self, cursor: Cursor, relation: str) -> pa.Schema:
        """The table's columns as it has them now."""
        rows = cursor.execute(sql.COLUMNS, (relation,)).fetchall()
        return pa.schema([(row["name"], arrow_type(row["kind"])) for row in rows])

    def _next_number(self, cursor: Cursor, relation: str, day: date) -> int:
        """Beyond every part in the catalogue and every file in the folder, whosever it is."""
        known = [part.part for part in _parts(cursor, relation, day)]
        folder = (self._folder / _file(relation, day, 0)).parent
        known += [int(file.stem.removeprefix("part-")) for file in folder.glob("part-*.parquet")]
        return max(known, default=0) + 1

    def _remove(self, parts: Sequence[Part]) -> None:
        for part in parts:
            (self._folder / part.file).unlink(missing_ok=True)

    @contextmanager
    def _locked(self, relation: str, day: date) -> Iterator[None]:
        """No other archive works on this day meanwhile. Raises psycopg.errors.LockNotAvailable if one does."""
        self._connection.execute(sql.LOCK_DAY, (relation, day))
        try:
            yield
        finally:
            if not self._connection.closed:
                self._connection.execute(sql.UNLOCK_DAY, (relation, day))


def _parts(cursor: Cursor, relation: str | None = None, day: date | None = None) -> list[Part]:
    chosen = " WHERE relation = %s AND day = %s" if relation else ""
    cursor.execute(f"{sql.CATALOGUE}{chosen} ORDER BY relation, day, part", (relation, day) if relation else None)
    return [Part(**row) for row in cursor.fetchall()]


def _figures(cursor: Cursor, rows: Identifier, names: Sequence[str]) -> Figures:
    columns = SQL(", ").join(map(Identifier, names))
    return Figures(**_only(cursor.execute(sql.FIGURES.format(columns=columns, rows=rows))))


def _partition(relation: str, day: date) -> Identifier:
    return Identifier("market", f"{relation}_p{day:%Y%m%d}")


def _file(relation: str, day: date, number: int) -> str:
    return f"{relation}/day={day}/part-{number:04d}.parquet"


def _only(cursor: psycopg.Cursor[Any]) -> Any:
    row = cursor.fetchone()
    assert row is not None  # an aggregate, or RETURNING
    return row
