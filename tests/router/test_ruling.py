"""Deciding for one request: floors, caps, hints and exploration against what the tenant allows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rig import Given, World, body, config_of, tree

from policies.context import Context
from policies.floors import Cell, Floors
from policies.policy import ArmFacts, Scores
from policies.tradeoff import TradeOff
from router.ask import _intersection
from router.config.arms import arm_table
from router.ruling import above_floor, certain, in_time

ARMS = list(arm_table(config_of(tree("a", "b", "c"))).values())
CONTEXT = Context(np.zeros(0, np.float32), np.zeros(0, np.float32), prompt_tokens=5)
EVEN = {"a/instant": 1, "b/instant": 1, "c/instant": 1}


def kept(floor: float, *, reference: str | None = None, **quality: float) -> set[str]:
    policy = Given(quality={f"{model}/instant": value for model, value in quality.items()})
    trade_off = TradeOff(1.0, quality_floor=floor)
    arms, removed = above_floor(policy, CONTEXT, ARMS, trade_off=trade_off, reference=reference)
    assert {arm.name for arm in arms} | removed.keys() == EVEN.keys()
    return {arm.arm.model for arm in arms}


def test_the_floor_is_a_share_of_the_reference_arm_or_else_of_the_best() -> None:
    assert kept(0.9, a=0.5, b=0.73, c=0.8) == {"b", "c"}
    assert kept(0.9, a=0.5, b=0.45, c=0.44, reference="a/instant") == {"a", "b"}
    assert kept(1.0, a=0.5, b=0.8, c=0.8) == {"b", "c"}


def test_the_best_and_the_reference_are_never_below_the_floor() -> None:
    assert kept(0.9, a=-0.3, b=-0.2, c=-0.1) == {"c"}
    assert kept(0.5, a=-0.3, b=-0.9, c=-0.9, reference="a/instant") == {"a"}


def test_what_nobody_knows_promises_no_floor() -> None:
    assert kept(0.9) == {"a", "b", "c"}  # nothing to compare
    assert kept(0.9, reference="b/instant") == {"b"}
    assert kept(0.9, a=0.5, b=0.8) == {"b"}
    assert kept(0.9, a=0.5, b=0.8, reference="c/instant") == {"c"}
    assert kept(0.9, a=0.5, b=0.8, reference="a/reasoning") == {"b"}  # not eligible: as if there were none


@dataclass
class Timed(Given):
    """Predicts seconds by arm; what a test does not say is unknown."""

    seconds: Mapping[str, float] = field(default_factory=dict)

    def score(self, context: Context, arms: Sequence[ArmFacts], trade_off: TradeOff) -> Scores:
        told = super().score(context, arms, trade_off)
        seconds = np.array([self.seconds.get(arm.arm.model, np.nan) for arm in arms])
        return replace(told, predictions=replace(told.predictions, seconds=seconds))


def timely(max_s: float, **seconds: float) -> dict[str, str]:
    """Model -> why it was taken away, or nothing."""
    policy = Timed(seconds=seconds)
    arms, removed = in_time(policy, CONTEXT, ARMS, trade_off=TradeOff(1.0, max_s=max_s))
    assert {arm.name for arm in arms} | removed.keys() == EVEN.keys()
    assert not {arm.name for arm in arms} & removed.keys()
    return {name.split("/")[0]: why for name, why in removed.items()}


def test_arms_above_the_latency_target_are_taken_away() -> None:
    assert timely(3.0, a=1.0, b=3.0, c=3.1) == {"c": "expected to take 3.1 s, above the latency target of 3 s"}


def test_where_every_arm_is_too_slow_the_quickest_answers() -> None:
    assert timely(0.5, a=9.0, b=2.0, c=5.0).keys() == {"a", "c"}


def test_an_unknown_time_is_never_taken_for_a_short_one() -> None:
    assert timely(3.0, a=1.0, b=2.0) == {"c": "its time is unknown and the latency target is 3 s"}
    assert timely(0.5, b=2.0).keys() == {"a", "c"}
    assert timely(0.5) == {}  # nothing to compare


@pytest.mark.asyncio
async def test_a_latency_target_holds_whatever_trade_off_a_request_names(valkey_url: str, tmp_path: Path) -> None:
    trade_offs = {"own": {"usd_per_correct_answer": 0.1, "max_s": 2.0}, "rich": {"usd_per_correct_answer": 9}}
    plain = tree("a", "b", trade_offs=trade_offs, tenants={"t": {"trade_off": "own"}})
    policy = Timed({"a/instant": 0.1, "b/instant": 0.9}, seconds={"a": 1.0, "b": 5.0})
    told = await decided(valkey_url, tmp_path, plain, policy, model="auto:rich")
    assert told["trade_off"]["max_s"] == 2.0
    assert told["arm"] == "a/instant"
    assert told["removed"] == {"b/instant": "expected to take 5.0 s, above the latency target of 2 s"}


def test_lists_that_do_not_meet_allow_nothing() -> None:
    assert _intersection(None, None) is None
    assert _intersection(["a", "b"], None, ["b", "c"]) == ("b",)
    assert _intersection(["a"], ["b"]) == ()
    assert _intersection([], None) == ()


def test_a_certain_decision_claims_no_knowledge() -> None:
    decision = certain(ARMS, 1, "because")
    assert (decision.arm.name, decision.propensity, decision.propensities.sum()) == ("b/instant", 1.0, 1.0)
    assert np.isnan(decision.scores.predictions.quality).all()


async def decided(url: str, folder: Path, plain: dict[str, Any], policy: Given, **sent: Any) -> Any:
    """The answer of /v1/decide, or the error."""
    async with World(url, folder, plain, policy=policy) as world:
        got = await world.ask("/v1/decide", body(**sent))
    return got.json if got.status == 200 else got.error


@pytest.mark.asyncio
async def test_every_eligible_arm_keeps_the_tenants_exploration_floor(valkey_url: str, tmp_path: Path) -> None:
    plain = tree("a", "b", "c", tenants={"t": {"explore": 0.3}})
    told = await decided(valkey_url, tmp_path, plain, Given({"a/instant": 1}))
    assert {arm["arm"]: arm["propensity"] for arm in told["arms"]} == pytest.approx(
        {"a/instant": 0.8, "b/instant": 0.1, "c/instant": 0.1}
    )


@pytest.mark.parametrize(("hint", "explore"), [(0.0, 0.0), (0.1, 0.1), (1.0, 0.3)])
@pytest.mark.asyncio
async def test_a_hint_may_only_lower_exploration(valkey_url: str, tmp_path: Path, hint: float, explore: float) -> None:
    plain = tree("a", "b", tenants={"t": {"explore": 0.3}})
    told = await decided(valkey_url, tmp_path, plain, Given(), gearshift={"explore": hint})
    assert (told["explore"], sum(arm["propensity"] for arm in told["arms"])) == (explore, pytest.approx(1))


@pytest.mark.asyncio
async def test_removed_arms_have_no_probability_and_a_reason(valkey_url: str, tmp_path: Path) -> None:
    quality = {"a/instant": 0.1, "b/instant": 0.9, "c/instant": 0.95}
    policy, hints = Given(EVEN, quality), {"quality_floor": 0.9}
    told = await decided(valkey_url, tmp_path, tree("a", "b", "c"), policy, gearshift=hints)
    assert {arm["arm"]: arm["propensity"] for arm in told["arms"]} == {"b/instant": 0.5, "c/instant": 0.5}
    assert "below the floor of 0.9" in told["removed"]["a/instant"]


@pytest.mark.parametrize(
    ("reference", "kept_by_router"),
    [(None, False), ("c/instant", False), ("b/instant", True)],
    ids=["the policy's own", "the same", "another"],
)
@pytest.mark.asyncio
async def test_a_policy_that_promises_floors_keeps_them_itself_against_its_own_reference_arm(
    valkey_url: str, tmp_path: Path, reference: str | None, kept_by_router: bool
) -> None:
    class Promising(Given):
        floors = Floors("c/instant", (("c/instant", None),), (1.0,), (Cell(0.9, 0.95, 0),), 1_000)

    policy = Promising(EVEN, {"a/instant": 0.1, "b/instant": 0.9, "c/instant": 0.95})
    plain = tree("a", "b", "c", tenants={"t": {} if reference is None else {"reference": reference}})
    told = await decided(valkey_url, tmp_path, plain, policy, gearshift={"quality_floor": 0.9})
    assert ("a/instant" in told["removed"]) == kept_by_router
    assert told["trade_off"]["quality_floor"] == 0.9


@pytest.mark.parametrize(
    ("tenant", "hints", "arms"),
    [
        ({"models": ["a", "b"]}, {"models": ["b", "c"]}, {"b/instant"}),
        ({"models": ["a"]}, {"models": ["b"]}, None),
        ({"modes": ["instant"]}, {"modes": ["reasoning"]}, None),
        ({}, {"models": ["nobody"]}, None),
        ({}, {"models": ["a", "c"], "modes": ["instant", "agentic"]}, {"a/instant", "c/instant"}),
    ],
)
@pytest.mark.asyncio
async def test_hints_tighten_what_the_tenant_may(
    valkey_url: str, tmp_path: Path, tenant: Any, hints: Any, arms: set[str] | None
) -> None:
    plain = tree("a", "b", "c", tenants={"t": tenant})
    told = await decided(valkey_url, tmp_path, plain, Given(EVEN), gearshift=hints)
    if arms is None:
        assert told["code"] == "no_eligible_model"
        assert all(f"{model}/instant: " in told["message"] for model in "abc")
    else:
        assert {arm["arm"] for arm in told["arms"]} == arms


@pytest.mark.parametrize("way", ["hint", "virtual model"])
@pytest.mark.asyncio
async def test_another_trade_off_never_loosens_the_tenants_cap_and_floor(
    valkey_url: str, tmp_path: Path, way: str
) -> None:
    own = {"usd_per_correct_answer": 0.1, "max_usd": 0.01, "quality_floor": 0.8}
    trade_offs = {"own": own, "rich": {"usd_per_correct_answer": 9.0}}
    plain = tree("a", "b", trade_offs=trade_offs, tenants={"t": {"trade_off": "own"}})
    sent = {"gearshift": {"trade_off": "rich"}} if way == "hint" else {"model": "auto:rich"}
    told = await decided(valkey_url, tmp_path, plain, Given(), **sent)
    assert told["trade_off"] == {
        "quality_per_usd": pytest.approx(1 / 9), "quality_per_s": 0.0, "quality_floor": 0.8,
        "max_usd": 0.01, "max_s": None,
    }  # fmt: skip


@pytest.mark.asyncio
async def test_a_hint_tightens_cap_and_floor_and_never_loosens_them(valkey_url: str, tmp_path: Path) -> None:
    trade_offs = {"own": {"usd_per_correct_answer": 0.1, "max_usd": 0.01, "quality_floor": 0.5}}
    plain = tree("a", trade_offs=trade_offs, tenants={"t": {"trade_off": "own"}})
    tight = await decided(valkey_url, tmp_path, plain, Given(), gearshift={"max_usd": 0.005, "quality_floor": 0.9})
    loose = await decided(valkey_url, tmp_path, plain, Given(), gearshift={"max_usd": 5, "quality_floor": 0.1})
    assert (tight["trade_off"]["max_usd"], tight["trade_off"]["quality_floor"]) == (0.005, 0.9)
    assert (loose["trade_off"]["max_usd"], loose["trade_off"]["quality_floor"]) == (0.01, 0.5)


@pytest.mark.parametrize("model", ["c", "c/instant"])
@pytest.mark.asyncio
async def test_a_cap_binds_a_named_arm_too(valkey_url: str, tmp_path: Path, model: str) -> None:
    told = await decided(valkey_url, tmp_path, tree("a", "b", "c"), Given(), model=model, gearshift={"max_usd": 1e-5})
    assert (told["code"], "above the cap" in told["message"]) == ("no_eligible_model", True)


@pytest.mark.asyncio
async def test_a_named_arm_must_be_allowed_and_need_not_declare_what_is_asked(valkey_url: str, tmp_path: Path) -> None:
    plain = tree("a", "b", tenants={"t": {"models": ["a"]}})
    plain["models"]["a"]["capabilities"] = []
    refused = await decided(valkey_url, tmp_path, plain, Given(), model="b")
    forced = await decided(valkey_url, tmp_path, plain, Given(), model="a", logprobs=True)
    assert (refused["code"], refused["param"]) == ("no_eligible_model", "model")
    assert (forced["kind"], forced["arm"]) == ("forced", "a/instant")


@pytest.mark.asyncio
async def test_an_unknown_trade_off_is_told_with_the_known_ones(valkey_url: str, tmp_path: Path) -> None:
    told = await decided(valkey_url, tmp_path, tree("a"), Given(), gearshift={"trade_off": "nothing"})
    assert (told["param"], "balanced" in told["message"]) == ("gearshift.trade_off", True)


@pytest.mark.asyncio
async def test_one_arm_is_no_draw(valkey_url: str, tmp_path: Path) -> None:
    told = await decided(valkey_url, tmp_path, tree("a", "b"), Given(), gearshift={"models": ["b"]})
    assert (told["kind"], told["arms"][0]["propensity"]) == ("single", 1.0)


@pytest.mark.parametrize("dist", [{"a/instant": float("nan")}, {"a/instant": -1.0, "b/instant": 3.0}])
@pytest.mark.asyncio
async def test_a_policy_that_returns_no_distribution_is_answered_by_the_fallback(
    valkey_url: str, tmp_path: Path, dist: dict[str, float]
) -> None:
    plain = tree("a", "b", policy={"fallback": "b/instant"})
    told = await decided(valkey_url, tmp_path, plain, Given(dist))
    assert (told["kind"], told["arm"]) == ("late", "b/instant")
