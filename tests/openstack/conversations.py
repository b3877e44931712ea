"""One list of conversations, held with any proxy of consoles, each with what came of it."""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.e2e import fake_targets
from tests.e2e.fake_targets import FakeTarget, read_exactly, rfb_handshake
from tests.openstack.cloud import Cell, Console
from tests.openstack.conversation import BINARY, CLOSE, PING, TEXT, Client, Ended, Handshake

_LITE = "http://127.0.0.1/vnc_lite.html"


@dataclass
class Stage:
    """Where conversations are held.

    Attributes:
        port: of the proxy.
        cell: makes machines and tokens.
        host: of a compute that has every machine's console at ``target``.
        target: a console that echoes.
        opened: what is to be closed behind a conversation.
    """

    port: int
    cell: Cell
    host: str
    target: FakeTarget
    opened: list[Callable[[], None]] = field(default_factory=list)

    def console(self, port: int | None = None, known: bool = True, **changes: object) -> Console:
        """Return a machine's console; its compute says no to it unless ``known``."""
        port = port or self.target.port
        console = self.cell.console(self.host, port, **{"access_url_base": _LITE, **changes})
        if known:
            kind = str(changes.get("console_type", "novnc"))
            self.cell.nova.do(
                "add_console", host=self.host, uuid=console.uuid, port=port, kind=kind
            )
        return console

    def change(self, console: Console, column: str, value: str) -> None:
        """Change a column of a token's row."""
        self.cell.sql(
            f"UPDATE console_auth_tokens SET {column} = {value} "
            f"WHERE instance_uuid = '{console.uuid}'"
        )

    def target_of(self, script: fake_targets.Script) -> int:
        """Return the port of another target."""
        target = FakeTarget(script)
        self.opened.append(target.stop)
        return target.port

    def connect(self) -> Client:
        """Return a new connection to the proxy."""
        client = Client(self.port)
        self.opened.append(client.close)
        return client

    def upgrade(self, target: str, **headers: str | None) -> tuple[Client, str]:
        """Send a handshake; return the connection and the answer's status."""
        client = self.connect()
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        client.say(Handshake(target, named).wire())
        return client, client.status()

    def try_open(self, target: str, **headers: str | None) -> str:
        """Return what becomes of a browser that opens a console so."""
        client, status = self.upgrade(target, **headers)
        if not status.startswith("101"):
            return status
        return f"{status}, {outcome(client.open_console, client)}"

    def session(self, port: int | None = None) -> Client:
        """Return the connection of a browser whose console is open."""
        client, _ = self.upgrade(f"/?token={self.console(port).token}")
        assert client.open_console() == "opens"
        return client


def outcome(talk: Callable[[], str], client: Client) -> str:
    """Return what came of a talk; where it was told why not, also how it ended."""
    try:
        said = talk()
    except Ended as end:
        return str(end)
    if not said.startswith("told: "):
        return said
    close = client.rest().replace(said.removeprefix("told: "), "").strip()  # said twice
    return f"{said} {close}"


def _unmask(stage: Stage) -> str:
    client = stage.session()
    client.frame(BINARY, b"x", mask=False)
    return client.rest()


def _text(stage: Stage) -> str:
    client = stage.session()
    client.frame(TEXT, b"x")
    return client.rest()


def _ping(stage: Stage) -> str:
    client = stage.session()
    client.frame(PING, b"hello")
    opcode, payload = client.next_frame()
    return f"opcode {opcode}, {payload.decode()}"


def _fragments(stage: Stage) -> str:
    client = stage.session()
    client.frame(BINARY, b"one ", final=False)
    client.frame(PING, b"")
    client.frame(0, b"message")
    return client.read(11).decode()


def _empty(stage: Stage) -> str:
    client = stage.session()
    client.send(b"")
    client.send(b"still here")
    return client.read(10).decode()


def _closes(payload: bytes) -> Callable[[Stage], str]:
    def talk(stage: Stage) -> str:
        client = stage.session()
        client.frame(CLOSE, payload)
        return client.rest()

    return talk


def _target_closes(stage: Stage) -> str:
    return stage.session(stage.target_of(rfb_handshake)).rest()


def _pipelined(stage: Stage) -> str:
    client, _ = stage.upgrade(f"/?token={stage.console().token}")
    client.patience_s = 5  # with nova it waits for ever
    client.send(b"RFB 003.008\n\x01\x01")
    return outcome(lambda: "opens" if client.read(12 + 2 + 4 + 28) else "", client)


