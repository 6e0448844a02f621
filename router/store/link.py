"""Keeps a prepared connection to the store: function library loaded, schema checked, reconnected when it is lost."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Sequence

from router.store.address import Address
from router.store.base import StoreUnavailable, Unanswered
from router.store.commands import pack
from router.store.connection import Connection, ConnectionLost, ReplyError
from router.store.keys import LIFTING_KEY, SCHEMA, SCHEMA_KEY, Functions
from router.store.migration import lift

log = logging.getLogger(__name__)

RETRY_S, MAX_RETRY_S = 0.02, 1.0
ATTEMPTS = 3
_FUNCTION_LOST = "Function not found"


class SchemaTooNew(StoreUnavailable):
    """The store was written by a newer Gearshift; this one must not touch it."""


class Link:
    """Calls server functions over one connection and brings that connection back.

    For `timeout_s` after the connection is lost, calls wait for it to return (a restart of the store goes unnoticed);
    after that they fail at once while reconnecting goes on.
    """

    def __init__(self, address: Address, *, functions: Functions, timeout_s: float = 2.0) -> None:
        self._address, self._functions, self._timeout_s = address, functions, timeout_s
        self._connection: Connection | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._up = asyncio.Event()
        self._down_since_s = time.monotonic()
        self._last_problem = "not connected yet"
        self.returned = asyncio.Event()  # set at each connect; whoever waits for the store's return clears it

    async def start(self) -> None:
        """Connect. Raises StoreUnavailable when the store cannot be used; `SchemaTooNew` when it never will be."""
        self._down_since_s = time.monotonic()
        try:
            self._connection = await self._open()
        except SchemaTooNew:
            raise
        except StoreUnavailable as problem:
            self._last_problem = str(problem)
            log.warning("%s", problem)
        else:
            self._mark_up()
        self._keeper = asyncio.create_task(self._keep(), name="store-link")

    async def aclose(self) -> None:
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)
        if self._connection is not None:
            self._connection.abort()
            await self._connection.closed

    @property
    def is_up(self) -> bool:
        return self._connection is not None

    def function(self, name: str) -> str:
        """The server's name of one of our functions."""
        return self._functions.name(name)

    async def call(self, command: bytes) -> object:
        """The reply to a packed command that may safely be carried out twice.

        Raises:
            Unanswered: It was sent at least once, and every reply was lost.
            StoreUnavailable: It was not carried out, or the server refused (its words are in the message).
        """
        lost = False
        for _ in range(ATTEMPTS):
            try:
                return await self.call_once(command)
            except ConnectionLost:
                lost = True
            except StoreUnavailable as problem:
                if lost:
                    raise Unanswered(str(problem)) from problem
                raise
        raise Unanswered(f"the store at {self._where()} did not answer: {self._last_problem}")

    async def call_once(self, command: bytes) -> object:
        """The reply to a packed command that is sent once.

        Raises:
            ConnectionLost: It was sent, and nobody knows whether it was carried out.
            StoreUnavailable: It was not carried out.
        """
        connection = self._connection or await self._wait_up()
        try:
            return await connection.send(command)
        except ConnectionLost:
            self._drop(connection)
            raise
        except ReplyError as error:
            if _FUNCTION_LOST not in str(error):
                raise StoreUnavailable(f"the store refused: {error}") from error
        await self._prepare(connection)
        try:
            return await connection.send(command)
        except ReplyError as error:
            raise StoreUnavailable(f"the store refused: {error}") from error

    async def call_many(self, commands: Sequence[bytes]) -> list[object]:
        """Replies to several commands, sent together."""
        return list(await asyncio.gather(*(self.call(command) for command in commands)))

    async def _wait_up(self) -> Connection:
        left_s = self._down_since_s + self._timeout_s - time.monotonic()
        if left_s > 0:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left_s):
                    await self._up.wait()
        if self._connection is None:
            raise StoreUnavailable(f"the store at {self._where()} is down: {self._last_problem}")
        return self._connection

    async def _keep(self) -> None:
        pause_s = RETRY_S
        while True:
            if self._connection is not None:
                await asyncio.shield(self._connection.closed)
                self._drop(self._connection)
            try:
                self._connection = await self._open()
            except StoreUnavailable as problem:
                self._last_problem = str(problem)
                await asyncio.sleep(pause_s)
                pause_s = min(pause_s * 1.5, MAX_RETRY_S)
            else:
                pause_s = RETRY_S
                self._mark_up()

    def _mark_up(self) -> None:
        self._up.set()
        self.returned.set()

    def _drop(self, connection: Connection | None) -> None:
        if connection is None or connection is not self._connection:
            return
        connection.abort()
        self._connection, self._down_since_s, self._last_problem = None, time.monotonic(), "the connection was lost"
        self._up.clear()

    async def _open(self) -> Connection:
        """A fresh connection, ready for calls, or StoreUnavailable."""
        try:
            # Not wait_for: until Python 3.12 it loses a cancellation that comes as the attempt ends, and closing hangs.
            async with asyncio.timeout(self._timeout_s):
                connection = await self._connect()
        except OSError as error:  # TimeoutError is one
            reason = error.strerror or type(error).__name__
            raise StoreUnavailable(f"the store at {self._where()} is down: {reason}") from error
        try:
            for command in self._address.hello():
                await self._reply(connection, command)
            await self._prepare(connection)
        except BaseException:
            connection.abort()
            raise
        return connection

    async def _connect(self) -> Connection:
        loop, address = asyncio.get_running_loop(), self._address
        made: Awaitable[tuple[asyncio.Transport, Connection]]
        if address.path is not None:
            made = loop.create_unix_connection(self._new, address.path)
        else:
            made = loop.create_connection(self._new, address.host, address.port, ssl=address.tls_context())
        return (await made)[1]

    def _new(self) -> Connection:
        return Connection(timeout_s=self._timeout_s)

    async def _prepare(self, connection: Connection) -> None:
        """Check the data's schema and make sure that our functions are there."""
        have = await self._reply(connection, ("GET", SCHEMA_KEY))
        if isinstance(have, bytes) and int(have) > SCHEMA:
            raise SchemaTooNew(
                f"the store at {self._where()} holds schema {int(have)}, this version reads up to {SCHEMA}: "
                "upgrade gearshift or use another store"
            )
        known = await self._reply(connection, ("FUNCTION", "LIST", "LIBRARYNAME", self._functions.library))
        if not known:
            # REPLACE: another gateway may have loaded the same text since we looked.
            await self._reply(connection, ("FUNCTION", "LOAD", "REPLACE", self._functions.text))
        since = await self._reply(connection, ("FCALL", self.function("migrate"), "2", SCHEMA_KEY, LIFTING_KEY))
        if since:
            await self._lift(connection, since)

    async def _lift(self, connection: Connection, since: object) -> None:
        assert isinstance(since, int)
        log.warning("lifting the store's data from schema %d to %d", since, SCHEMA)
        try:
            await lift(lambda *parts: connection.send(pack(*parts)), self._functions, since=since)
        except (ReplyError, ConnectionLost) as error:
            raise StoreUnavailable(f"the store at {self._where()} could not be migrated: {error}") from error

    async def _reply(self, connection: Connection, command: Sequence[str | bytes]) -> object:
        try:
            return await connection.send(pack(*command))
        except (ReplyError, ConnectionLost) as error:
            raise StoreUnavailable(f"the store at {self._where()} is not ready: {error}") from error

    def _where(self) -> str:
        address = self._address
        return address.path if address.path is not None else f"{address.host}:{address.port}"
