"""The official `openai` client, sync and async, behind one face, so that each acceptance test runs on both."""

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar

import openai

T = TypeVar("T")
TIMEOUT_S = 20.0


class Sdk(Protocol):
    """What the tests do with a client; every call returns plain SDK objects or raises the SDK's errors."""

    def call(self, run: Callable[[Any], Any]) -> Any:
        """The result of ``run(client)``, awaited where the client is async."""

    def chunks(self, **body: Any) -> list[Any]:
        """Every chunk of a streamed chat completion."""

    def helped(self, **body: Any) -> tuple[list[Any], Any]:
        """Events and final completion of `client.chat.completions.stream`."""

    def first_chunks(self, count: int, **body: Any) -> list[Any]:
        """The first chunks of a stream that is closed then, before its end."""


class SyncSdk:
    """`openai.OpenAI`, validating every answer and chunk strictly against the SDK's own models."""

    def __init__(self, base_url: str, api_key: str) -> None:
        self.client = openai.OpenAI(**_settings(base_url, api_key))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.client.close()

    def call(self, run: Callable[[Any], T]) -> T:
        return run(self.client)

    def chunks(self, **body: Any) -> list[Any]:
        with self.client.chat.completions.create(stream=True, **body) as stream:
            return list(stream)

    def helped(self, **body: Any) -> tuple[list[Any], Any]:
        with self.client.chat.completions.stream(**body) as stream:
            return list(stream), stream.get_final_completion()

    def first_chunks(self, count: int, **body: Any) -> list[Any]:
        stream = self.client.chat.completions.create(stream=True, **body)
        found = [next(stream) for _ in range(count)]
        stream.close()
        return found


class AsyncSdk:
    """`openai.AsyncOpenAI` on an event loop of its own, with the same validation."""

    def __init__(self, base_url: str, api_key: str) -> None:
        self.client = openai.AsyncOpenAI(**_settings(base_url, api_key))
        self._runner = asyncio.Runner()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._runner.run(self.client.close())
        self._runner.close()

    def call(self, run: Callable[[Any], Any]) -> Any:
        async def awaited() -> Any:
            return await run(self.client)

        return self._runner.run(awaited())

    def chunks(self, **body: Any) -> list[Any]:
        async def all_of() -> list[Any]:
            async with await self.client.chat.completions.create(stream=True, **body) as stream:
                return [chunk async for chunk in stream]

        return self._runner.run(all_of())

    def helped(self, **body: Any) -> tuple[list[Any], Any]:
        async def all_of() -> tuple[list[Any], Any]:
            async with self.client.chat.completions.stream(**body) as stream:
                return [event async for event in stream], await stream.get_final_completion()

        return self._runner.run(all_of())

    def first_chunks(self, count: int, **body: Any) -> list[Any]:
        async def first() -> list[Any]:
            stream = await self.client.chat.completions.create(stream=True, **body)
            found = [await anext(stream) for _ in range(count)]
            await stream.close()
            return found

        return self._runner.run(first())


def _settings(base_url: str, api_key: str) -> dict[str, Any]:
    return {
        "base_url": base_url,
        "api_key": api_key,
        "max_retries": 0,
        "timeout": TIMEOUT_S,
        "_strict_response_validation": True,
    }


def text_of(chunks: list[Any]) -> str:
    """The text of the first choice of a stream."""
    deltas = (choice.delta for chunk in chunks for choice in chunk.choices if choice.index == 0)
    return "".join(delta.content or "" for delta in deltas)


def finish_of(chunks: list[Any]) -> list[str]:
    """Every finish reason of a stream, in the order they came."""
    return [choice.finish_reason for chunk in chunks for choice in chunk.choices if choice.finish_reason]
