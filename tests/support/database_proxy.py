"""The fault proxy between the service and PostgreSQL: each statement is a call with a name.

It parses only as much of the frontend's messages (PostgreSQL's documentation, "Message Flow") as shows which statement
is about to be executed: `Query`, and `Parse` with the `Bind` that refers to it. Bytes pass unchanged.
"""

import asyncio
import re
from contextlib import closing, suppress
from urllib.parse import urlsplit

from tests.support.proxy import HOST, Connection, Fault, Plan, Proxy

_SSL_REQUEST, _CANCEL_REQUEST = 80877103, 80877102
_READY = b"Z\x00\x00\x00\x05"
_CALLS = (
    ("BEGIN", r"BEGIN"),
    ("COMMIT", r"COMMIT"),
    ("ROLLBACK", r"ROLLBACK"),
    ("ROW", r"INSERT INTO recipe .* FROM json_to_recordset"),
    ("ROW AND KEY", r"WITH given AS"),
    ("ROW AND UPLOAD", r"WITH completing AS"),
    ("PROBE", r"INSERT INTO recipe .*ON CONFLICT"),
    ("LOCK OWNER", r"SELECT pg_advisory_xact_lock"),
    ("COUNT UPLOADS", r"SELECT count\(\*\) FILTER"),
    ("ADD UPLOAD", r"INSERT INTO staged_upload"),
    ("READ UPLOAD", r"SELECT staged_upload\."),
    ("RELEASE UPLOAD", r"UPDATE staged_upload SET claim = NULL"),
    ("CLAIM UPLOAD", r"UPDATE staged_upload SET claim ?="),
    ("RECORD PIECE", r"UPDATE staged_upload SET piece_sizes"),
    ("END UPLOAD", r"UPDATE staged_upload SET .*ended_at="),
    ("REMOVE ENDED UPLOADS", r"DELETE FROM staged_upload WHERE id IN"),
    ("REQUEST DELETION", r"INSERT INTO pending_deletion"),
    ("CLAIM", r"INSERT INTO idempotency_key"),
    ("RENEW", r"UPDATE idempotency_key SET claimed_until"),
    ("REMOVE", r"DELETE FROM recipe"),
    ("READ", r"SELECT recipe\."),
    ("CLAIM RENDERING", r"INSERT INTO rendering"),
    ("RECORD", r"UPDATE recipe SET placeholder"),
    ("DONE", r"DELETE FROM rendering"),
    ("END", r"UPDATE rendering SET attempts"),
    ("FORGET", r"DELETE FROM pending_deletion"),
    ("RELEASE", r"DELETE FROM idempotency_key WHERE scope"),
)


def call_of(statement: str) -> str:
    """Return the name of a statement; OTHER if no test injects faults into it."""
    plain = " ".join(statement.split())
    return next((call for call, pattern in _CALLS if re.match(pattern, plain)), "OTHER")


class DatabaseProxy(Proxy):
    """Use as `with DatabaseProxy.before(database_url).running() as database`."""

    def __init__(self, upstream: tuple[str, int], address: str) -> None:
        super().__init__(upstream)
        self._address = address

    @classmethod
    def before(cls, database_url: str) -> "DatabaseProxy":
        """Return a proxy in front of a PostgreSQL server."""
        parts = urlsplit(database_url)
        assert parts.hostname
        return cls((parts.hostname, parts.port or 5432), database_url)

    @property
    def url(self) -> str:
        parts = urlsplit(self._address)
        login, _, _ = parts.netloc.rpartition("@")
        return parts._replace(netloc=f"{login}@{HOST}:{self.port}").geturl()

    async def serve(self, client: Connection) -> None:
        plan = self.script.next("CONNECT")
        if plan is not None and plan.fault is Fault.HELD:
            await plan.opened()
        elif plan is not None:
            await _harm(client, plan)
            return
        upstream = await self.connect()
        with closing(upstream):
            if await _started(client, upstream):
                await _Dialogue(self, client, upstream).run()


async def _harm(client: Connection, plan: Plan) -> None:
    """Inject a fault before the call reaches the server."""
    if plan.fault is Fault.STALLED:
        await client.hung_up()
    else:
        assert plan.fault is Fault.RESET
        client.reset()


async def _started(client: Connection, upstream: Connection) -> bool:
    """Forward the startup messages, which have no type byte; return False if no session follows."""
    while True:
        size = await client.reader.readexactly(4)
        rest = await client.reader.readexactly(int.from_bytes(size) - 4)
        await upstream.send(size + rest)
        code = int.from_bytes(rest[:4])
        if code == _CANCEL_REQUEST:
            await upstream.hung_up()
            return False
        if code != _SSL_REQUEST:
            return True
        await client.send(await upstream.reader.readexactly(1))  # N: the embedded server has no TLS


class _Dialogue:
    """One session after its startup."""

    def __init__(self, proxy: DatabaseProxy, client: Connection, upstream: Connection) -> None:
        self._proxy = proxy
        self._client = client
        self._upstream = upstream
        self._prepared: dict[bytes, str] = {}
        self._plan: Plan | None = None
        """The plan for the next response, if it is to be lost or stalled."""

    async def run(self) -> None:
        """Forward messages until either side or a fault ends the session."""
        ways = [asyncio.ensure_future(self._forth()), asyncio.ensure_future(self._back())]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)

    async def _forth(self) -> None:
        while True:
            head = await self._client.reader.readexactly(5)
            body = await self._client.reader.readexactly(int.from_bytes(head[1:]) - 4)
            call = self._call(head[:1], body)
            plan = self._proxy.script.next(call) if call else None
            if plan is not None and not await self._goes_on(plan):
                return
            await self._upstream.send(head + body)

    def _call(self, kind: bytes, body: bytes) -> str | None:
        if kind == b"Q":
            return call_of(body.rstrip(b"\0").decode())
        if kind == b"P":
            name, statement, _ = body.split(b"\0", 2)
            self._prepared[name] = call_of(statement.decode())
            return f"PREPARE {self._prepared[name]}"
        if kind == b"B":
            return self._prepared.get(body.split(b"\0", 2)[1])
        return None

    async def _goes_on(self, plan: Plan) -> bool:
        match plan.fault:
            case Fault.HELD:
                await plan.opened()
                return True
            case Fault.RESPONSE_LOST | Fault.RESPONSE_STALLED:
                self._plan = plan
                return True
            case _:
                await _harm(self._client, plan)
                return False

    async def _back(self) -> None:
        while data := await self._upstream.reader.read(65536):
            if self._plan is None:
                await self._client.send(data)
            elif data[-6:-1] == _READY:  # the statement has been executed
                await self._lose_response(self._plan)
                return

    async def _lose_response(self, plan: Plan) -> None:
        if plan.fault is Fault.RESPONSE_LOST:
            self._client.reset()
        else:
            with suppress(OSError):
                await asyncio.Event().wait()  # until the client disconnects, which ends the other direction
