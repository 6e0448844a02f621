"""Stands for kill -9, in work that tells its steps and of a worker's store."""

import asyncio
from collections.abc import Callable

from router.store.valkey import ValkeyStore


class Killed(Exception):
    """The process is gone."""


def killed_after(wanted: int) -> Callable[[str], None]:
    """A step function that dies at the n-th step."""
    done: list[str] = []

    def step(name: str) -> None:
        done.append(name)
        if len(done) == wanted:
            raise Killed(name)

    return step


async def kill(store: ValkeyStore) -> None:
    """Nothing is sent any more and nothing returned; the lock of the spool is gone with the process."""
    for task in store._tasks:
        task.cancel()
    await asyncio.gather(*store._tasks, return_exceptions=True)
    store._backlog.close()
    await store._link.aclose()
