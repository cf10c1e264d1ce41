"""A local HTTP server that answers with given bodies and remembers what it was asked."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from typing import Literal
from urllib.parse import parse_qs, urlsplit

import pytest


@dataclass(frozen=True)
class Answer:
    body: bytes
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    #: How it fails to come: not at all, cut short, or a byte now and then from here on.
    trouble: Literal["", "mute", "cut", "slow headers", "slow body"] = ""


@dataclass
class AnswerServer:
    """`answers` are given in order, the last one again and again; `asked` has (path, query)."""

    answers: list[Answer] = field(default_factory=list)
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    #: The lower-case headers of the last question.
    headers: dict[str, str] = field(default_factory=dict)
    url: str = ""
    #: Ends what hangs on purpose.
    closing: Event = field(default_factory=Event)

    def take(self, target: str) -> Answer:
        parts = urlsplit(target)
        self.asked.append((parts.path, {name: values[0] for name, values in parse_qs(parts.query).items()}))
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


class _Server(ThreadingHTTPServer):
    def __init__(self, answers: AnswerServer) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers = answers


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        answers = self.server.answers
        answer = answers.take(self.path)
        answers.headers = {name.lower(): value for name, value in self.headers.items()}
        if answer.trouble == "mute":
            answers.closing.wait()
            return
        if answer.trouble == "slow headers":
            self.drip(b"HTTP/1.1 200 OK\r\nX-Long: ")
            return
        # `Date` is the answer's own where it has one: a recorded day has its own clock.
        self.send_response_only(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        missing = 10_000 if answer.trouble else 0
        self.send_header("Content-Length", str(len(answer.body) + missing))
        self.end_headers()
        if answer.trouble == "slow body":
            self.drip(answer.body)
            return
        self.wfile.write(answer.body)
        self.close_connection = bool(missing)

    def drip(self, first: bytes) -> None:
        self.close_connection = True
        while not self.server.answers.closing.wait(0.02):
            try:
                self.wfile.write(first or b"x")
            except OSError:
                return
            first = b""

    def do_CONNECT(self) -> None:
        self.server.answers.asked.append((self.path, {}))
        self.send_error(403)

    def log_message(self, *_: object) -> None:
        """Quiet."""


@contextmanager
def serving() -> Iterator[AnswerServer]:
    answers = AnswerServer()
    server = _Server(answers)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    answers.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield answers
    finally:
        answers.closing.set()
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def server() -> Iterator[AnswerServer]:
    with serving() as answers:
        yield answers
