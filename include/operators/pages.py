"""Where Airflow finds the pages that it frames."""

from __future__ import annotations

from include.settings import load_settings


def dashboard_url() -> str:
    """DASHBOARD_URL of the running stack; this machine's port where none is set. Without a slash at its end."""
    chosen = load_settings()
    return str(chosen.dashboard_url or f"http://127.0.0.1:{chosen.ports.dashboard}").rstrip("/")
