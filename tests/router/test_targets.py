"""What the name of a model asks for."""

import pytest
from rig import config_of, tree

from policies.arms import Arm
from router.config.arms import arm_table
from router.errors import NotFound
from router.targets import Target, resolve, virtual_models

PLAIN = tree("small", "org/big:8b")
PLAIN["models"]["org/big:8b"] |= {"modes": ["instant", "reasoning"], "thinking": "prompt", "efforts": ["low", "high"]}
ARMS = arm_table(config_of(PLAIN))
MODELS = {"small": "small/instant", "org/big:8b": "org/big:8b/instant"}


def asked(model: str) -> Target:
    return resolve(model, arms=ARMS, models=MODELS, trade_offs=("cheap", "mine"))


@pytest.mark.parametrize(
    ("model", "target"),
    [
        ("auto", Target()),
        ("auto:cheap", Target(trade_off="cheap")),
        ("auto:mine", Target(trade_off="mine")),
        ("auto:reasoning", Target(mode="reasoning")),
        ("auto:agentic", Target(mode="agentic")),
        ("router-mf-0.11593", Target()),
        ("router-bert-.5", Target()),
        ("small", Target(forced=Arm("small", "instant"), as_sent=True)),
        ("small/instant", Target(forced=Arm("small", "instant"))),
        ("org/big:8b", Target(forced=Arm("org/big:8b", "instant"), as_sent=True)),
        ("org/big:8b/reasoning:high", Target(forced=Arm("org/big:8b", "reasoning", "high"))),
    ],
)
def test_a_name_asks_for_the_router_a_model_or_an_arm(model: str, target: Target) -> None:
    assert asked(model) == target


@pytest.mark.parametrize(
    "model",
    [
        *("", "gpt-9", "auto:", "auto:nothing", "AUTO", "/instant"),
        *("small/reasoning", "org/big:8b/reasoning:medium", "small/instant+vote=5"),
        *("router-mf", "router-mf-high", "router-mf-0.1\n", "router--0.1"),
    ],
)
def test_any_other_name_is_not_found(model: str) -> None:
    with pytest.raises(NotFound) as refused:
        asked(model)
    assert (refused.value.status, refused.value.code, refused.value.param) == (404, "model_not_found", "model")


def test_a_long_name_is_not_repeated_whole() -> None:
    with pytest.raises(NotFound) as refused:
        asked("x" * 10_000)
    assert len(refused.value.message) < 200


def test_virtual_names_resolve() -> None:
    for name in virtual_models(["cheap", "mine"], ["instant", "reasoning"]):
        assert asked(name).forced is None
