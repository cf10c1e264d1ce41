"""The parts of the stream's benchmark; `benchmarks/stream.py` runs them."""
