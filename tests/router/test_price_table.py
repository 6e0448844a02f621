"""Prices as a file writes them: litellm's table as data, figures of one's own before it, time alone."""

import sys
from importlib.util import find_spec
from typing import Any

import pytest

from policies.prices import Price
from router.config.arms import price_of
from router.config.load import build_config
from router.config.price_table import NoSuchPrice, dearer_above, fill_prices, price_in, read_table
from router.config.problems import ConfigError
from router.config.review import warnings_of
from router.config.schema import PriceConfig

needs_litellm = pytest.mark.skipif(find_spec("litellm") is None, reason="litellm is not installed")
TABLE = {
    "p/small": {"input_cost_per_token": 1e-07, "output_cost_per_token": 4e-07, "cache_read_input_token_cost": 1e-08},
    "p/large": {
        "input_cost_per_token": 3e-06,
        "output_cost_per_token": 1.5e-05,
        "cache_creation_input_token_cost": 3.75e-06,
        "cache_creation_input_token_cost_above_1hr": 6e-06,
        "output_cost_per_reasoning_token": 1.6e-05,
        "input_cost_per_audio_token": 4e-05,
        "output_cost_per_audio_token": 8e-05,
        "input_cost_per_token_above_272k_tokens": 6e-06,
        "input_cost_per_token_above_200k_tokens_priority": 7e-06,
    },
    "p/by-image": {"output_cost_per_image": 0.04},
    "p/odd": {"input_cost_per_token": "1e-7", "output_cost_per_token": 1e-07},
}


def filled(price: Any, *names: str) -> tuple[Any, list[str]]:
    deployments = [{"upstream": "litellm", "model": name} for name in names or ("p/small",)]
    tree = {"models": {"m": {"deployments": deployments, "price": price}}}
    full, problems = fill_prices(tree, read=lambda: TABLE)
    return full["models"]["m"].get("price"), [problem.message for problem in problems]


def test_an_entry_is_usd_per_million_tokens() -> None:
    usd = price_in(TABLE, "p/large")
    assert price_of(PriceConfig(**usd)) == Price(
        input=3 * 10**9,
        output=15 * 10**9,
        cache_write=3_750_000_000,
        reasoning=16 * 10**9,
        cache_write_1h=6 * 10**9,
        audio_input=40 * 10**9,
        audio_output=80 * 10**9,
    )


def test_a_model_may_take_its_own_entry_or_name_another() -> None:
    small = {"input": 0.1, "output": 0.4, "cached_input": 0.01, "litellm": "p/small"}
    assert filled("litellm") == (small, [])
    assert filled({"litellm": "p/small"}, "p/large") == (small, [])
    assert filled("litellm", "p/small", "p/small") == (small, [])


def test_figures_of_ones_own_go_before_the_table() -> None:
    price, problems = filled({"litellm": "p/small", "output": 0.2, "usd_per_gpu_second": 0.5})
    assert problems == []
    assert price == {"input": 0.1, "output": 0.2, "cached_input": 0.01, "litellm": "p/small", "usd_per_gpu_second": 0.5}


def test_time_alone_asks_nothing_for_tokens_and_other_prices_stay_as_they_are() -> None:
    assert filled({"usd_per_gpu_second": 0.5}) == ({"input": 0.0, "output": 0.0, "usd_per_gpu_second": 0.5}, [])
    for price in ({"input": 1}, {"usd_per_gpu_second": 0.5, "input": 1}, 3, None, "free"):
        assert filled(price) == (price, [])


@pytest.mark.parametrize(
    ("price", "names", "message"),
    [
        ({"litellm": "q/small"}, (), "has no 'q/small'; it has p/small; name an entry"),
        ({"litellm": "p/smal"}, (), "did you mean 'p/small'"),
        ("litellm", ("p/small", "p/large"), "its deployments have several prices (p/small, p/large); name one"),
        ({"litellm": "p/by-image"}, (), "no price by the token for 'p/by-image'; write input and output"),
        ({"litellm": "p/odd"}, (), "no price by the token"),
        ({"litellm": 3}, (), "has no '3'"),
    ],
)
def test_what_cannot_be_found_says_what_to_write(price: Any, names: tuple[str, ...], message: str) -> None:
    _, (problem,) = filled(price, *names)
    assert message in problem


def test_without_the_package_a_reference_is_a_mistake() -> None:
    def gone() -> Any:
        raise NoSuchPrice("litellm's price table is not here: pip install 'gearshift[litellm]'")

    tree = {"models": {"m": {"deployments": [{"upstream": "fake"}], "price": "litellm"}}}
    _, (problem,) = fill_prices(tree, read=gone)
    assert (problem.place, "pip install" in problem.message) == ("models.m.price", True)


def test_a_tree_that_is_no_configuration_is_left_to_the_schema() -> None:
    for tree in (None, [], {"models": []}, {"models": {"m": None}}, {"models": {"m": {"price": "litellm"}}}):
        fill_prices(tree, read=lambda: TABLE)


def test_the_first_step_of_a_price_is_told() -> None:
    assert (dearer_above(TABLE, "p/large"), dearer_above(TABLE, "p/small")) == (200_000, None)


@needs_litellm
def test_the_installed_table_is_read_without_importing_the_package() -> None:
    before = "litellm" in sys.modules
    tree = {
        "models": {
            "claude": {
                "deployments": [{"upstream": "litellm", "model": "anthropic/claude-sonnet-4-5"}],
                "price": {"litellm": "claude-sonnet-4-5", "cache_write": 1.25},
            },
            "pro": {
                "deployments": [{"upstream": "litellm", "model": "gemini/gemini-2.5-pro"}],
                "price": "litellm",
                "context_tokens": 1_000_000,
            },
        }
    }
    config = build_config(tree, source="test", env={})
    told = {problem.place: problem.message for problem in warnings_of(config)}
    price = price_of(config.models["claude"].price)
    assert price is not None
    assert price.cache_write == 1_250_000_000
    assert price.input > 0 < price.output
    assert "costs more above 200000 prompt tokens" in told["models.pro.price.litellm"]
    assert ("litellm" in sys.modules) == before


@needs_litellm
def test_a_wrong_entry_is_reported_with_the_other_mistakes() -> None:
    tree = {
        "models": {"m": {"deployments": [{"upstream": "fake"}], "price": {"litellm": "no-such/model-at-all"}, "x": 1}}
    }
    with pytest.raises(ConfigError) as caught:
        build_config(tree, source="test", env={})
    assert [problem.place for problem in caught.value.problems] == ["models.m.price", "models.m.x"]


@needs_litellm
def test_every_entry_of_the_installed_table_has_a_price_or_says_why_not() -> None:
    table, priced = read_table(), 0
    for entry in table:
        try:
            price = price_of(PriceConfig(**price_in(table, entry)))
        except NoSuchPrice:
            continue
        priced += price is not None
        dearer_above(table, entry)
    assert priced > 1000
