"""Who may ask the admin API: decided by the route that will answer, never by how its path is written.

Nothing is let through because it was forgotten: a route that is not named open, a method that it does not take, and a
path that leads nowhere all need the key.
"""

import hmac
from collections.abc import Awaitable, Callable, Collection, Iterable, MutableMapping
from typing import Any

from starlette.routing import BaseRoute, Match

from router.errors import NotFound, Unauthorized
from router.http.asgi import Receive, Send
from router.tenants import KEY_ID_CHARS, digest_of, key_hmac, sent_key

App = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]


class Gate:
    """ASGI middleware around an application of `routes`.

    Args:
        key: The admin key, or ``hmac:`` and its HMAC.
        open_routes: Those that need no key: the very objects among `routes`.
    """

    def __init__(
        self, app: App, *, routes: Iterable[BaseRoute], key: str, secret: bytes, open_routes: Collection[BaseRoute]
    ) -> None:
        self._app, self._routes, self._secret = app, list(routes), secret
        self._digest = digest_of(secret, key)
        self._open = [id(route) for route in open_routes]

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        route = self._matched(scope)
        if route is None or id(route) not in self._open:
            scope["state"] = {"by": self._administrator(scope)}
        if route is None and not any(each.matches(scope)[0] is Match.PARTIAL for each in self._routes):
            raise NotFound(f"no route {scope['method']} {scope['path'][:200]}; GET /openapi.json lists all")
        await self._app(scope, receive, send)

    def _matched(self, scope: MutableMapping[str, Any]) -> BaseRoute | None:
        return next((route for route in self._routes if route.matches(scope)[0] is Match.FULL), None)

    def _administrator(self, scope: MutableMapping[str, Any]) -> str:
        """Who asks, as the audit log names them. Raises Unauthorized."""
        key = sent_key(dict(scope["headers"]))
        if not key:
            raise Unauthorized("no API key: send 'Authorization: Bearer <key>' with the key of admin.key")
        if not hmac.compare_digest(key_hmac(self._secret, key), self._digest):
            raise Unauthorized("this is not the admin key; tenants' keys are of no use here")
        client = scope.get("client")
        return f"api:{self._digest[:KEY_ID_CHARS]}@{client[0] if client else 'unknown'}"
