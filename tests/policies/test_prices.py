from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.prices import (
    Price,
    UnknownPrice,
    Usage,
    cost_nano_usd,
    dearest_input,
    dearest_output,
    expected_output_price,
    nano_usd_per_mtok,
    prices_version,
)

TOKENS = st.integers(0, 10**7)
PRICES = st.integers(0, 10**12)


@given(TOKENS, TOKENS, PRICES, PRICES)
def test_the_cost_is_the_exact_sum_rounded_up_once(n_in: int, n_out: int, p_in: int, p_out: int) -> None:
    exact = Fraction(n_in * p_in + n_out * p_out, 10**6)
    cost = cost_nano_usd(Usage(input=n_in, output=n_out), Price(p_in, p_out))
    assert 0 <= cost - exact < 1


@given(st.integers(0, 1000), st.integers(0, 1000), st.integers(0, 1000), st.integers(0, 1000), PRICES, PRICES)
def test_kinds_without_a_price_of_their_own_cost_as_their_whole(
    plain: int, cached: int, written: int, hidden: int, p_in: int, p_out: int
) -> None:
    parts = Usage(plain + cached + written, hidden, cached_input=cached, cache_write=written, reasoning=hidden)
    whole = Usage(plain + cached + written, hidden)
    assert cost_nano_usd(parts, Price(p_in, p_out)) == cost_nano_usd(whole, Price(p_in, p_out))


def test_every_kind_of_token_has_its_own_price() -> None:
    price = Price(input=1_000_000, output=2_000_000, cached_input=100_000, cache_write=1_250_000, reasoning=3_000_000)
    usage = Usage(input=100, output=50, cached_input=40, cache_write=20, reasoning=10)
    assert cost_nano_usd(usage, price) == 40 * 1 + 4 + 25 + 40 * 2 + 10 * 3


@given(st.integers(0, 10**6), st.integers(0, 10**6), PRICES)
def test_a_longer_answer_never_costs_less(n_tokens: int, more: int, price: int) -> None:
    one = cost_nano_usd(Usage(output=n_tokens), Price(0, price))
    assert cost_nano_usd(Usage(output=n_tokens + more), Price(0, price)) >= one


def test_an_unknown_price_is_an_error_and_never_zero() -> None:
    with pytest.raises(UnknownPrice, match="no price"):
        cost_nano_usd(Usage(input=1), None)


def test_a_list_price_becomes_an_exact_integer() -> None:
    assert [nano_usd_per_mtok(usd) for usd in (0.15, 0.1, 2.19, 15.0)] == [
        150_000_000,
        100_000_000,
        2_190_000_000,
        15 * 10**9,
    ]


def test_an_hour_in_the_cache_and_sound_have_their_own_prices() -> None:
    price = Price(
        1_000_000,
        2_000_000,
        cache_write=1_250_000,
        cache_write_1h=2_000_000,
        audio_input=40_000_000,
        audio_output=80_000_000,
    )
    usage = Usage(100, 50, cache_write=20, cache_write_1h=8, audio_input=30, audio_output=10)
    assert cost_nano_usd(usage, price) == 50 * 1 + 12 * 1.25 + 8 * 2 + 30 * 40 + 40 * 2 + 10 * 80
    assert cost_nano_usd(usage, Price(1_000_000, 2_000_000)) == 100 * 1 + 50 * 2
    assert (dearest_input(price), dearest_output(price)) == (40_000_000, 80_000_000)


@given(st.integers(0, 10**10), st.integers(0, 10**9), TOKENS, PRICES)
def test_gpu_time_is_seconds_times_price_rounded_up_once_with_the_tokens(
    gpu_us: int, gpu_second: int, n_out: int, p_out: int
) -> None:
    exact = Fraction(gpu_us, 10**6) * gpu_second + Fraction(n_out * p_out, 10**6)
    cost = cost_nano_usd(Usage(output=n_out, gpu_us=gpu_us), Price(0, p_out, gpu_second=gpu_second))
    assert 0 <= cost - exact < 1


def test_time_is_expected_with_the_tokens_it_takes() -> None:
    assert expected_output_price(Price(1, 7), tokens_per_s=50.0) == 7
    per_mtok = expected_output_price(Price(0, 7, gpu_second=1_000_000), tokens_per_s=50.0)
    assert per_mtok == 7 + 20_000 * 1_000_000  # a million tokens take 20,000 seconds


def test_the_version_tells_any_change_of_any_price_and_nothing_else() -> None:
    table = {"a": Price(1, 2), "b": Price(3, 4, cached_input=1), "c": None}
    changes = [
        {"a": Price(1, 3)},
        {"b": Price(3, 4, cached_input=0)},
        {"b": Price(3, 4)},
        {"c": Price(0, 0)},
        {"d": None},
    ]
    versions = [prices_version({**table, **change}) for change in [{}, *changes]]
    assert len(set(versions)) == len(versions)
    assert prices_version(dict(reversed(table.items()))) == versions[0]
