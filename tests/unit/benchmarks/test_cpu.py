from __future__ import annotations

import subprocess
import sys

from benchmarks.stream_parts.cpu import cpu_seconds, less

#: Its child burns a third of a second and ends; it stays until its input ends.
_PARENT = """
import subprocess, sys
burn = "import time\\nwhile time.process_time() < 0.33: pass"
subprocess.run([sys.executable, "-S", "-c", burn], check=True)
print("done", flush=True)
sys.stdin.read()
"""


def test_children_that_ended_are_counted() -> None:
    command = [sys.executable, "-S", "-c", _PARENT]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"done\n"
        found = cpu_seconds({"side": process.pid})
        process.communicate()
    assert 0.3 <= found["side"] < 3


def test_a_side_that_is_gone_has_spent_nothing_more() -> None:
    with subprocess.Popen([sys.executable, "-S", "-c", ""]) as process:
        process.wait()
    assert cpu_seconds({"side": process.pid}) == {"side": 0.0}


def test_a_side_that_came_later_counts_from_nothing() -> None:
    assert less({"a": 3.0, "b": 1.0}, {"a": 2.0}) == {"a": 1.0, "b": 1.0}
