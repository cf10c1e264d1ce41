"""How the sandbox is served: uvicorn, with the websocket manners of the exchanges."""

from __future__ import annotations

import uvicorn
from starlette.applications import Starlette
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

PING_SECONDS, PONG_SECONDS = 20.0, 60.0


class PingingProtocol(WebSocketsSansIOProtocol):
    """Pings unless the application holds it back, by `pings` in the connection's state."""

    def send_keepalive_ping(self) -> None:
        pings = self.scope.get("state", {}).get("pings")
        if pings is None or pings():
            super().send_keepalive_ping()
        else:
            self.schedule_ping()


def server(app: Starlette, host: str, port: int, ping_seconds: float = PING_SECONDS) -> uvicorn.Server:
    """Not yet running; `run()` serves until it is told to stop."""
    return uvicorn.Server(
        uvicorn.Config(
            app,
            host=host,
            port=port,
            ws=PingingProtocol,
            ws_ping_interval=ping_seconds,
            ws_ping_timeout=PONG_SECONDS,
            log_level="warning",
            # Connections of clients that stay would hold up a stop.
            timeout_graceful_shutdown=2,
        )
    )
