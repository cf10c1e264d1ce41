"""Where our own log lines go: structured, to standard error, so that standard output stays for results."""

from __future__ import annotations

import sys

import structlog


def log_to_stderr() -> None:
    """Configure structlog for a command or a service of ours."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            # Plain traces: the rich ones print local variables, and those may hold a password.
            structlog.dev.ConsoleRenderer(
                colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
            ),
        ],
        logger_factory=structlog.PrintLoggerFactory(file=sys.stderr),
    )
