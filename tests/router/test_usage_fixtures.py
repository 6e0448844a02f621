"""Every shape of usage that the providers document: tokens by kind and the bill, to the nano-dollar."""

from pathlib import Path
from typing import Any

import orjson
import pytest

from policies.prices import Usage, cost_nano_usd
from router.config.arms import price_of
from router.config.schema import PriceConfig
from router.http.usage import read_usage
from router.http.usage_fields import costs_differ, reported_usd

FOLDER = Path(__file__).parents[1] / "fixtures" / "usage"
PROVIDERS = {"openai", "anthropic", "gemini", "deepseek", "mistral", "vllm", "ollama", "openrouter", "xai"}
SEEN = {"prompt": 1, "generated": 1, "max_tokens": None, "max_prompt": None}


def cases() -> list[Any]:
    found = []
    for path in sorted(FOLDER.glob("*.json")):
        told = orjson.loads(path.read_bytes())
        assert told["source"], f"{path.name} names no documentation"
        for case in told["cases"]:
            defaults = {"price": told["price"], "seen": told.get("seen", {})}
            found.append(pytest.param({**defaults, **case}, id=f"{path.stem}: {case['name']}"))
    return found


def test_every_provider_of_the_list_has_cases() -> None:
    assert {path.stem for path in FOLDER.glob("*.json")} == PROVIDERS | {"senseless"}


@pytest.mark.parametrize("case", cases())
def test_tokens_and_bill_are_exact(case: Any) -> None:
    seen = {**SEEN, **case["seen"]}
    usage, source, flags = read_usage(
        case["usage"],
        prompt_estimate=seen["prompt"],
        generated_estimate=seen["generated"],
        max_tokens=seen["max_tokens"],
        max_prompt=seen["max_prompt"],
    )
    assert usage == Usage(**case["tokens"])
    assert (source, list(flags)) == (case.get("source_of_usage", "upstream"), case.get("flags", []))
    price = price_of(PriceConfig(**case["price"]))
    bill = cost_nano_usd(Usage(**case["tokens"], gpu_us=round(case.get("seconds", 0) * 1e6)), price)
    assert bill == case["nano_usd"]
    told = reported_usd(case["usage"])
    assert (told is not None and costs_differ(told, bill)) is case.get("cost_differs", False)


@pytest.mark.parametrize("case", cases())
def test_the_sum_written_beside_a_bill_is_its_sum(case: Any) -> None:
    """The figures were added by hand: the addition is checked apart from the code that bills."""
    written = case["sum"].partition(" = ")[0].replace(" us x ", " x ").replace(" nano-USD per second", "")
    terms = [[float(factor) for factor in term.split(" x ")] for term in written.split(" + ")]
    total = sum(term[0] * (term[1] if len(term) == 2 else 1.0) for term in terms)
    scale = 1e-6 if "per second" in case["sum"] else 1.0
    assert case["nano_usd"] - 1 < total * scale <= case["nano_usd"]
