"""Settings: where they come from, what an empty one means, and that nothing is lost on the way."""

from __future__ import annotations

from pathlib import Path

import pytest

from include import settings as module
from include.errors import SettingsError
from include.settings import load_settings
from include.stack.plan import as_line


@pytest.fixture(autouse=True)
def dotenv(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A `.env` of the test's own, no setting in the environment, and a home without a stack."""
    for name in module.Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv("PIPELINE_HOME", str(tmp_path / "no stack"))
    file = tmp_path / ".env"
    monkeypatch.setattr(module, "_DOTENV", file)
    return file


def test_an_empty_list_of_symbols_means_none_and_any_other_empty_setting_its_default(dotenv: Path) -> None:
    dotenv.write_text("STOCK_SYMBOLS=\nREPLAY_DATA_DIR=\nDATABASE_URL=\nWATERMARK_SECONDS=\n")
    chosen = load_settings()
    assert chosen.stock_symbols == ()
    assert chosen.crypto_symbols != ()
    assert (chosen.replay_data_dir, chosen.database_url, chosen.watermark_seconds) == (None, None, 600)


def test_symbols_are_trimmed_upper_case_and_named_once(dotenv: Path) -> None:
    dotenv.write_text("STOCK_SYMBOLS= aapl, BRK-B,AAPL ,\n")
    assert load_settings().stock_symbols == ("AAPL", "BRK-B")


def test_the_environment_goes_before_the_running_stack_and_that_before_the_dotenv(
    dotenv: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("PIPELINE_HOME")
    home = tmp_path / "a home"
    (home / "sandbox").mkdir(parents=True)
    dotenv.write_text(f"PIPELINE_HOME={home}\nWATERMARK_SECONDS=1\nSTOCK_SYMBOLS=IBM\nINGESTION_INTERVAL_SECONDS=30\n")
    (home / "active").write_text("sandbox")
    (home / "sandbox" / "stack.env").write_text("WATERMARK_SECONDS=2\nSTOCK_SYMBOLS=MSFT\n")
    monkeypatch.setenv("WATERMARK_SECONDS", "3")
    chosen = load_settings()
    assert (chosen.watermark_seconds, chosen.stock_symbols, chosen.ingestion_interval_seconds) == (3, ("MSFT",), 30)
    assert load_settings(with_stack=False).stock_symbols == ("IBM",)


@pytest.mark.parametrize("secret", ["plain", "a b #c", "it's", 'say "x"', "$x", "back\\slash", "'quoted'"])
def test_a_value_survives_the_way_through_the_file(dotenv: Path, secret: str) -> None:
    dotenv.write_text(as_line("SMTP_PASSWORD", secret) + "\n")
    held = load_settings().smtp_password
    assert held is not None
    assert held.get_secret_value() == secret


def test_what_the_file_cannot_hold_is_refused_by_name() -> None:
    with pytest.raises(SettingsError, match="SMTP_PASSWORD"):
        as_line("SMTP_PASSWORD", "${HOME}")


def test_an_ordinary_line_is_not_quoted() -> None:
    assert as_line("DATABASE_URL", "postgresql://u:p@127.0.0.1:1/d") == "DATABASE_URL=postgresql://u:p@127.0.0.1:1/d"
