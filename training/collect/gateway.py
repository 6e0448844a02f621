"""The gateway over HTTP: its arms, and one answer of one arm with what it cost."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import aiohttp
import orjson

from training.collect.errors import CollectError, GatewayDown
from training.collect.prompts import Messages

TRIES = 5
MOST_WAIT_S = 60.0
WAITING = (429, 503)
# The gateway withholds an answer that it could not record: the model was paid for it.
WITHHELD = "store_unavailable"

Sleep = Callable[[float], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Reply:
    """How a call ended.

    Attributes:
        status: ``ok``, else what went wrong: ``http_502 upstream_error``, ``timeout``, ``cut``, ``malformed`` …
        usd: The gateway's bill; None where it told none.
        billable: A model may have worked for it, so an unknown bill is not taken for zero.
    """

    status: str
    text: str = ""
    request_id: str = ""
    input_tokens: int | None = None
    cached_input_tokens: int | None = None
    output_tokens: int | None = None
    usd: float | None = None
    latency_s: float | None = None
    billable: bool = True


class Gateway:
    """A gateway at ``base_url`` (with or without ``/v1``)."""

    def __init__(
        self, base_url: str, *, api_key: str | None = None, timeout_s: float = 600.0, sleep: Sleep = asyncio.sleep
    ) -> None:
        parts = urlsplit(base_url if "://" in base_url else f"http://{base_url}")
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise CollectError(f"--base-url: expected an address such as http://127.0.0.1:4000/v1, got {base_url!r}")
        self.url = f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/').removesuffix('/v1')}"
        self._headers = {"authorization": f"Bearer {api_key}"} if api_key else {}
        self._timeout = aiohttp.ClientTimeout(total=timeout_s, connect=10.0)
        self._sleep = sleep
        self._session: aiohttp.ClientSession | None = None

    async def arms(self) -> list[str]:
        """Names of every arm the key may force.

        Raises:
            GatewayDown: Nothing answers. CollectError: It refuses the key, or is no such gateway.
        """
        try:
            status, _, body = await self._send("GET", "/v1/models")
        except (aiohttp.ClientError, OSError) as problem:
            raise GatewayDown(f"{self.url}/v1/models broke off: {type(problem).__name__}") from problem
        if status != 200:
            raise CollectError(f"{self.url}/v1/models answered {status} {_code(body)}; check --api-key-env")
        cards = body.get("data") if isinstance(body, dict) else None
        names = [card["id"] for card in cards or () if _kind(card) == "arm"]
        if not names:
            raise CollectError(
                f"{self.url}/v1/models names no arms; is it a gearshift gateway, and may the key use any?"
            )
        return names

    async def predicted_usd(self, messages: Messages, *, max_tokens: int) -> dict[str, float]:
        """What the gateway expects of each arm, as far as it says so."""
        asked = {"model": "auto", "messages": messages, "max_tokens": max_tokens}
        try:
            status, _, body = await self._send("POST", "/v1/decide", asked)
        except (aiohttp.ClientError, OSError):
            return {}
        arms = body.get("arms") if status == 200 and isinstance(body, dict) else None
        pairs = [(each.get("arm"), each.get("usd")) for each in arms or () if isinstance(each, dict)]
        return {arm: float(usd) for arm, usd in pairs if isinstance(arm, str) and isinstance(usd, int | float)}

    async def ask(self, arm: str, messages: Messages, **more: object) -> Reply:
        """One answer of one arm; waits and tries again where the gateway says that waiting helps.

        Raises:
            GatewayDown: Nothing answers at the address, after several tries.
        """
        body = {"model": arm, "messages": messages, **more}
        began = time.perf_counter()
        try:
            status, headers, answer = await self._send("POST", "/v1/chat/completions", body)
        except TimeoutError:
            return Reply("timeout")
        except (aiohttp.ClientError, OSError):
            return Reply("cut")
        latency_s = time.perf_counter() - began
        if status != 200:
            code = _code(answer)
            waste = status >= 500 and (status != 503 or code == WITHHELD)
            return Reply(f"http_{status} {code}".strip(), usd=_header_usd(headers), billable=waste)
        return _read(answer, headers, arm=arm, latency_s=latency_s)

    async def _send(self, method: str, path: str, body: object = None) -> tuple[int, Mapping[str, str], Any]:
        """Status, headers and parsed body (None if it is no JSON) of the last try."""
        assert self._session is not None, "use the gateway as a context"
        data = None if body is None else orjson.dumps(body)
        for attempt in range(TRIES):
            last = attempt == TRIES - 1
            try:
                async with self._session.request(method, self.url + path, data=data) as response:
                    answer = _parsed(await response.read())
                    status, headers = response.status, response.headers
            except aiohttp.ClientConnectorError as problem:  # nothing was sent, so nothing was billed
                if last:
                    raise GatewayDown(f"no gateway answers at {self.url}; start one with gearshift serve") from problem
                await self._sleep(_wait_s({}, attempt))
                continue
            if status not in WAITING or _code(answer) == WITHHELD or last:
                return status, headers, answer
            await self._sleep(_wait_s(headers, attempt))
        raise AssertionError("the last try returns")

    async def __aenter__(self) -> Self:
        headers = {**self._headers, "content-type": "application/json"}
        connector = aiohttp.TCPConnector(limit=0)
        self._session = aiohttp.ClientSession(headers=headers, timeout=self._timeout, connector=connector)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()


def _read(answer: Any, headers: Mapping[str, str], *, arm: str, latency_s: float) -> Reply:
    """A 200 as a reply; whatever is no chat completion of the arm is a fact of its own, not an answer."""
    usage = answer.get("usage") if isinstance(answer, dict) else None
    usage = usage if isinstance(usage, dict) else {}
    told, details = _amount(usage.get("cost")), usage.get("prompt_tokens_details")
    text = _text(answer)
    status = "ok" if text is not None else "malformed"
    return Reply(
        status if headers.get("x-gearshift-arm", arm) == arm else "other_arm",
        text=text or "",
        request_id=str(answer.get("id", "")) if isinstance(answer, dict) else "",
        input_tokens=_count(usage.get("prompt_tokens")),
        cached_input_tokens=_count(details.get("cached_tokens")) if isinstance(details, dict) else None,
        output_tokens=_count(usage.get("completion_tokens")),
        usd=_header_usd(headers) if told is None else told,
        latency_s=latency_s,
    )


def _text(answer: Any) -> str | None:
    """The first choice's text, empty where the model said nothing; None if this is no chat completion."""
    try:
        content = answer["choices"][0]["message"]["content"]
    except (TypeError, KeyError, IndexError):
        return None
    if isinstance(content, list):
        return "".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    return content if isinstance(content, str) else "" if content is None else None


