"""The way out of the journal: each destination at its own pace, nothing twice unless it failed; a real HTTP server."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from pydantic import AnyHttpUrl, SecretStr

from include.errors import PublishError
from include.operations import lineage_shipping
from include.operations.lineage_journal import Journal
from include.operations.lineage_shipping import Way, ship, to_server, ways
from include.settings import Settings


class Taker:
    def __init__(self, name: str) -> None:
        self.way = Way(name, self._take)
        self.taken: list[int] = []
        self.is_away = False

    def _take(self, lines: list[bytes]) -> None:
        if self.is_away:
            raise PublishError("away")
        self.taken += [json.loads(line)["n"] for line in lines]


def event(n: int) -> dict[str, object]:
    return {"n": n, "job": {"namespace": "space", "name": "job"}}


def test_each_way_goes_on_where_it_was(tmp_path: Path) -> None:
    journal, kafka, server = Journal(tmp_path / "lineage"), Taker("kafka"), Taker("server")
    memory = tmp_path / "lineage" / "sent.json"
    journal.append(event(1))
    assert ship(journal, [kafka.way], memory) == {"kafka": "1 sent"}
    server.is_away = True
    journal.append(event(2))
    both = [server.way, kafka.way]
    assert ship(journal, both, memory) == {"server": "not sent: away", "kafka": "1 sent"}
    server.is_away = False
    journal.append(event(3))
    assert ship(journal, both, memory) == {"server": "3 sent", "kafka": "1 sent"}
    assert ship(journal, both, memory) == {"server": "0 sent", "kafka": "0 sent"}
    assert (kafka.taken, server.taken) == ([1, 2, 3], [1, 2, 3])


def test_a_line_that_was_cut_short_is_passed_over(tmp_path: Path) -> None:
    journal, kafka = Journal(tmp_path), Taker("kafka")
    journal.append(event(1))
    with journal.file.open("ab") as file:
        file.write(b'{"n": 2, "job": {"na\n[]\n')
    journal.append(event(3))
    assert ship(journal, [kafka.way], tmp_path / "sent.json") == {"kafka": "2 sent"}
    assert kafka.taken == [1, 3]


def test_what_is_gone_before_it_was_sent_is_said_but_not_to_a_way_that_is_new(tmp_path: Path) -> None:
    journal, kafka, server = Journal(tmp_path, limit=200), Taker("kafka"), Taker("server")
    journal.append(event(0))
    ship(journal, [kafka.way], tmp_path / "sent.json")
    for n in range(1, 20):
        journal.append(event(n))
    told = ship(journal, [kafka.way, server.way], tmp_path / "sent.json")
    assert "bytes gone before they were" in told["kafka"]
    assert "gone" not in told["server"]
    assert kafka.taken[-1] == server.taken[-1] == 19


def test_a_long_absence_is_made_up_for_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lineage_shipping, "SENT_AT_MOST", 10)
    monkeypatch.setattr(Journal, "read", lambda self, place, read=Journal.read: read(self, place, 100))
    journal, kafka = Journal(tmp_path), Taker("kafka")
    journal.append(*map(event, range(30)))
    ship(journal, [kafka.way], tmp_path / "sent.json")
    assert 10 <= len(kafka.taken) < 15
    for _ in range(3):
        ship(journal, [kafka.way], tmp_path / "sent.json")
    assert kafka.taken == list(range(30))


@pytest.fixture
def server() -> Iterator[tuple[str, list[tuple[str, str | None, bytes]], list[int]]]:
    """A server's address, what it was asked, and the codes that it answers with, the last one for ever."""
    asked: list[tuple[str, str | None, bytes]] = []
    codes = [201]

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            asked.append((self.path, self.headers.get("Authorization"), body))
            self.send_response(codes.pop(0) if len(codes) > 1 else codes[0])
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    running = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=running.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{running.server_port}", asked, codes
    running.shutdown()
    thread.join()
    running.server_close()


def test_a_server_gets_each_event_with_the_key(
    server: tuple[str, list[tuple[str, str | None, bytes]], list[int]],
) -> None:
    address, asked, _ = server
    chosen = Settings(
        kafka_bootstrap_servers="nowhere:1", openlineage_url=AnyHttpUrl(address), openlineage_api_key=SecretStr("k3y")
    )
    way = ways(chosen)[1]
    way.send([b'{"n":1}', b'{"n":2}'])
    assert asked == [("/api/v1/lineage", "Bearer k3y", b'{"n":1}'), ("/api/v1/lineage", "Bearer k3y", b'{"n":2}')]
    assert [each.name for each in ways(Settings(kafka_bootstrap_servers="nowhere:1"))] == ["kafka"]


def test_a_bad_event_is_passed_over_and_a_server_in_trouble_is_not(
    server: tuple[str, list[tuple[str, str | None, bytes]], list[int]],
) -> None:
    address, asked, codes = server
    codes[:] = [422, 201, 503]
    to_server(address, None, [b"bad", b"good"])
    assert [each[1] for each in asked] == [None, None]
    with pytest.raises(PublishError, match="answers 503"):
        to_server(address, None, [b"good"])
    with pytest.raises(PublishError, match="ConnectError"):
        to_server("http://127.0.0.1:1", None, [b"good"])
