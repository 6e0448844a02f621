"""What a request is guessed to have cost on the reference arm: in the header, in the series, or nowhere."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rig import Given, World, body, tree

from policies.context import Context
from policies.policy import ArmFacts, Scores
from policies.tradeoff import TradeOff

REFERENCE = {"tenants": {"t": {"reference": "large/instant"}}}


class Foretelling(Given):
    """Draws the small arm, and predicts USD by arm."""

    def score(self, context: Context, arms: Sequence[ArmFacts], trade_off: TradeOff) -> Scores:
        scores = super().score(context, arms, trade_off)
        usd = np.array([{"small/instant": 0.25, "large/instant": 2.0}[arm.name] for arm in arms])
        return replace(scores, predictions=replace(scores.predictions, usd=usd))


def value(world: World, name: str, **labels: str) -> float | None:
    """Of a counter, None where it was never counted."""
    (family,) = getattr(world.gateway.metrics, name).collect()
    found = [each.value for each in family.samples if each.name.endswith("_total") and each.labels == labels]
    return found[0] if found else None


async def asked(url: str, folder: Path, plain: Any, **sent: Any) -> tuple[World, dict[str, str], int]:
    policy = Foretelling({"small/instant": 1})
    async with World(url, folder, plain, policy=policy) as world:
        got = await world.chat(body(**sent))
        cost = world.outcome()["nano_usd"]
    return world, got.headers, cost


@pytest.mark.asyncio
async def test_both_guesses_are_counted_beside_what_the_same_answers_cost(valkey_url: str, tmp_path: Path) -> None:
    world, headers, cost = await asked(valkey_url, tmp_path, tree(**REFERENCE))
    assert value(world, "cost_usd", tenant="t", model="small", mode="instant") == pytest.approx(cost / 1e9)
    shown = float(headers["x-gearshift-baseline-cost-usd"])
    assert shown == pytest.approx(10 * cost / 1e9, rel=1e-3)  # ten times the price, the same tokens
    assert value(world, "baseline_usd", tenant="t", by="tokens") == pytest.approx(shown)
    assert value(world, "baseline_usd", tenant="t", by="prediction") == 2.0
    for by in ("tokens", "prediction"):
        assert value(world, "baseline_paid_usd", tenant="t", by=by) == pytest.approx(cost / 1e9)


@pytest.mark.asyncio
async def test_without_a_reference_arm_nothing_is_guessed(valkey_url: str, tmp_path: Path) -> None:
    world, _, _ = await asked(valkey_url, tmp_path, tree(tenants={"t": {}}))
    assert value(world, "baseline_usd", tenant="t", by="tokens") is None
    assert value(world, "baseline_usd", tenant="t", by="prediction") is None


@pytest.mark.asyncio
async def test_a_reference_arm_without_a_price_is_not_guessed_by_tokens(valkey_url: str, tmp_path: Path) -> None:
    plain = tree(**REFERENCE)
    plain["models"]["large"].pop("price")
    world, headers, _ = await asked(valkey_url, tmp_path, plain)
    assert "x-gearshift-baseline-cost-usd" not in headers
    assert value(world, "baseline_usd", tenant="t", by="tokens") is None


@pytest.mark.asyncio
async def test_a_forced_arm_has_no_prediction(valkey_url: str, tmp_path: Path) -> None:
    world, _, _ = await asked(valkey_url, tmp_path, tree(**REFERENCE), model="small")
    assert value(world, "baseline_usd", tenant="t", by="tokens") is not None
    assert value(world, "baseline_usd", tenant="t", by="prediction") is None


@pytest.mark.asyncio
async def test_what_was_not_answered_is_compared_with_nothing(valkey_url: str, tmp_path: Path) -> None:
    world, _, _ = await asked(valkey_url, tmp_path, tree(**REFERENCE), model="small", fake={"fault": "status_400"})
    assert value(world, "requests", tenant="t", arm="small/instant", status="error") == 1
    assert value(world, "baseline_paid_usd", tenant="t", by="tokens") is None
