"""From a model's name to an answer: picks a deployment, tries again where that is safe, and keeps account of it.

Nothing here hands a byte on, so trying again is always invisible to the client. Falling back to another arm is the
pipeline's: it calls `dispatch` again with another model and the same list of attempts.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from policies.records import AttemptRecord
from router.config.schema import Deployment
from router.errors import ApiError, BadRequest, NotFound, RateLimited, Unavailable, UpstreamFailed, UpstreamTimeout
from router.upstreams.base import Call, Reply, UpstreamError
from router.upstreams.deployments import Deployments, Endpoint, NoDeployment, build_deployments

__all__ = [
    "Attempt",
    "Deployments",
    "NoDeployment",
    "Sent",
    "build_deployments",
    "dispatch",
    "fetch",
    "retry_allowed",
    "to_api_error",
    "worth_falling_back",
]

T = TypeVar("T")
MAX_ATTEMPTS = 3
BACKOFF_S = 0.1
WAIT_MAX_S = 1.0


@dataclass(slots=True)
class Attempt:
    """The account of one attempt under way, which exactly one of the three endings closes.

    `ended`, `failed` and `abandoned` append the AttemptRecord, tell the breaker and free the place; only the first
    one called counts, so a `finally: attempt.abandoned()` is safe.
    """

    deployments: Deployments
    endpoint: Endpoint
    arm: str
    revision: str
    started: float  # on the deployments' clock
    attempts: list[AttemptRecord]
    _open: bool = field(default=True, init=False)

    @property
    def deployment(self) -> str:
        return self.endpoint.name

    @property
    def upstream_model(self) -> str:
        return self.endpoint.config.model or ""

    def ended(self) -> None:
        """The body arrived whole."""
        if self._open:
            self.endpoint.breaker.succeeded(self._close("ok", 200))

    def failed(self, error: UpstreamError) -> None:
        """No answer, or its body was cut, late or senseless."""
        if self._open:
            blame(self.endpoint, error, self._close(error.kind, error.status))

    def abandoned(self) -> None:
        """The client left; that says nothing about the endpoint."""
        if self._open:
            self._close("cancelled", 0)
            self.endpoint.breaker.abandoned()

    def _close(self, kind: str, status: int) -> float:
        self._open = False
        now = self.deployments.clock()
        self.endpoint.in_flight -= 1
        seconds = now - self.started
        self.attempts.append(AttemptRecord(self.deployment, self.arm, self.revision, kind, status, seconds))
        return now


@dataclass(frozen=True, slots=True)
class Sent:
    """A 200 whose body is still to come, and the open account of its attempt, which the reader closes."""

    reply: Reply
    attempt: Attempt


async def dispatch(
    deployments: Deployments,
    model: str,
    call_for: Callable[[Deployment], Call],
    *,
    arm: str,
    revision: str,
    attempts: list[AttemptRecord],
) -> Sent:
    """Send to one of the model's deployments, at most 3 attempts for an arm, until one answers 200.

    Args:
        call_for: The call for a deployment, whose `model` is the name the endpoint knows.
        attempts: Every attempt that failed is appended; the returned one when it ends. Attempts of `arm` that are
            already in it count.

    Raises:
        UpstreamError: The last attempt's, or NoDeployment when none could be made.
    """
    last: UpstreamError | None = None
    if not any(attempt.arm == arm for attempt in attempts):
        deployments.note_request(model)
    while True:
        tried = {attempt.deployment for attempt in attempts if attempt.arm == arm}
        try:
            endpoint = deployments.pick(model, avoid=tried)
        except NoDeployment as none:
            raise last or none from last
        try:
            return await _attempt(
                deployments, endpoint, call_for(endpoint.config), arm=arm, revision=revision, attempts=attempts
            )
        except UpstreamError as error:
            last = error
        wait_s = _wait_s(deployments, model, last, attempts=attempts, arm=arm)
        if wait_s is None or not deployments.take_retry(attempts[-1].deployment):
            raise last
        await deployments.sleep(wait_s)


async def fetch(
    deployments: Deployments,
    model: str,
    call_for: Callable[[Deployment], Call],
    *,
    arm: str,
    revision: str,
    attempts: list[AttemptRecord],
    read: Callable[[Attempt, bytes], T],
) -> T:
    """`dispatch`, and what ``read`` makes of the whole body: an answer that is not streamed can be asked for again.

    Args:
        read: Raises UpstreamError for a body that is no answer; that attempt has then failed like any other.
    """
    while True:
        sent = await dispatch(deployments, model, call_for, arm=arm, revision=revision, attempts=attempts)
        try:
            answer = read(sent.attempt, await sent.reply.read())
        except UpstreamError as error:
            sent.attempt.failed(error)
            if not retry_allowed(deployments, error, arm=arm, attempts=attempts):
                raise
        else:
            sent.attempt.ended()
            return answer
        finally:
            sent.attempt.abandoned()
            await sent.reply.aclose()


def retry_allowed(deployments: Deployments, error: UpstreamError, *, arm: str, attempts: list[AttemptRecord]) -> bool:
    """Whether `dispatch` may be called again for the same arm; takes one retry from the budget when it may.

    For a body that was cut, late or senseless before anything of it was handed on.
    """
    mine = [attempt.deployment for attempt in attempts if attempt.arm == arm]
    safe = error.retryable or error.kind in ("cut", "garbage")
    return safe and 0 < len(mine) < MAX_ATTEMPTS and deployments.take_retry(mine[-1])


def worth_falling_back(error: UpstreamError) -> bool:
    """Whether another model could do what this one failed to: not when the request itself was at fault."""
    return error.retryable or error.kind != "status" or error.status >= 500 or error.status in (401, 402, 403, 429)


def blame(endpoint: Endpoint, error: UpstreamError, now: float) -> None:
    """Tell the breaker whose fault an error is: busy and the client's own mistakes are no failures of the endpoint."""
    fault = error.kind != "status" or error.status >= 500 or error.status in (401, 403, 408)
    if error.kind == "loading":
        endpoint.breaker.abandoned()
    elif fault:
        endpoint.breaker.failed(now)
    else:
        endpoint.breaker.answered()


