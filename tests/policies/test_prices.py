from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.prices import Price, UnknownPrice, Usage, cost_nano_usd, nano_usd_per_mtok

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
