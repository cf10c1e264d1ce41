"""Where alerts arrive in tests: a real webhook and a real mail server with STARTTLS, both on this machine."""

from __future__ import annotations

import asyncio
import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

HOST = "127.0.0.1"


@dataclass
class Webhook:
    """`texts` are those that came; it answers `status`."""

    url: str = ""
    status: int = 200
    texts: list[str] = field(default_factory=list)


@contextmanager
def webhook(secret: str = "T0/B0/verysecret") -> Iterator[Webhook]:
    box = Webhook()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            if box.status == 200:
                box.texts.append(json.loads(body)["text"])
            self.send_response(box.status)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """The test's output is for the test."""

    server = ThreadingHTTPServer((HOST, 0), Handler)
    box.url = f"http://{HOST}:{server.server_port}/services/{secret}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield box
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@dataclass
class MailServer:
    """`inbox` are the messages that came over TLS, `logins` who said who they are; `refuses` answers no to any mail."""

    port: int = 0
    authority: Path = Path()
    offers_tls: bool = True
    refuses: bool = False
    inbox: list[Message] = field(default_factory=list)
    logins: list[str] = field(default_factory=list)

    def trusted(self) -> ssl.SSLContext:
        """What a client needs to believe this server."""
        return ssl.create_default_context(cafile=str(self.authority))


@contextmanager
def mail_server(folder: Path) -> Iterator[MailServer]:
    box = MailServer(authority=folder / "certificate.pem")
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(*_certificate(folder))
    loop = asyncio.new_event_loop()
    started = threading.Event()
    ended = asyncio.Event()

    async def serve() -> None:
        server = await asyncio.start_server(lambda reader, writer: _talk(box, tls, reader, writer), HOST, 0)
        box.port = server.sockets[0].getsockname()[1]
        started.set()
        await ended.wait()
        server.close()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    assert started.wait(10)
    try:
        yield box
    finally:
        loop.call_soon_threadsafe(ended.set)
        thread.join()
        loop.close()


async def _talk(
    box: MailServer, tls: ssl.SSLContext, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    """As much of SMTP as smtplib speaks."""

    async def say(line: str) -> None:
        writer.write(f"{line}\r\n".encode())
        await writer.drain()

    is_safe = False
    await say("220 ready")
    while line := (await reader.readline()).decode().strip():
        verb = line.split()[0].upper()
        if verb == "EHLO":
            await say("250-here")
            await say("250 AUTH PLAIN" if is_safe or not box.offers_tls else "250 STARTTLS")
        elif verb == "STARTTLS":
            await say("220 go")
            await writer.start_tls(tls)
            is_safe = True
        elif verb == "AUTH":
            box.logins.append(line.split()[-1])
            await say("235 welcome")
        elif verb == "DATA":
            await say("354 go on")
            body = await reader.readuntil(b"\r\n.\r\n")
            if is_safe:
                box.inbox.append(message_from_bytes(body[:-5]))
            await say("250 taken")
        elif verb == "MAIL" and box.refuses:
            await say("550 not from you, and here is what you sent: secret")
        elif verb == "QUIT":
            await say("221 bye")
            break
        else:
            await say("250 fine")
    writer.close()


def _certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate for this machine that signs itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, HOST)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address(HOST))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    files = folder / "certificate.pem", folder / "key.pem"
    files[0].write_bytes(made.public_bytes(serialization.Encoding.PEM))
    files[1].write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return files
