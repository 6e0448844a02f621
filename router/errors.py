"""Errors a client sees: one class per decision the caller can take, each an OpenAI error object on the wire."""

import orjson


class ApiError(Exception):
    """An answer that is an error. `message` never holds prompt, answer or key text.

    Attributes:
        headers: Sent with it; a request that got as far as a decision tells its id and the decision here.

    Source: OpenAI API reference, "Error codes"; the object is ``{"error": {message, type, param, code}}``.
    """

    status = 500
    type = "server_error"
    code: str | None = "internal_error"

    def __init__(
        self,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        status: int | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message, self.param, self.retry_after_s = message, param, retry_after_s
        self.headers: list[tuple[bytes, bytes]] = []
        self.code = code if code is not None else type(self).code
        self.status = status if status is not None else type(self).status

    def body(self) -> bytes:
        """The OpenAI error object."""
        return orjson.dumps(
            {"error": {"message": self.message, "type": self.type, "param": self.param, "code": self.code}}
        )


class BadRequest(ApiError):
    status, type, code = 400, "invalid_request_error", "invalid_request"


class NoEligibleModel(BadRequest):
    """Every arm was removed; `message` says why for each."""

    code = "no_eligible_model"


class Unauthorized(ApiError):
    status, type, code = 401, "invalid_request_error", "invalid_api_key"


class TenantUnusable(ApiError):
    """The key is known, but its tenant's settings do not fit this gateway's configuration."""

    status, type, code = 403, "invalid_request_error", "tenant_unusable"


class NotFound(ApiError):
    status, type, code = 404, "invalid_request_error", "not_found"


class MethodNotAllowed(ApiError):
    status, type, code = 405, "invalid_request_error", "method_not_allowed"


class Conflict(ApiError):
    """What is there already, or stands in the configuration file, stands in the way."""

    status, type, code = 409, "invalid_request_error", "conflict"


class BodyTooSlow(ApiError):
    status, type, code = 408, "invalid_request_error", "request_timeout"


class BodyTooLarge(ApiError):
    status, type, code = 413, "invalid_request_error", "request_too_large"


class HeadersTooLarge(ApiError):
    status, type, code = 431, "invalid_request_error", "headers_too_large"


class RateLimited(ApiError):
    status, type, code = 429, "rate_limit_error", "rate_limit_exceeded"


class BudgetExceeded(ApiError):
    """No arm that may answer fits what the tenant's budget has left; `retry_after_s` is the window's end."""

    status, type, code = 429, "rate_limit_error", "budget_exceeded"


class UpstreamFailed(ApiError):
    """The upstream broke its promise: unreachable, its own 401/5xx, HTML, a cut or senseless body."""

    status, type, code = 502, "upstream_error", "upstream_error"


class UpstreamTimeout(ApiError):
    status, type, code = 504, "upstream_error", "upstream_timeout"


class Unavailable(ApiError):
    """This gateway cannot serve now: draining, overloaded, no healthy deployment."""

    status, type, code = 503, "server_error", "unavailable"


class StoreDown(Unavailable):
    code = "store_unavailable"


class LedgerDown(Unavailable):
    """The store is down, and the tenant has a budget that nobody could count."""

    code = "ledger_unavailable"
