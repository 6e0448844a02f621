import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.arms import EFFORTS, MODES, Arm, ArmSyntaxError, arm_revision, parse_arm

MODELS = ("gpt-4o", "gpt-4o/mini", "vendor/model:free", "m")


@given(
    model=st.sampled_from(MODELS),
    mode=st.sampled_from(MODES),
    effort=st.sampled_from(("", "4096", *EFFORTS)),
    options=st.dictionaries(st.sampled_from(["vote", "k"]), st.sampled_from(["5", "x"])),
)
def test_an_arm_is_read_back_from_its_own_name(model: str, mode: str, effort: str, options: dict[str, str]) -> None:
    arm = Arm(model=model, mode=mode, effort=effort, options=tuple(sorted(options.items())))  # type: ignore[arg-type]
    assert parse_arm(arm.name, MODELS) == arm


def test_the_longest_registered_model_wins() -> None:
    assert parse_arm("gpt-4o/mini/instant", MODELS).model == "gpt-4o/mini"


@pytest.mark.parametrize(
    "text", ["", "unknown/instant", "m", "m/", "m/thinking", "m/reasoning:huge", "m/instant+vote", "m/instant+=5"]
)
def test_what_names_no_arm_is_refused(text: str) -> None:
    with pytest.raises(ArmSyntaxError):
        parse_arm(text, MODELS)


def test_a_revision_ignores_the_order_of_parameters_and_sees_their_values() -> None:
    one = arm_revision("openai", "m", {"a": 1, "b": 2})
    assert one == arm_revision("openai", "m", {"b": 2, "a": 1}) != arm_revision("openai", "m", {"a": 1, "b": 3})
