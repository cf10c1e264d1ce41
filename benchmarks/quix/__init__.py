"""The same candles by a Quix Streams application: see app.py, which runs in an environment of its own."""
