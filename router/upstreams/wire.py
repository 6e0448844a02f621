"""What an HTTP answer of an upstream means: a usable reply, or the UpstreamError it stands for."""

import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any

import orjson

from router.upstreams.base import UpstreamError

HANDED_ON = frozenset({400, 404, 409, 413, 422, 429})
MESSAGE_CHARS = 2000
ERROR_BYTES = 65_536


def refused(upstream: str, *, status: int, headers: Mapping[str, str], body: bytes) -> UpstreamError:
    """The error an answer other than 200 stands for.

    Only the four fields of an OpenAI error object are kept, and only for statuses that are the client's own business:
    a 401 from upstream is about our key, and HTML is nobody's.
    """
    if 300 <= status < 400 or 200 < status < 300:
        return UpstreamError(upstream, "garbage", status=status)
    return UpstreamError(
        upstream,
        "status",
        status=status,
        retryable=status >= 500 or status in (408, 429),
        retry_after_s=retry_after_s(headers.get("retry-after")),
        client_error=error_object(body) if status in HANDED_ON else None,
    )


def check_success(upstream: str, *, headers: Mapping[str, str], stream: bool) -> None:
    """Raise unless a 200 carries what was asked for: events for a stream, else JSON, and neither compressed."""
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    fits = kind == "text/event-stream" if stream else kind == "application/json" or kind.endswith("+json")
    if not fits or headers.get("content-encoding", "identity").lower() != "identity":
        raise UpstreamError(upstream, "garbage", status=200, retryable=True)


def error_object(body: bytes) -> dict[str, Any] | None:
    """The `error` of an OpenAI error body, its message bounded; None when the body is anything else."""
    try:
        error = orjson.loads(body)["error"]
        message = error["message"]
    except (orjson.JSONDecodeError, KeyError, TypeError, IndexError):
        return None
    if not isinstance(message, str):
        return None
    texts = {key: error.get(key) if isinstance(error.get(key), str) else None for key in ("type", "param", "code")}
    return {"message": message[:MESSAGE_CHARS], **texts}


def retry_after_s(value: str | None) -> float | None:
    """Seconds of a Retry-After header, given as a number or an HTTP date; None when absent or senseless."""
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(value).timestamp() - time.time()
        except (ValueError, TypeError):
            return None
    return min(max(seconds, 0.0), 86_400.0) if seconds == seconds else None
