"""The last line of defence: whatever escapes becomes an OpenAI error object, and the log learns where but not what."""

import logging
import traceback
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from router.errors import ApiError, BadRequest, MethodNotAllowed, NotFound
from router.http.asgi import ClientGone, Receive, Send, error_headers, send_error

log = logging.getLogger(__name__)
_INTERNAL = "an internal error; the gateway's log says where"


class ErrorBoundary:
    """ASGI middleware, outermost: errors become answers as long as none was begun; a client that left needs none."""

    def __init__(self, app: Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]) -> None:
        self._app = app

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun = False

        async def watched(message: MutableMapping[str, Any]) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self._app(scope, receive, watched)
        except ClientGone:
            return
        except Exception as error:
            if not isinstance(error, ApiError):
                log_place(error)
            if not begun:
                await send_error(send, error if isinstance(error, ApiError) else ApiError(_INTERNAL))


def log_place(error: BaseException) -> None:
    """Log the type and the stack. Messages are left out: they may quote a prompt or a key."""
    frames = "".join(traceback.format_tb(error.__traceback__))
    log.error("%s escaped\n%s", type(error).__name__, frames)


def install_error_handlers(app: FastAPI) -> None:
    """Make a FastAPI app answer in OpenAI error objects, also where no route or method fits."""

    async def api_error(_: Request, error: Exception) -> Response:
        return _response(error if isinstance(error, ApiError) else ApiError(_INTERNAL))

    async def http_error(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        return _response(from_http_exception(error, request.method, request.scope["path"]), error.headers)

    async def invalid(_: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        return _response(from_validation(error))

    app.add_exception_handler(ApiError, api_error)
    app.add_exception_handler(HTTPException, http_error)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(Exception, api_error)  # else Starlette answers in plain text before the boundary sees it


def from_http_exception(error: HTTPException, method: str, path: str) -> ApiError:
    """What a framework's exception means to a client."""
    shown = path[:200]
    if error.status_code == 404:
        return NotFound(f"no route {method} {shown}; the API begins at /v1/chat/completions")
    if error.status_code == 405:
        return MethodNotAllowed(f"{shown} does not take {method}; see the allow header")
    if 400 <= error.status_code < 500:
        status = 400 if error.status_code == 422 else error.status_code
        return BadRequest(str(error.detail), status=status)
    return ApiError(_INTERNAL, status=error.status_code)


def from_validation(error: RequestValidationError) -> BadRequest:
    """The first complaint, with the member it is about; the value itself stays out."""
    first = error.errors()[0]
    if first["type"] == "json_invalid":  # its place is the character's number
        return BadRequest(f"the body is no JSON (at character {first['loc'][-1]}); send a JSON object", param="body")
    param = ".".join(str(part) for part in first["loc"][1:]) or "body"
    return BadRequest(f"{param}: {first['msg']}", param=param)


def _response(error: ApiError, headers: Any = None) -> Response:
    pairs = {name.decode(): value.decode() for name, value in error_headers(error)}
    return Response(error.body(), error.status, {**(headers or {}), **pairs}, media_type="application/json")
