"""A TCP proxy in front of PostgreSQL that swallows the answer to a COMMIT and breaks the connection."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit, urlunsplit

#: A simple query of the wire protocol: its letter, its length, its text.
COMMIT = b"Q\x00\x00\x00\x0bCOMMIT\x00"


class CommitCutter:
    """Listens on `port`; after `arm()` the next COMMIT reaches the server and its answer reaches nobody."""

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._armed = 0
        self._lock = threading.Lock()
        self.cuts = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def arm(self, times: int) -> None:
        with self._lock:
            self._armed += times

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return  # closed
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, socket.create_connection(self._target) as server:
            cut = threading.Event()
            back = threading.Thread(target=self._answers, args=(server, client, cut), daemon=True)
            back.start()
            try:
                while data := client.recv(65_536):
                    if data.endswith(COMMIT) and self._takes():
                        cut.set()
                    server.sendall(data)
            except OSError:
                pass  # one side went: so does the other
            server.close()
            back.join(10)

    def _answers(self, server: socket.socket, client: socket.socket, cut: threading.Event) -> None:
        try:
            while data := server.recv(65_536):
                if cut.is_set():
                    # The server has done it and says so; the client sees a broken connection.
                    self.cuts += 1
                    client.shutdown(socket.SHUT_RDWR)
                    return
                client.sendall(data)
        except OSError:
            return

    def _takes(self) -> bool:
        with self._lock:
            taken = self._armed > 0
            self._armed -= taken
        return taken


@contextmanager
def cutting(database_url: str) -> Iterator[tuple[CommitCutter, str]]:
    """The proxy, and the URL that goes through it."""
    parts = urlsplit(database_url)
    cutter = CommitCutter(parts.hostname or "127.0.0.1", parts.port or 5432)
    login = parts.netloc.rsplit("@", 1)[0]
    try:
        yield cutter, urlunsplit(parts._replace(netloc=f"{login}@127.0.0.1:{cutter.port}"))
    finally:
        cutter.close()
