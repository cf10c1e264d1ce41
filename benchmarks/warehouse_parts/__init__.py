"""The parts of the warehouse's benchmark; `benchmarks/warehouse.py` runs them."""
