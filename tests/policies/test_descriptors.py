"""Descriptors say what is known of an arm; what is not is marked, never zero."""

import math
from pathlib import Path

import numpy as np
import pytest

from policies.arms import Arm
from policies.descriptors import ArmDescriptor, DescriptorError, describe, load_descriptors, size_in_name
from policies.prices import Price
from policies.zoo.arm_features import FIELDS, ArmFeatures, facts_of

PLAIN = ArmFeatures((), np.zeros(6), np.ones(6), np.zeros(0), np.zeros((0, 0)))


@pytest.mark.parametrize(
    ("name", "size"),
    [("Llama-3.1-70B-Instruct", 70), ("Mixtral-8x7B", 56), ("phi-3.5b", 3.5), ("gpt-4o", None), ("qwen3-30b-a3b", 30)],
)
def test_the_size_is_read_off_the_name(name: str, size: float | None) -> None:
    assert size_in_name(name) == size


def test_a_configured_price_goes_before_a_listed_one() -> None:
    known = {"m": {"price_in_per_m": 9.0, "price_out_per_m": 9.0, "release": "2024-07", "context_tokens": 8000}}
    both = describe(Arm("m", "reasoning", "high"), Price(10**9, 2 * 10**9), known)
    assert (both.usd_per_mtok_in, both.usd_per_mtok_out) == (1.0, 2.0)
    assert both.released_year == pytest.approx(2024.5)
    assert both.effort_level == 4.0
    assert describe(Arm("m", "instant"), None, known).usd_per_mtok_in == 9.0


def test_a_budget_of_tokens_has_a_level() -> None:
    levels = [ArmDescriptor("m", "reasoning", effort).effort_level for effort in ("off", "256", "4000", "32000", "")]
    assert levels == [0.0, 1.0, 3.0, 4.0, None]


def test_the_unknown_is_marked_and_stands_at_the_mean() -> None:
    known = PLAIN([ArmDescriptor("m", "agentic", usd_per_mtok_in=0.99)])[0]
    assert known[:6].tolist() == [0.0] * 6  # log(0.99 + 0.01) and five unknown
    assert known[6:12].tolist() == [0.0, 1.0, 1.0, 1.0, 1.0, 1.0]
    assert known[12:].tolist() == [0.0, 1.0]  # reasoning, agentic


def test_a_free_model_is_not_one_of_unknown_price() -> None:
    free = facts_of(ArmDescriptor("m", "instant", usd_per_mtok_in=0.0), ())
    unknown = facts_of(ArmDescriptor("m", "instant"), ())
    place = FIELDS.index("log_price_in")
    assert free[place] == pytest.approx(math.log(0.01))
    assert math.isnan(unknown[place])


def test_texts_become_directions_and_a_missing_text_is_marked() -> None:
    features = ArmFeatures((), np.zeros(6), np.ones(6), np.array([1.0, 1.0]), np.array([[2.0], [0.0]]))
    arms = [ArmDescriptor("a", "instant", text="x"), ArmDescriptor("b", "instant")]
    rows = features(arms, np.array([[3.0, 5.0], [np.nan, np.nan]]))
    assert rows[:, -2:].tolist() == [[4.0, 0.0], [0.0, 1.0]]


def test_they_survive_an_artifact() -> None:
    features = ArmFeatures(("gpqa",), np.arange(7.0), np.ones(7), np.ones(2), np.ones((2, 1)))
    again = ArmFeatures.from_tensors(features.tensors("f"), "f")
    arms = [ArmDescriptor("a", "instant", scores={"gpqa": 0.25})]
    assert again.benchmarks == ("gpqa",)
    assert (again(arms) == features(arms)).all()


def test_yaml_and_json_say_the_same(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("m:\n  params_b: 7\n  release: 2025-03\n")
    (tmp_path / "a.json").write_text('{"m": {"params_b": 7, "release": "2025-03"}}')
    read = [describe(Arm("m", "instant"), None, load_descriptors(tmp_path / f"a.{kind}")) for kind in ("yaml", "json")]
    assert read[0] == read[1]
    assert read[0].params_b == 7.0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[]", "expected model names"),
        ('{"m": 3}', "m: expected a mapping"),
        ("{", "cannot be read"),
    ],
)
def test_a_file_of_another_shape_is_refused(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "bad.json"
    file.write_text(text)
    with pytest.raises(DescriptorError, match=message):
        load_descriptors(file)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"params_b": "seven"}, r"m\.params_b: expected a number"),
        ({"price_in_per_m": -1}, r"m\.price_in_per_m"),
        ({"release": "soon"}, r"m\.release: expected YYYY"),
        ({"scores": {"gpqa": 55}}, r"divide percents by 100"),
        ({"scores": [1]}, r"m\.scores: expected benchmark names"),
    ],
)
def test_a_fact_of_the_wrong_kind_is_named(entry: dict[str, object], message: str) -> None:
    with pytest.raises(DescriptorError, match=message):
        describe(Arm("m", "instant"), None, {"m": entry})
