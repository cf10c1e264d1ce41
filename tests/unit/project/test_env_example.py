from __future__ import annotations

import re
from pathlib import Path

import pytest

from include.settings import PROJECT_ROOT, Settings

EXAMPLE = PROJECT_ROOT / ".env.example"
_SETTING = re.compile(r"#([A-Z][A-Z0-9_]*)=(.*)")


def shown() -> dict[str, str]:
    """Setting name to the default that the file shows."""
    found = [_SETTING.fullmatch(line) for line in EXAMPLE.read_text().splitlines()]
    pairs = [(match[1], match[2]) for match in found if match]
    assert len(pairs) == len(dict(pairs)), "a setting stands there twice"
    return dict(pairs)


def defaults() -> Settings:
    """What holds when nothing is set anywhere."""
    return Settings.model_construct()


def test_it_names_every_setting_and_no_other() -> None:
    assert set(shown()) == {name.upper() for name in Settings.model_fields}


def test_it_can_be_copied_as_it_is() -> None:
    assert not [line for line in EXAMPLE.read_text().splitlines() if line and not line.startswith("#")]


@pytest.mark.parametrize("name", sorted(Settings.model_fields))
def test_the_default_that_is_shown_is_the_real_one(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    value, default = shown()[name.upper()], getattr(defaults(), name)
    if not value:
        assert default is None
        return
    for field in Settings.model_fields:
        monkeypatch.delenv(field.upper(), raising=False)
    dotenv = tmp_path / ".env"
    dotenv.write_text(f"{name.upper()}={value}\n")
    assert getattr(Settings(_env_file=dotenv), name) == default  # type: ignore[call-arg]


def test_every_setting_is_explained_above_its_line() -> None:
    explained = False
    for line in EXAMPLE.read_text().splitlines():
        if not line or line.startswith("# ---"):
            explained = False
        elif _SETTING.fullmatch(line):
            assert explained, line
        else:
            explained = True
