"""An error object that an upstream sends after it had answered 200: inside a stream, or in place of an answer."""

import re
from typing import Any

import orjson

from router.upstreams.base import UpstreamError
from router.upstreams.wire import refused


def midway_error(upstream: str, error: Any) -> UpstreamError:
    """The error it stands for; its status is the one it names in `code` or `status`, else 500."""
    status = 500
    if type(error) is dict:
        for name in ("code", "status"):
            named = error.get(name)
            digits = str(named) if type(named) in (int, str) else ""
            if re.fullmatch("[45][0-9][0-9]", digits):
                status = int(digits)
                break
    return refused(upstream, status=status, headers={}, body=orjson.dumps({"error": error}))
