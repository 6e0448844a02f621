"""A unix socket before a store that loses what the test wants lost: replies, or commands."""

import asyncio
from pathlib import Path
from typing import Self


class Lossy:
    """``async with Lossy(server.socket, folder / "lossy.sock") as way: ValkeyStore(way.url, …)``.

    Attributes:
        replies / commands: False: they are swallowed on their way.
    """

    def __init__(self, store: Path, path: Path) -> None:
        self.url, self._store, self._path = f"unix://{path}", store, path
        self.replies = self.commands = True
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_unix_server(self._connected, self._path)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, here = await asyncio.open_unix_connection(self._store)
        for source, sink, what in ((reader, here, "commands"), (there, writer, "replies")):
            task = asyncio.create_task(self._carry(source, sink, what))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _carry(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, what: str) -> None:
        try:
            while data := await source.read(65536):
                if getattr(self, what):
                    sink.write(data)
        except OSError:
            pass
        finally:
            sink.close()
