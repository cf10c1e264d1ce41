"""The parts of the backfill's benchmark; `benchmarks/backfill.py` runs them."""