def _rfb(version: bytes = b"RFB 003.008\n", choice: bytes = b"\x01") -> Callable[[Stage], str]:
    def talk(stage: Stage) -> str:
        client, _ = stage.upgrade(f"/?token={stage.console().token}")
        return outcome(lambda: client.open_console(version, choice), client)

    return talk


def _with_target(script: fake_targets.Script, path: str | None = None) -> Callable[[Stage], str]:
    def talk(stage: Stage) -> str:
        console = stage.console(stage.target_of(script), internal_access_path=path)
        return stage.try_open(f"/?token={console.token}")

    return talk


def _password(connection: socket.socket) -> None:
    connection.sendall(b"RFB 003.008\n")
    read_exactly(connection, 12)
    connection.sendall(b"\x01\x02")
    connection.recv(1)


def _no_types(connection: socket.socket) -> None:
    connection.sendall(b"RFB 003.008\n")
    read_exactly(connection, 12)
    connection.sendall(b"\x00\x00\x00\x00\x08too busy")


def _split(connection: socket.socket) -> None:
    for piece in (b"RFB 003", b".008\n"):
        connection.sendall(piece)
    read_exactly(connection, 12)
    connection.sendall(b"\x03\x01\x02\x63")  # None, a password, and a type that nobody knows
    read_exactly(connection, 1)
    connection.sendall(bytes(4))
    read_exactly(connection, 1)
    connection.sendall(fake_targets.SERVER_INIT)
    connection.recv(1)


def _connect(connection: socket.socket) -> None:
    request = b""
    while not request.endswith(b"\r\n\r\n"):
        request += read_exactly(connection, 1)
    assert request.startswith(b"CONNECT /path HTTP/1.1\r\n")
    connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
    fake_targets.echo(connection)


