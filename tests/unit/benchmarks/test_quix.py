"""Quix's packages: pinned by hash, and their absence said in one line."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from benchmarks.stream_parts import quix


def test_every_package_is_pinned_by_hash() -> None:
    packages = re.split(r"^(?=[a-z])", quix.REQUIREMENTS.read_text(), flags=re.MULTILINE)[1:]
    assert any(package.startswith("quixstreams==") for package in packages)
    for package in packages:
        assert re.match(r"[\w.-]+==\S+", package)
        assert "--hash=sha256:" in package


def test_the_application_is_of_the_version_that_is_asked_for() -> None:
    asked = quix.REQUIREMENTS.with_suffix(".in").read_text().strip()
    assert f"\n{asked} \\\n" in quix.REQUIREMENTS.read_text()


def test_without_an_index_the_reason_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIPELINE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("UV_OFFLINE", "1")
    with pytest.raises(quix.NoQuix, match="^Quix Streams cannot be installed here .+") as refusal:
        quix.environment()
    assert "\n" not in str(refusal.value)
    # What was half made is made anew the next time.
    with pytest.raises(quix.NoQuix):
        quix.environment()
