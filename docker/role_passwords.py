"""Gives the three pipeline roles the passwords of their secret files: `role_passwords.py DIR`."""

from __future__ import annotations

import sys
from pathlib import Path

from include.settings import required, settings
from include.storage.database import set_role_passwords

ROLES = ("pipeline_writer", "pipeline_reader", "pipeline_checker")


def main(secrets: Path) -> None:
    url = required(settings().database_url, "DATABASE_URL")
    set_role_passwords(url, {role: (secrets / role).read_text() for role in ROLES})


if __name__ == "__main__":
    main(Path(sys.argv[1]))
