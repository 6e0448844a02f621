"""The gateway's configuration in each phase: a pool's models at list prices, under rules by price or an artifact."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.loop.plan import LoopFailed, Settings
from policies.pools import PoolArm, load_pool_definition
from policies.prices import NANO

TRADE_OFF = "loop"
MODEL = f"auto:{TRADE_OFF}"


def logging_config(settings: Settings, *, base_url: str, store: Path, explore: float) -> dict[str, Any]:
    """Rules: mathematics and code to the dearest arm, all else to the one of the middle price.

    They know the price list and no outcome, as whoever starts without a log does.
    """
    arms = sorted(_arms(settings), key=lambda arm: (_list_price(arm), arm.arm.name))
    dear, middle = arms[-1].arm.name, arms[(len(arms) - 1) // 2].arm.name
    rules = [
        {"when": {"is_math": True}, "prefer": [dear], "because": "mathematics goes to the dearest arm"},
        {"when": {"is_code": True}, "prefer": [dear], "because": "code goes to the dearest arm"},
        {"prefer": [middle], "because": "all else goes to the arm of the middle price"},
    ]
    policy = {"name": "rules", "rules": rules}
    return _config(settings, policy, base_url=base_url, store=store, explore=explore)


def learned_config(settings: Settings, *, base_url: str, store: Path, artifact: Path) -> dict[str, Any]:
    """The artifact that the log taught, without exploration."""
    policy = {"name": "default", "artifact": str(artifact)}
    return _config(settings, policy, base_url=base_url, store=store, explore=0.0)


def prices_of(settings: Settings) -> dict[str, dict[str, float]]:
    """Arm -> USD per million tokens, as ``--prices`` takes them."""
    return {arm.arm.name: _price(arm) for arm in _arms(settings)}


def _config(
    settings: Settings, policy: Mapping[str, Any], *, base_url: str, store: Path, explore: float
) -> dict[str, Any]:
    models: dict[str, dict[str, Any]] = {}
    for arm in _arms(settings):
        model = models.setdefault(
            arm.arm.model,
            {"deployments": [{"base_url": base_url}], "modes": [], "efforts": [], "price": _price(arm)},
        )
        if model["price"] != _price(arm):
            raise LoopFailed(f"pool {settings.pool}: {arm.arm.model} has two prices, and a configuration has one")
        model["modes"] += [arm.arm.mode] if arm.arm.mode not in model["modes"] else []
        model["efforts"] += [arm.arm.effort] if arm.arm.effort else []
        if arm.arm.mode == "reasoning":
            model["thinking"] = "reasoning_effort" if model["efforts"] else "chat_template_kwargs"
    return {
        "store": {"dir": str(store)},
        "encoder": {"name": settings.encoder},
        "policy": dict(policy),
        "models": models,
        "trade_offs": {TRADE_OFF: {"usd_per_correct_answer": settings.usd_per_correct_answer}},
        "tenants": {"default": {"explore": explore}},
    }


def _arms(settings: Settings) -> tuple[PoolArm, ...]:
    arms = load_pool_definition(settings.pools, settings.pool).arms
    unfit = [arm.arm.name for arm in arms if arm.price is None or arm.arm.mode == "agentic"]
    if unfit:
        raise LoopFailed(f"pool {settings.pool}: {unfit[0]} has no list price or is agentic; choose another --pool")
    return arms


def _price(arm: PoolArm) -> dict[str, float]:
    assert arm.price is not None
    return {"input": arm.price.input / NANO, "output": arm.price.output / NANO}


def _list_price(arm: PoolArm) -> float:
    return sum(_price(arm).values())
