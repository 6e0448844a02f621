"""Upstreams that speak the OpenAI wire: bytes in, bytes out, nothing parsed on the way."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Self

import aiohttp
from multidict import CIMultiDict
from yarl import URL

from router.config.schema import Deployment, Timeouts
from router.upstreams.base import Call, UpstreamError
from router.upstreams.watchdog import Watchdog
from router.upstreams.wire import ERROR_BYTES, check_success, refused

DEFAULT_BASE_URL = "https://api.openai.com/v1"
BODY_BYTES = 64_000_000
DONE = b"[DONE]\n\n"
PATIENCE_S = 0.25
ONE_WRITE_BYTES = 1_000_000  # aiohttp warns above 2**20 when a body is one bytes object


def open_session() -> aiohttp.ClientSession:
    """The client all deployments of a process share. Must be called inside a running loop; close it last.

    No cookies, no proxies or netrc from the environment, no decompression. Idle connections are dropped before the
    5 s after which uvicorn-based servers (vLLM among them) hang up, so a request rarely meets a closing connection.
    """
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, ttl_dns_cache=60, keepalive_timeout=4.0),
        cookie_jar=aiohttp.DummyCookieJar(),
        trust_env=False,
        auto_decompress=False,
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),
        skip_auto_headers=("User-Agent", "Accept"),
        read_bufsize=2**17,
    )


class OpenAIUpstream:
    """One endpoint with its key. The key goes to `base_url` alone: redirects are never followed."""

    def __init__(self, name: str, deployment: Deployment, session: aiohttp.ClientSession) -> None:
        self.name = name
        self._session = session
        self._base_url = (deployment.base_url or DEFAULT_BASE_URL).rstrip("/")
        self._urls: dict[str, URL] = {}
        self._headers = request_headers(deployment)
        self._connect: dict[float, aiohttp.ClientTimeout] = {}

    async def send(self, call: Call, timeouts: Timeouts) -> "OpenAIReply":
        """POST and wait for the status line. Raises UpstreamError for anything but a usable 200."""
        loop = asyncio.get_running_loop()
        started = loop.time()
        try:
            async with asyncio.timeout_at(started + min(timeouts.first_byte_s, timeouts.total_s)):
                response = await self._post(call, timeouts)
                if response.status != 200:
                    raise await self._refusal(response)
        except TimeoutError as late:
            raise UpstreamError(self.name, "timeout", retryable=True) from late
        try:
            check_success(self.name, headers=response.headers, stream=call.stream)
        except UpstreamError:
            response.close()
            raise
        return OpenAIReply(self.name, response, timeouts, started=started)

    async def probe(self) -> None:
        """List the endpoint's models: reaches it and shows the key, and costs no completion."""
        try:
            async with asyncio.timeout(10.0):
                response = await self._session.get(
                    self._base_url + "/models", headers=self._headers, allow_redirects=False
                )
                body = await response.content.read(ERROR_BYTES)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise UpstreamError(self.name, "connect", retryable=True, reached=False) from error
        response.close()
        # An endpoint without a model list is still there.
        if response.status not in (200, 404, 405):
            raise refused(self.name, status=response.status, headers=response.headers, body=body)

    async def aclose(self) -> None:
        """Nothing of its own to close: the session belongs to who opened it."""

    async def _post(self, call: Call, timeouts: Timeouts) -> aiohttp.ClientResponse:
        headers = self._headers.copy()
        headers["x-request-id"] = call.request_id
        data: bytes | AsyncIterator[bytes] = call.raw
        if len(call.raw) > ONE_WRITE_BYTES:
            headers["content-length"] = str(len(call.raw))
            data = _slices(call.raw)
        try:
            return await self._session.post(
                self._url(call.path),
                data=data,
                headers=headers,
                allow_redirects=False,
                timeout=self._client_timeout(timeouts.connect_s),
            )
        except aiohttp.ConnectionTimeoutError as error:
            raise UpstreamError(self.name, "connect", retryable=True, reached=False) from error
        except aiohttp.ClientConnectorError as error:
            raise UpstreamError(self.name, "connect", retryable=True, reached=False) from error
        except aiohttp.ClientResponseError as error:  # not HTTP
            raise UpstreamError(self.name, "garbage", retryable=True) from error
        except (aiohttp.ClientError, OSError) as error:
            if isinstance(error, TimeoutError):
                raise
            raise UpstreamError(self.name, "cut", retryable=True) from error

    async def _refusal(self, response: aiohttp.ClientResponse) -> UpstreamError:
        body = b""
        try:
            async with asyncio.timeout(2.0):
                body = await _read_at_most(response, ERROR_BYTES)
        except (aiohttp.ClientError, OSError):
            body = b""  # the status alone must do
        finally:
            response.close()
        return refused(self.name, status=response.status, headers=response.headers, body=body)

    def _url(self, path: str) -> URL:
        url = self._urls.get(path)
        if url is None:
            url = self._urls[path] = URL(self._base_url + path)
        return url

    def _client_timeout(self, connect_s: float) -> aiohttp.ClientTimeout:
        timeout = self._connect.get(connect_s)
        if timeout is None:
            timeout = self._connect[connect_s] = aiohttp.ClientTimeout(total=None, connect=connect_s)
        return timeout