def to_api_error(error: UpstreamError) -> ApiError:
    """What the client is told: its own mistakes as the upstream put them, all else without a word from upstream."""
    if error.status == 429:
        return _handed_on(
            RateLimited(_message(error, "is over its rate limit"), retry_after_s=error.retry_after_s), error
        )
    if error.client_error is not None:
        kind = NotFound if error.status == 404 else BadRequest
        return _handed_on(kind(error.client_error["message"], status=error.status), error)
    if isinstance(error, NoDeployment) or error.kind == "loading":
        reason = "is still loading" if error.kind == "loading" else "has no healthy deployment"
        if isinstance(error, NoDeployment) and error.why:
            reason = f"cannot be called now ({error.why})"
        return Unavailable(f"model {error.upstream!r} {reason}; try again", retry_after_s=error.retry_after_s)
    if error.status == 503 and error.retry_after_s is not None:
        return Unavailable(f"{error}; try again later", retry_after_s=error.retry_after_s)
    if error.kind == "timeout" or error.status in (408, 504):
        return UpstreamTimeout(f"{error}; it gave no answer in time")
    return UpstreamFailed(str(error))


def _message(error: UpstreamError, otherwise: str) -> str:
    return str(error.client_error["message"]) if error.client_error else f"upstream {error.upstream!r} {otherwise}"


def _handed_on(answer: ApiError, error: UpstreamError) -> ApiError:
    given = error.client_error or {}
    answer.param = given.get("param")
    answer.code = given.get("code") or answer.code
    answer.type = given.get("type") or answer.type
    return answer


async def _attempt(
    deployments: Deployments,
    endpoint: Endpoint,
    call: Call,
    *,
    arm: str,
    revision: str,
    attempts: list[AttemptRecord],
) -> Sent:
    started = deployments.clock()
    endpoint.breaker.start()
    endpoint.in_flight += 1
    attempt = Attempt(deployments, endpoint, arm, revision, started, attempts)
    try:
        reply = await endpoint.upstream.send(call, endpoint.timeouts)
    except UpstreamError as error:
        attempt.failed(error)
        raise
    except BaseException:
        attempt.abandoned()
        raise
    endpoint.breaker.answered()
    return Sent(reply, attempt)


def _wait_s(
    deployments: Deployments, model: str, error: UpstreamError, *, attempts: list[AttemptRecord], arm: str
) -> float | None:
    """Seconds to wait before the next attempt; None when there shall be none."""
    mine = [attempt.deployment for attempt in attempts if attempt.arm == arm]
    if not error.retryable or len(mine) >= MAX_ATTEMPTS:
        return None
    # Full jitter: a fixed pause would send all clients of an outage back at the same moment.
    jitter_s: float = deployments.rng.random() * min(BACKOFF_S * 2.0 ** len(mine), WAIT_MAX_S)
    if deployments.has_other(model, mine):
        return jitter_s / 4
    if error.retry_after_s is not None:
        return error.retry_after_s if error.retry_after_s <= WAIT_MAX_S else None
    return jitter_s
