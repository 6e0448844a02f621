"""Circuit breaker of one deployment: stops calling what does not answer, and asks again with one probe at a time."""

from collections import deque
from typing import Literal

CONSECUTIVE = 5
WINDOW_S = 30.0
WINDOW_CALLS = 20
WINDOW_SHARE = 0.5
OPEN_S = 5.0
OPEN_MAX_S = 60.0

State = Literal["closed", "open", "half_open"]


class Breaker:
    """Opens after 5 failures in a row, or when half of at least 20 calls within 30 s failed.

    It stays open 5 s, twice as long each time it opens again without a success in between (at most 60 s). Then one
    call at a time is let through: an answer closes it, a failure opens it again. All methods take the time in seconds
    of any monotonic clock.

    Source: Envoy's outlier detection (consecutive errors, success rate, ejection time that grows).
    """

    __slots__ = ("_calls", "_consecutive", "_failures", "_openings", "_probing", "_seconds", "_until", "state")

    def __init__(self) -> None:
        self.state: State = "closed"
        self._seconds: deque[list[int]] = deque()  # [second, calls, failures] of each second of the window
        self._calls = self._failures = 0
        self._consecutive = 0
        self._openings = 0
        self._until = 0.0
        self._probing = False

    def usable(self, now: float) -> bool:
        """Whether a call may go out now."""
        return self.state == "closed" or (now >= self._until and not self._probing)

    def wait_s(self, now: float) -> float:
        """Seconds until a call may go out; 0 when it may."""
        return 0.0 if self.usable(now) else max(self._until - now, 0.1)

    def start(self) -> None:
        """A call goes out; of an open breaker it is the probe."""
        if self.state != "closed":
            self.state, self._probing = "half_open", True

    def answered(self) -> None:
        """The endpoint answered something sensible (a 200, a 429, the client's own mistake): a probe has succeeded."""
        if self.state != "closed":
            self.state, self._probing, self._consecutive = "closed", False, 0
            self._seconds.clear()
            self._calls = self._failures = 0

    def succeeded(self, now: float) -> None:
        """A call ended well."""
        self.answered()
        self._consecutive = self._openings = 0
        self._note(now, failed=False)

    def failed(self, now: float) -> None:
        """A call failed by the endpoint's fault."""
        self._consecutive += 1
        self._note(now, failed=True)
        if self.state == "half_open" or (self.state == "closed" and self._is_sick()):
            self._open(now)

    def abandoned(self) -> None:
        """A call ended without saying anything about the endpoint (the client left)."""
        self._probing = False

    def _is_sick(self) -> bool:
        half = self._calls >= WINDOW_CALLS and self._failures >= WINDOW_SHARE * self._calls
        return half or self._consecutive >= CONSECUTIVE

    def _open(self, now: float) -> None:
        self.state, self._probing = "open", False
        self._until = now + min(OPEN_S * 2**self._openings, OPEN_MAX_S)
        self._openings = min(self._openings + 1, 10)
        self._consecutive = 0

    def _note(self, now: float, *, failed: bool) -> None:
        seconds, second = self._seconds, int(now)
        if not seconds or seconds[-1][0] != second:
            seconds.append([second, 0, 0])
            while seconds[0][0] <= second - WINDOW_S:
                _, calls, failures = seconds.popleft()
                self._calls -= calls
                self._failures -= failures
        seconds[-1][1] += 1
        seconds[-1][2] += failed
        self._calls += 1
        self._failures += failed
