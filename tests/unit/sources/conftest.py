from tests.unit.sources.answers import server

__all__ = ["server"]
