"""A side's start, in a process of its own: `python -m benchmarks.backfill_parts.start ours|polars FILE`.

Prints seconds of the imports, and of the first call on the file, which should be small.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path


def main(side: str, file: Path) -> None:
    began = time.perf_counter()
    if side == "ours":
        from spark_jobs import as_of  # noqa: F401 - what is measured

        imported = time.perf_counter()
        from benchmarks.backfill_parts.sides import ours

        ours(file)
    else:
        from benchmarks.backfill_parts import reference

        imported = time.perf_counter()
        reference.figures(file)
    print(json.dumps({"imports": imported - began, "first_call": time.perf_counter() - imported}))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
