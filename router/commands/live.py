"""How the command line talks to a running gateway: plain HTTP, and errors in a person's words."""

import http.client
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from policies.cli import CommandError

DEFAULT_URL = "http://127.0.0.1:4000"
LOOK_S, ANSWER_S = 0.5, 600.0


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer: the parsed body and the headers by lower-case name."""

    body: dict[str, Any]
    headers: Mapping[str, str]


class LiveGateway:
    """A gateway at ``base_url`` (with or without ``/v1``), asked as the tenant of ``api_key``."""

    def __init__(self, base_url: str = DEFAULT_URL, *, api_key: str | None = None) -> None:
        parts = urlsplit(base_url if "://" in base_url else f"http://{base_url}")
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise CommandError(f"--base-url: expected an address such as {DEFAULT_URL}, got {base_url!r}")
        self.url = f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/').removesuffix('/v1')}"
        self._parts, self._prefix = parts, parts.path.rstrip("/").removesuffix("/v1")
        self._headers = {"content-type": "application/json"}
        if api_key:
            self._headers["authorization"] = f"Bearer {api_key}"

    def is_up(self) -> bool:
        """Whether something here answers ``/healthz``; waits half a second at most."""
        connection = self._connect(LOOK_S)
        try:
            connection.request("GET", f"{self._prefix}/healthz")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def post(self, path: str, body: Mapping[str, Any]) -> Answer:
        """POST and read all of it. Raises CommandError: no gateway there, or it refused (with its own message)."""
        connection = self._connect(ANSWER_S)
        try:
            response = self._send(connection, path, body)
            raw = response.read()
        except (OSError, http.client.HTTPException) as error:
            raise self._unreachable(error) from error
        finally:
            connection.close()
        return Answer(_object(raw), {name.lower(): value for name, value in response.getheaders()})

    def stream(self, path: str, body: Mapping[str, Any]) -> Iterator[Answer]:
        """POST a streamed request: one Answer per event, all with the headers. Raises CommandError as `post`."""
        connection = self._connect(ANSWER_S)
        try:
            response = self._send(connection, path, body)
            headers = {name.lower(): value for name, value in response.getheaders()}
            for line in response:
                text = line.strip()
                if text.startswith(b"data:") and text[5:].strip() != b"[DONE]":
                    event = _object(text[5:])
                    if "error" in event:
                        raise CommandError(f"the answer broke off: {_message(event)}")
                    yield Answer(event, headers)
        except (OSError, http.client.HTTPException) as error:
            raise self._unreachable(error) from error
        finally:
            connection.close()

    def _connect(self, timeout_s: float) -> http.client.HTTPConnection:
        kind = http.client.HTTPSConnection if self._parts.scheme == "https" else http.client.HTTPConnection
        return kind(self._parts.hostname or "", self._parts.port, timeout=timeout_s)

    def _send(
        self, connection: http.client.HTTPConnection, path: str, body: Mapping[str, Any]
    ) -> http.client.HTTPResponse:
        connection.request("POST", self._prefix + path, json.dumps(body).encode(), self._headers)
        response = connection.getresponse()
        if response.status != 200:
            raise CommandError(f"{self.url} answered {response.status}: {_message(_object(response.read()))}")
        return response

    def _unreachable(self, error: Exception) -> CommandError:
        return CommandError(
            f"no gateway answers at {self.url} ({error}); start one with gearshift serve, or give --base-url"
        )


def _object(raw: bytes) -> dict[str, Any]:
    try:
        body = json.loads(raw)
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def _message(body: Mapping[str, Any]) -> str:
    error = body.get("error")
    return str(error.get("message", error)) if isinstance(error, dict) else "no reason given"
