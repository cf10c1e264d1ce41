"""Revisions that exist for a test only, behind those of the product."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from alembic.script import ScriptDirectory

from include.storage import migrate

_FILE = '''"""A trial."""

from alembic import op

revision = {revision!r}
down_revision = {before!r}
branch_labels = None
depends_on = None


def upgrade() -> None:
    for statement in {up!r}:
        op.execute(statement)


def downgrade() -> None:
    for statement in {down!r}:
        op.execute(statement)
'''


class Trials:
    """A folder that is looked for revisions too."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._numbers = itertools.count(1)
        #: The newest revision of the product.
        self.head = self._newest()

    def add(self, up: Sequence[str], down: Sequence[str] = ()) -> str:
        """A revision behind the newest; its name."""
        revision = f"trial{next(self._numbers)}"
        text = _FILE.format(revision=revision, before=self._newest(), up=tuple(up), down=tuple(down))
        (self._folder / f"{revision}.py").write_text(text)
        return revision

    def _newest(self) -> str:
        head = ScriptDirectory.from_config(migrate._config("postgresql://nowhere/none", None)).get_current_head()
        assert head is not None
        return head


@contextmanager
def trial_revisions(folder: Path) -> Iterator[Trials]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(migrate, "VERSIONS", (*migrate.VERSIONS, folder))
        yield Trials(folder)
