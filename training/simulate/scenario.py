"""What happens to a stream: an arm gets worse, dearer, unreachable or is new, and feedback is late, lost or lies."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Scenario:
    """A course of events; times are shares of the stream, 0..1.

    Attributes:
        breaks_at: When ``arm`` silently loses ``loss`` of its right answers; 1: never.
        price_at / price_factor: When its price, as configured and billed, is multiplied; 1: never.
        out_from / out_until: While it cannot be asked.
        joins_at: From when on it can be asked at all; 0: from the start.
        arm: Name of the arm it happens to; empty: the best fixed one of the stream.
        delay: Requests between an answer and its feedback.
        missing: Share of answers without feedback.
        noise: Share of feedback that says the opposite.
        poison: Share of requests from somebody who calls every answer of the arm bad and every other one good.
        n_tenants: Whose requests alternate at random.
    """

    name: str = "still"
    breaks_at: float = 1.0
    loss: float = 0.45
    price_at: float = 1.0
    price_factor: float = 1.0
    out_from: float = 1.0
    out_until: float = 1.0
    joins_at: float = 0.0
    arm: str = ""
    delay: int = 0
    missing: float = 0.0
    noise: float = 0.0
    poison: float = 0.0
    n_tenants: int = 1

    def __post_init__(self) -> None:
        shares = (self.breaks_at, self.loss, self.price_at, self.out_from, self.out_until, self.joins_at)
        if not all(0.0 <= share <= 1.0 for share in (*shares, self.missing, self.noise, self.poison)):
            raise ValueError(f"scenario {self.name!r}: times and shares lie in 0..1")
        if self.delay < 0 or self.n_tenants < 1 or self.price_factor < 0 or self.out_from > self.out_until:
            raise ValueError(f"scenario {self.name!r}: delay and price must not be negative, one tenant at least")


def scenarios() -> dict[str, Scenario]:
    """The scenarios that have a name."""
    known = (
        Scenario(),
        Scenario("drift", breaks_at=0.5),
        Scenario("price", price_at=0.5, price_factor=0.1),
        Scenario("outage", out_from=0.4, out_until=0.6),
        Scenario("newcomer", joins_at=0.5),
        Scenario("delayed", delay=500),
        Scenario("missing", missing=0.9),
        Scenario("noisy", noise=0.1),
        Scenario("poisoned", poison=0.05),
        Scenario("tenants", n_tenants=4),
    )
    return {each.name: each for each in known}
