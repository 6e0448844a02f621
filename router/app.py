"""The application: FastAPI for the API surface, and the hot chat route as plain ASGI in front of it."""

from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any

from fastapi import FastAPI

from router.errors import ApiError, MethodNotAllowed
from router.gateway import Gateway
from router.http.asgi import send_error
from router.http.boundary import ErrorBoundary, install_error_handlers
from router.pipeline import serve_chat
from router.routes import Routes

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

CHAT_PATH = "/v1/chat/completions"


class Edge:
    """Sends chat completions straight to the pipeline: Starlette's and FastAPI's layers cost more than routing."""

    def __init__(self, gateway: Gateway, api: App) -> None:
        self._gateway, self._api = gateway, api

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] != CHAT_PATH:
            await self._api(scope, receive, send)
            return
        try:
            if scope["method"] != "POST":
                raise MethodNotAllowed(f"{CHAT_PATH} takes POST")
            await serve_chat(self._gateway, dict(scope["headers"]), receive, send)
        except ApiError as error:
            if not error.headers:  # refused before a decision: such a code is ours, never an upstream's own word
                self._gateway.metrics.rejected.labels(error.code or "none").inc()
            await send_error(send, error)


def create_app(gateway: Gateway, *, metrics_dir: Path, version: str) -> App:
    """Build the ASGI application over a wired gateway."""
    api = FastAPI(title="Gearshift", version=version, docs_url=None, redoc_url=None)
    install_error_handlers(api)
    Routes(gateway, metrics_dir=metrics_dir).install(api)

    return ErrorBoundary(Edge(gateway, api))
