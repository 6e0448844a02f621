"""The shipped nginx configuration, run by the real nginx in front of a server that streams."""

import asyncio
import re
import shutil
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

CONF = Path(__file__).resolve().parents[2] / "deploy" / "proxy" / "nginx.conf"
NGINX = shutil.which("nginx", path="/usr/sbin:/usr/local/bin:/usr/bin:/opt/homebrew/bin")
pytestmark = pytest.mark.skipif(NGINX is None, reason="nginx is not installed; apt-get install nginx-light")

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def placed(folder: Path, *, gateways: list[int], port: int) -> Path:
    """The shipped file with loopback addresses and with its working files under ``folder``."""
    text = CONF.read_text()
    for number, gateway in enumerate(gateways, start=1):
        text = text.replace(f"gateway-{number}:4000", f"127.0.0.1:{gateway}")
    text = text.replace("listen 8080", f"listen 127.0.0.1:{port}").replace(
        "worker_processes auto", "worker_processes 1"
    )
    text = re.sub(r"pid \S+;", f"pid {folder}/nginx.pid;", text)
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    temporary = " ".join(f"{kind}_temp_path {folder}/{kind};" for kind in kinds)
    path = folder / "nginx.conf"
    path.write_text(text.replace("http {", "http { " + temporary, 1))
    return path


@asynccontextmanager
async def gateway(handler: Handler) -> AsyncIterator[int]:
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handler)
    runner = web.AppRunner(app, handler_cancellation=True)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        yield int(runner.addresses[0][1])
    finally:
        await runner.cleanup()


@asynccontextmanager
async def proxy(folder: Path, *, gateways: list[int]) -> AsyncIterator[str]:
    """The address of an nginx in front of ``gateways``."""
    assert NGINX is not None
    port = free_port()
    conf = placed(folder, gateways=gateways, port=port)
    arguments = ["-e", "stderr", "-p", str(folder), "-c", str(conf), "-g", "daemon off;"]
    process = await asyncio.create_subprocess_exec(NGINX, *arguments, stderr=asyncio.subprocess.DEVNULL)
    try:
        await listening(port, process)
        yield f"http://127.0.0.1:{port}"
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def listening(port: int, process: asyncio.subprocess.Process) -> None:
    async with asyncio.timeout(10):
        while process.returncode is None:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except ConnectionRefusedError:
                await asyncio.sleep(0.02)
            else:
                writer.close()
                await writer.wait_closed()
                return
    pytest.fail(f"nginx ended with status {process.returncode}")


@pytest.mark.asyncio
async def test_an_event_arrives_before_the_next_is_sent(tmp_path: Path) -> None:
    seen = asyncio.Event()

    async def stream(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        await response.write(b"data: 1\n\n")
        await seen.wait()
        await response.write(b"data: 2\n\n")
        return response

    async with (
        gateway(stream) as port,
        proxy(tmp_path, gateways=[port, port]) as url,
        aiohttp.ClientSession() as client,
    ):
        async with asyncio.timeout(10), client.post(f"{url}/v1/chat/completions", data=b"{}") as response:
            assert await response.content.readuntil(b"\n\n") == b"data: 1\n\n"
            seen.set()
            assert await response.content.readuntil(b"\n\n") == b"data: 2\n\n"


@pytest.mark.asyncio
async def test_a_client_that_leaves_ends_the_request_at_the_gateway(tmp_path: Path) -> None:
    ended = asyncio.Event()

    async def stream(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        await response.write(b"data: 1\n\n")
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        return response

    async with (
        gateway(stream) as port,
        proxy(tmp_path, gateways=[port, port]) as url,
        aiohttp.ClientSession() as client,
    ):
        async with asyncio.timeout(10):
            response = await client.post(f"{url}/v1/chat/completions", data=b"{}")
            await response.content.readuntil(b"\n\n")
            response.close()
            await ended.wait()


@pytest.mark.asyncio
async def test_a_post_is_never_sent_twice_but_a_dead_gateway_is_passed_over(tmp_path: Path) -> None:
    calls: list[str] = []

    async def cut(request: web.Request) -> web.StreamResponse:
        calls.append(request.path)
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    async def answer(request: web.Request) -> web.StreamResponse:
        return web.Response(text="ok")

    async with aiohttp.ClientSession() as client, asyncio.timeout(20):
        async with gateway(cut) as port, proxy(tmp_path, gateways=[port, port]) as url:
            async with client.post(f"{url}/v1/chat/completions", data=b"{}") as response:
                assert response.status == 502
        assert calls == ["/v1/chat/completions"]
        async with gateway(answer) as port, proxy(tmp_path, gateways=[free_port(), port]) as url:
            for _ in range(4):
                async with client.post(f"{url}/v1/chat/completions", data=b"{}") as response:
                    assert response.status == 200


@pytest.mark.asyncio
async def test_metrics_stay_inside(tmp_path: Path) -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        return web.Response(text="secret")

    async with (
        gateway(answer) as port,
        proxy(tmp_path, gateways=[port, port]) as url,
        aiohttp.ClientSession() as client,
    ):
        async with client.get(f"{url}/metrics") as response:
            assert response.status == 404
        async with client.get(f"{url}/readyz") as response:
            assert response.status == 200