def _get(path: str, method: str = "GET") -> Callable[[Stage], str]:
    def talk(stage: Stage) -> str:
        client = stage.connect()
        client.say(f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
        return client.status()

    return talk


def _opens(target: str = "/?token={token}", **headers: str | None) -> Callable[[Stage], str]:
    def talk(stage: Stage) -> str:
        token = stage.console().token
        filled = {name: value and value.format(token=token) for name, value in headers.items()}
        return stage.try_open(target.format(token=token), **filled)

    return talk


def _row(column: str, value: str, **headers: str | None) -> Callable[[Stage], str]:
    def talk(stage: Stage) -> str:
        console = stage.console()
        stage.change(console, column, value)
        return stage.try_open(f"/?token={console.token}", **headers)

    return talk


def _base(base: str, **headers: str | None) -> Callable[[Stage], str]:
    return lambda stage: stage.try_open(
        f"/?token={stage.console(access_url_base=base).token}", **headers
    )


def _deleted(stage: Stage) -> str:
    console = stage.console()
    stage.cell.sql(f"UPDATE instances SET deleted = id WHERE uuid = '{console.uuid}'")
    return stage.try_open(f"/?token={console.token}")


def _moved(stage: Stage) -> str:
    console = stage.console()
    stage.cell.nova.do("move", uuid=console.uuid, host="a-host-that-is-down")
    return stage.try_open(f"/?token={console.token}")


def _twice(stage: Stage) -> str:
    token = stage.console().token
    return " and ".join(stage.try_open(f"/?token={token}") for _ in range(2))


def _serial(stage: Stage) -> str:
    port = stage.target_of(lambda connection: connection.sendall(b"RFB 003.008\nlogin:"))
    return stage.try_open(f"/?token={stage.console(port, console_type='serial').token}")


def _refusing(stage: Stage) -> str:
    target = FakeTarget(fake_targets.echo)
    target.stop()
    return stage.try_open(f"/?token={stage.console(target.port).token}")


CONVERSATIONS: dict[str, Callable[[Stage], str]] = {
    "a token in the query": _opens(),
    "any path": _opens("/novnc/websockify?x=1&token={token}"),
    "a token in a cookie": _opens("/", Cookie="a=b; token={token}"),
    "a quoted cookie": _opens("/", Cookie='token="{token}"'),
    "a malformed part of a cookie": _opens("/", Cookie="a[b]=c; token={token}"),
    "two tokens in the query": _opens("/?token=bad&token={token}"),
    "a token in the query and the same again": _opens("/?token={token}&token={token}"),
    "a bad token in the query, a good cookie": _opens("/?token=bad", Cookie="token={token}"),
    "an empty token in the query, a good cookie": _opens("/?token=", Cookie="token={token}"),
    "no token": _opens("/"),
    "an unknown token": _opens("/?token=6f1c2d3e-4b5a-4c6d-8e7f-0123456789ab"),
    "a token twice": _twice,
    "an expired token": _row("expires", "unix_timestamp() - 1"),
    "a deleted machine": _deleted,
    "a port that is another machine's": lambda stage: stage.try_open(
        f"/?token={stage.console(known=False).token}"
    ),
    "a compute that is down": _moved,
    "a serial console's token": _serial,
    "an Origin of this host": _opens(Origin="http://127.0.0.1:6080"),
    "an Origin of another host": _opens(Origin="http://evil.example"),
    "an Origin with a user": _opens(Origin="http://evil@127.0.0.1:6080"),
    "an Origin of allowed_origins": _opens(Origin="http://dashboard.example"),
    "an empty Origin": _opens(Origin=""),
    "Origin: null": _opens(Origin="null"),
    "Origin: null, X-Forwarded-Proto": _opens(Origin="null", X_Forwarded_Proto="http"),
    "an https Origin, an http base": _opens(Origin="https://127.0.0.1"),
    "an http Origin, an https base": _base("https://h/vnc.html", Origin="http://127.0.0.1"),
    "X-Forwarded-Proto: https, an https base": _base(
        "https://h/vnc.html", Origin="http://127.0.0.1", X_Forwarded_Proto="https"
    ),
    "X-Forwarded-Proto: HTTPS": _base(
        "https://h/vnc.html", Origin="http://127.0.0.1", X_Forwarded_Proto="HTTPS"
    ),
    "X-Forwarded-Proto: https, http": _base(
        "https://h/vnc.html", Origin="http://127.0.0.1", X_Forwarded_Proto="https, http"
    ),
    "an empty X-Forwarded-Proto": _opens(Origin="http://127.0.0.1", X_Forwarded_Proto=""),
    "a wss base, an https Origin": _base("wss://h/", Origin="https://127.0.0.1"),
    "a ws base, an https Origin": _base("ws://h/", Origin="https://127.0.0.1"),
    "an IPv6 Host and Origin": _opens(Host="[::1]:6080", Origin="http://[::1]:6080"),
    "a Host in capitals": _opens(Host="LocalHost", Origin="http://localhost"),
    "a Host whose port is no number": _opens(Host="localhost:x", Origin="http://localhost"),
    "no Host": _opens(Host=None),
    "a row without access_url_base, no Origin": _row("access_url_base", "NULL"),
    "a row without access_url_base, an Origin": _row(
        "access_url_base", "NULL", Origin="http://127.0.0.1"
    ),
    "subprotocol binary": _opens(Sec_WebSocket_Protocol="binary"),
    "subprotocols binary, base64": _opens(Sec_WebSocket_Protocol="binary, base64"),
    "subprotocols base64, binary": _opens(Sec_WebSocket_Protocol="base64, binary"),
    "subprotocol base64": _opens(Sec_WebSocket_Protocol="base64"),
    "WebSocket version 8": _opens(Sec_WebSocket_Version="8"),
    "WebSocket version 12": _opens(Sec_WebSocket_Version="12"),
    "no Sec-WebSocket-Key": _opens(Sec_WebSocket_Key=None),
    "a Sec-WebSocket-Key that is none": _opens(Sec_WebSocket_Key="key"),
    "no Connection: Upgrade": _opens(Connection=None),
    "a text frame": _text,
    "an unmasked frame": _unmask,
    "a ping": _ping,
    "a fragmented message, a ping within": _fragments,
    "an empty message": _empty,
    "the browser closes": _closes(b"\x03\xe8bye"),
    "the browser closes without a code": _closes(b""),
    "the server closes": _target_closes,
    "the client's whole handshake in one message": _pipelined,
    "a client of RFB 3.3": _rfb(b"RFB 003.003\n"),
    "a client that chooses a password": _rfb(choice=b"\x02"),
    "a server that refuses connections": _refusing,
    "a server of RFB 3.3": _with_target(fake_targets.rfb_33),
    "a server that wants a password": _with_target(_password),
    "a server that offers nothing": _with_target(_no_types),
    "a server with a type that nobody knows": _with_target(_split),
    "internal_access_path": _with_target(_connect, path="/path"),
    "GET /vnc_lite.html": _get("/vnc_lite.html"),
    "GET /nothing": _get("/nothing"),
    "GET /app/": _get("/app/"),
    "GET /app": _get("/app"),
    "GET //example.com/%2F..": _get("//example.com/%2F.."),
    "GET ///example.com/%2F..": _get("///example.com/%2F.."),
    "GET /../../etc/passwd": _get("/../../etc/passwd"),
    "POST /": _get("/", "POST"),
}