def _parsed(raw: bytes) -> Any:
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError:
        return None


def _code(body: Any) -> str:
    """The error's code; its message may quote the request."""
    error = body.get("error") if isinstance(body, dict) else None
    code = error.get("code") if isinstance(error, dict) else None
    return code[:64] if isinstance(code, str) else ""


def _kind(card: Any) -> str:
    about = card.get("gearshift") if isinstance(card, dict) else None
    return str(about.get("kind", "")) if isinstance(about, dict) else ""


def _count(value: object) -> int | None:
    return value if type(value) is int and value >= 0 else None


def _amount(value: object) -> float | None:
    return float(value) if type(value) in (int, float) and 0 <= value < float("inf") else None  # type: ignore[operator, arg-type]


def _header_usd(headers: Mapping[str, str]) -> float | None:
    try:
        return _amount(float(headers["x-gearshift-cost-usd"]))
    except (KeyError, ValueError):
        return None


def _wait_s(headers: Mapping[str, str], attempt: int) -> float:
    """What ``retry-after`` says in seconds, else 1, 2, 4 …; at most a minute."""
    try:
        asked = float(headers.get("retry-after", ""))
    except ValueError:
        asked = 2.0**attempt
    return min(max(asked, 0.0), MOST_WAIT_S) if asked == asked else 1.0
