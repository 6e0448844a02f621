"""The circuit breaker and the retry budget, by an injected clock."""

from router.upstreams.breaker import CONSECUTIVE, OPEN_MAX_S, OPEN_S, Breaker
from router.upstreams.retries import RetryBudget


def broken(at: float = 0.0) -> Breaker:
    breaker = Breaker()
    for _ in range(CONSECUTIVE):
        breaker.failed(at)
    return breaker


def test_five_failures_in_a_row_open_it() -> None:
    breaker = Breaker()
    for _ in range(CONSECUTIVE - 1):
        breaker.failed(0.0)
    assert breaker.usable(0.0)
    breaker.failed(0.0)
    assert not breaker.usable(0.0)
    assert breaker.wait_s(1.0) == OPEN_S - 1.0


def test_a_success_in_between_starts_the_count_again() -> None:
    breaker = Breaker()
    for _ in range(CONSECUTIVE - 1):
        breaker.failed(0.0)
    breaker.succeeded(0.0)
    breaker.failed(0.0)
    assert breaker.state == "closed"


def test_half_of_twenty_failing_within_the_window_opens_it() -> None:
    breaker = Breaker()
    for second in range(10):
        breaker.succeeded(float(second))
        assert breaker.state == "closed"
        breaker.failed(float(second))
    assert breaker.state == "open"


def test_failures_older_than_the_window_are_forgotten() -> None:
    breaker = Breaker()
    for second in range(0, 400, 8):
        breaker.succeeded(float(second))
        breaker.failed(float(second))
    assert breaker.state == "closed"


def test_one_probe_at_a_time_is_let_through() -> None:
    breaker = broken()
    assert breaker.usable(OPEN_S)
    breaker.start()
    assert not breaker.usable(OPEN_S + 100)


def test_an_answered_probe_closes_it() -> None:
    breaker = broken()
    breaker.start()
    breaker.answered()
    assert breaker.state == "closed"
    assert breaker.usable(OPEN_S)


def test_a_probe_whose_client_left_makes_room_for_the_next() -> None:
    breaker = broken()
    breaker.start()
    breaker.abandoned()
    assert breaker.usable(OPEN_S)


def test_each_failed_probe_doubles_the_pause_up_to_a_minute() -> None:
    breaker, now, pauses = broken(), 0.0, []
    for _ in range(6):
        pauses.append(breaker.wait_s(now))
        now += pauses[-1]
        breaker.start()
        breaker.failed(now)
    assert pauses == [5.0, 10.0, 20.0, 40.0, OPEN_MAX_S, OPEN_MAX_S]


def test_retries_are_a_fifth_of_the_requests_and_three() -> None:
    budget = RetryBudget()
    taken = 0
    for _ in range(1000):
        budget.request(0.0, live=50)
        taken += budget.take(0.0) + budget.take(0.0)
    assert 200 <= taken <= 204


def test_a_quiet_hour_saves_up_no_storm() -> None:
    budget = RetryBudget()
    for second in range(3600):
        budget.request(float(second), live=10)
    assert sum(budget.take(3600.0) for _ in range(100)) == 5


def test_a_lone_caller_gets_its_reserve_back() -> None:
    budget = RetryBudget()
    assert [budget.take(0.0) for _ in range(4)] == [True, True, True, False]
    assert budget.take(10.0)
    assert not budget.take(10.0)
