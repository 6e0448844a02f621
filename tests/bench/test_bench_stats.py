import numpy as np
import pytest

from bench.stats import per_event_us, percentile, ratio, spread


def test_percentile_is_the_nearest_rank() -> None:
    values = np.arange(1.0, 101.0)
    assert [percentile(values, p) for p in (1, 50, 99, 100)] == [1.0, 50.0, 99.0, 100.0]


def test_percentile_never_invents_a_latency() -> None:
    values = np.array([1.0, 1.0, 1.0, 9.0])
    assert percentile(values, 75) == 1.0
    assert percentile(values, 99) == 9.0


def test_percentile_does_not_depend_on_the_order() -> None:
    values = np.random.default_rng(0).exponential(size=501)
    assert percentile(values, 50) == np.median(values)


def test_percentile_of_nothing_is_an_error() -> None:
    with pytest.raises(ValueError, match="no request finished"):
        percentile(np.zeros(0), 50)


def test_spread_is_median_and_extremes() -> None:
    got = spread([3.0, 1.0, 2.0, 10.0, 2.5])
    assert (got.median, got.low, got.high, got.rounds) == (2.5, 1.0, 10.0, 5)


def test_spread_of_no_round_is_an_error() -> None:
    with pytest.raises(ValueError, match="no round"):
        spread([])


def test_ratio_pairs_the_rounds() -> None:
    # Both sides double in the second round: the machine was slow, the ratio is the same.
    got = ratio([8.0, 16.0], [1.0, 2.0])
    assert (got.median, got.low, got.high) == (8.0, 8.0, 8.0)


def test_ratio_middle_is_the_ratio_of_medians() -> None:
    got = ratio([10.0, 12.0, 20.0], [1.0, 4.0, 2.0])
    assert (got.median, got.low, got.high) == (6.0, 3.0, 10.0)


@pytest.mark.parametrize("ours", [[], [0.0], [1.0, -1.0]])
def test_ratio_needs_positive_figures(ours: list[float]) -> None:
    with pytest.raises(ValueError, match="positive"):
        ratio([1.0, 1.0], ours)


def test_price_of_an_event_leaves_the_request_out() -> None:
    # A request costs 500 µs and an event 7 µs.
    def cpu_s(events: int) -> float:
        return (500 + 7 * events) * 1e-6

    got = per_event_us(long_cpu_s=cpu_s(100), short_cpu_s=cpu_s(1), long_events=100, short_events=1)
    assert got == pytest.approx(7.0)
