"""How often trying again is allowed, so that an outage does not multiply the load on what is left."""

RATIO = 0.2
RESERVE = 3.0
RESERVE_S = 30.0


class RetryBudget:
    """A bucket of retries: each request adds 0.2, each retry takes 1.

    It holds at most 3 plus 20 % of the live requests, so a quiet hour saves up nothing that an outage could spend at
    once; and it refills to 3 within 30 s, so that a lone caller is helped too.

    Source: Finagle's retry budget; the bound by live requests is Envoy's.
    """

    __slots__ = ("_at", "_tokens")

    def __init__(self) -> None:
        self._tokens = RESERVE
        self._at: float | None = None

    def request(self, now: float, *, live: int) -> None:
        """A client's request goes to its first attempt; `live` requests are in flight."""
        self._refill(now)
        self._tokens = min(self._tokens + RATIO, RESERVE + RATIO * live)

    def take(self, now: float) -> bool:
        """Whether one retry is allowed; takes it."""
        self._refill(now)
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True

    def _refill(self, now: float) -> None:
        elapsed_s = now - self._at if self._at is not None else 0.0
        self._at = now
        if self._tokens < RESERVE:
            self._tokens = min(self._tokens + elapsed_s * RESERVE / RESERVE_S, RESERVE)