class OpenAIReply:
    """A 200 whose body is still to come; it is its own iterator of chunks, which an async generator would make dearer.

    Read to its end the connection is used again; closed early it is cut, which cancels the generation upstream.
    """

    __slots__ = ("_last", "_name", "_readany", "_response", "_watchdog", "headers", "status")

    def __init__(self, name: str, response: aiohttp.ClientResponse, timeouts: Timeouts, *, started: float) -> None:
        self.status = response.status
        self.headers: Mapping[str, str] = response.headers
        self._name, self._response = name, response
        self._readany = response.content.readany
        self._last = b""
        loop = asyncio.get_running_loop()
        self._watchdog = Watchdog(loop, timeouts, started=started, expire=self._expire, alive=self._alive)

    async def read(self) -> bytes:
        """The whole body. Raises UpstreamError, retryable: nothing of it was handed on."""
        parts: list[bytes] = []
        size = 0
        try:
            async for part in self:
                parts.append(part)
                size += len(part)
                if size > BODY_BYTES:
                    await self.aclose()
                    raise UpstreamError(self._name, "garbage", status=200)
        except UpstreamError as error:
            error.retryable = error.kind != "garbage"
            raise
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def chunks(self) -> AsyncIterator[bytes]:
        """Bytes as they arrive."""
        return self

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        watchdog = self._watchdog
        if self._last:
            watchdog.fed()
        try:
            data = await self._readany()
        except (aiohttp.ClientError, OSError) as error:
            watchdog.stop()
            self._response.close()
            kind = "timeout" if isinstance(error, TimeoutError) else "cut"
            raise UpstreamError(self._name, kind, status=200) from error
        if not data:
            watchdog.stop()
            raise StopAsyncIteration
        watchdog.pause()
        self._last = data
        return data

    async def aclose(self) -> None:
        self._watchdog.stop()
        if self._last.endswith(DONE):
            # All was said, only the end of the chunked body is on its way: a moment's patience saves the connection.
            asyncio.get_running_loop().call_later(PATIENCE_S, self._response.close)
        else:
            self._response.close()

    def _alive(self) -> bool:
        # aiohttp closes the connection on a broken chunk header and tells the waiting reader nothing.
        connection = self._response.connection
        return connection is None or connection.protocol is None or connection.protocol.is_connected()

    def _expire(self) -> None:
        late = TimeoutError() if self._alive() else aiohttp.ClientPayloadError()
        self._response.content.set_exception(late)
        self._response.close()


def request_headers(deployment: Deployment) -> CIMultiDict[str]:
    """What every request to a deployment carries, its own headers last."""
    headers = CIMultiDict({"content-type": "application/json", "accept-encoding": "identity"})
    if deployment.api_key:
        headers["authorization"] = f"Bearer {deployment.api_key}"
    headers.update(deployment.headers)
    return headers


async def _slices(raw: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(raw), ONE_WRITE_BYTES):
        yield raw[start : start + ONE_WRITE_BYTES]


async def _read_at_most(response: aiohttp.ClientResponse, limit: int) -> bytes:
    parts: list[bytes] = []
    left = limit
    while left > 0 and (part := await response.content.read(left)):
        parts.append(part)
        left -= len(part)
    return b"".join(parts)
