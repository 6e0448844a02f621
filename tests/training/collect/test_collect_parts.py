"""The parts of a collection by themselves: prompts file, journal, purse, bounds, judge and intervals."""

import json
import math
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.collect.errors import CollectError
from training.collect.journal import Journal
from training.collect.judge import judge_messages, read_score
from training.collect.prompts import Task, load_tasks
from training.collect.spend import Bill, Purse, Rates, most_input_tokens, most_output_tokens
from training.collect.summary import mean_interval, wilson


def written(tmp_path: Path, *lines: object) -> Path:
    file = tmp_path / "prompts.jsonl"
    file.write_text("".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines))
    return file


def tasks_of(tmp_path: Path, *lines: object, check: str | None = "exact", judge: str | None = None) -> list[Task]:
    return load_tasks(written(tmp_path, *lines), check=check, judge=judge, conditions={"max_tokens": 64})


def test_a_task_is_read_whole(tmp_path: Path) -> None:
    messages = [
        {"role": "system", "content": "Be short."},
        {"role": "user", "content": [{"type": "text", "text": "2?"}]},
    ]
    line = {"id": 7, "messages": messages, "reference": 2, "check": "numeric", "domain": "sums"}
    (task,) = tasks_of(tmp_path, line)
    assert (task.query_id, task.prompt, task.domain, task.check) == ("7", "2?", "sums", "numeric")
    assert task.grade is not None
    assert task.grade("It is 2.").score == 1.0


def test_without_an_id_equal_prompts_have_equal_ids(tmp_path: Path) -> None:
    one = tasks_of(tmp_path, {"prompt": "a", "reference": "b"})[0]
    again = tasks_of(tmp_path, {"prompt": "a", "reference": "b"})[0]
    other = tasks_of(tmp_path, {"prompt": "c", "reference": "b"})[0]
    assert one.query_id == again.query_id != other.query_id


def test_whatever_decides_the_score_changes_the_fingerprint(tmp_path: Path) -> None:
    base = {"id": "x", "prompt": "a", "reference": "b"}
    variants = [
        base,
        {**base, "prompt": "A"},
        {**base, "reference": "c"},
        {**base, "check": "choice", "reference": "C"},
    ]
    variants.append({**base, "check_options": {"case_sensitive": True}})
    prints = {tasks_of(tmp_path, line)[0].fingerprint for line in variants}
    prints |= {load_tasks(written(tmp_path, base), check="exact", judge=None, conditions={})[0].fingerprint}
    assert len(prints) == 6


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("{", "line 2: is no JSON"),
        ("[]", "line 2: expected a JSON object"),
        ({"prompt": "a", "reference": "b", "refrence": "c"}, "unknown field 'refrence'"),
        ({"reference": "b"}, "either prompt or messages"),
        ({"prompt": "a", "messages": []}, "either prompt or messages"),
        ({"messages": [{"role": "system", "content": "a"}]}, "field messages"),
        ({"prompt": " "}, "field prompt"),
        ({"prompt": "a"}, "reference"),
        ({"prompt": "a", "reference": "x", "check": "clever"}, "'clever'"),
        ({"prompt": "a", "reference": "x", "check": "code_tests"}, "no sandbox"),
        ({"prompt": "a", "check": "judge"}, "--judge"),
        ({"prompt": "a", "reference": {"a": 1}}, "field reference"),
        ({"prompt": "a", "reference": "b", "check_options": []}, "check_options"),
        ({"id": "first", "prompt": "a", "reference": "b"}, "earlier line"),
    ],
)
def test_a_line_that_cannot_be_used_is_named(tmp_path: Path, line: object, says: str) -> None:
    if says == "check_options":
        line = {"prompt": "a", "reference": "b", "check_options": [1]}
    with pytest.raises(CollectError, match=says) as caught:
        tasks_of(tmp_path, {"id": "first", "prompt": "fine", "reference": "b"}, line)
    assert "line 2" in str(caught.value)


def test_no_check_and_no_file_and_no_lines_are_said(tmp_path: Path) -> None:
    with pytest.raises(CollectError, match="field check"):
        tasks_of(tmp_path, {"prompt": "a"}, check=None)
    with pytest.raises(CollectError, match="cannot be read"):
        load_tasks(tmp_path / "none.jsonl", check=None, judge=None, conditions={})
    with pytest.raises(CollectError, match="no prompts"):
        tasks_of(tmp_path, "")


def test_a_torn_last_line_is_dropped_and_a_broken_one_is_named(tmp_path: Path) -> None:
    with Journal(tmp_path) as journal:
        journal.append({"kind": "start", "call": "c1", "arm": "a/instant", "bound_usd": 0.5})
    file = tmp_path / "calls.journal"
    file.write_bytes(file.read_bytes() + b'{"kind": "end", "ca')
    with Journal(tmp_path) as journal:
        assert journal.past().held_usd == 0.5
        assert file.read_bytes().endswith(b"\n")
    file.write_bytes(b"{}\n" + file.read_bytes())
    with Journal(tmp_path) as journal, pytest.raises(CollectError, match="line 1"):
        journal.past()


def test_two_collections_never_share_a_folder(tmp_path: Path) -> None:
    with Journal(tmp_path), pytest.raises(CollectError, match="another collect"):
        Journal(tmp_path)


def bill(prices: tuple[float, float], tokens: tuple[int, int], *, cached: int = 0) -> Bill:
    """A bill at USD per million tokens, rounded up to a nano-USD; cached tokens cost a tenth."""
    fresh = tokens[0] - cached
    nano = math.ceil(1e3 * (fresh * prices[0] + 0.1 * cached * prices[0] + tokens[1] * prices[1]))
    return Bill(tokens[0], fresh, tokens[1], nano / 1e9)


@given(
    prices=st.tuples(st.floats(0, 100), st.floats(0, 500)),
    calls=st.lists(st.tuples(st.integers(1, 20_000), st.integers(1, 5_000)), min_size=2, max_size=12),
    cached_share=st.floats(0, 0.9),
)
@settings(deadline=None, database=None)
def test_a_bound_from_earlier_bills_is_never_under_the_next_bill(
    prices: tuple[float, float], calls: list[tuple[int, int]], cached_share: float
) -> None:
    rates = Rates()
    for number, tokens in enumerate(calls):
        dearest = bill(prices, tokens)
        if number:
            assert rates.bound_usd("a", input_tokens=tokens[0], output_tokens=tokens[1]) >= dearest.usd
        rates.learn("a", bill(prices, tokens, cached=int(cached_share * tokens[0])))


def test_two_different_bills_tell_the_prices_apart_and_none_leaves_the_arm_unknown() -> None:
    rates = Rates()
    assert rates.bound_usd("a", input_tokens=1, output_tokens=1) == float("inf")
    rates.learn("a", bill((1.0, 10.0), (10, 16)))
    assert rates.bound_usd("a", input_tokens=1000, output_tokens=0) == pytest.approx(1000 * 170e-6 / 10, rel=1e-3)
    rates.learn("a", bill((1.0, 10.0), (100, 2)))
    assert rates.bound_usd("a", input_tokens=1000, output_tokens=500) == pytest.approx(6000e-6, rel=1e-3)


def test_a_bill_over_its_bound_raises_all_later_bounds() -> None:
    rates = Rates()
    rates.learn("a", bill((1.0, 10.0), (10, 10)))
    before = rates.bound_usd("a", input_tokens=10, output_tokens=10)
    rates.exceeded("a", bound_usd=1e-4, usd=3e-4)
    assert rates.bound_usd("a", input_tokens=10, output_tokens=10) == pytest.approx(3 * before, rel=1e-3)


def test_bills_that_no_prices_fit_are_bounded_token_by_token() -> None:
    rates = Rates()
    rates.learn("a", Bill(10, 10, 10, 1e-3))  # dear, then far cheaper for more: a change of price
    rates.learn("a", Bill(100, 100, 50, 1e-4))
    assert rates.bound_usd("a", input_tokens=10, output_tokens=10) == pytest.approx(1e-5 + 2e-5, rel=1e-3)


def test_the_purse_counts_what_is_reserved() -> None:
    purse = Purse(1.0, spent_usd=0.4)
    assert purse.reserve(0.5)
    assert not purse.reserve(0.2)
    purse.spend(0.1)
    purse.release(0.5)
    assert purse.left_usd == pytest.approx(0.5)
    assert purse.reserve(0.5)


def test_a_cap_that_is_no_amount_is_refused() -> None:
    with pytest.raises(CollectError, match="--max-usd"):
        Purse(float("nan"))


def test_token_bounds_hold_thinking_and_bytes() -> None:
    assert most_output_tokens("instant", "", 100) == 150 + 64
    assert most_output_tokens("reasoning", "2000", 100) == 3150 + 64
    assert most_output_tokens("agentic", "", 100) == 1.5 * 2148 + 64
    text = "héllo"
    assert most_input_tokens([{"role": "user", "content": text}]) - most_input_tokens([]) == len(text.encode())


@pytest.mark.parametrize(
    ("text", "score"),
    [
        ("Fine.\nScore: 7", 0.7),
        ("**Score: 10/10**", 1.0),
        ("Score: 0.", 0.0),
        ("Score: 11", None),
        ("Score: 7 because", None),
        ("Score: 3\nSorry, let me think again.", None),
        ("7", None),
        ("", None),
    ],
)
def test_a_judges_score_is_read_strictly(text: str, score: float | None) -> None:
    assert read_score(text).score == score


def test_an_answer_cannot_close_its_own_fence(tmp_path: Path) -> None:
    (task,) = tasks_of(tmp_path, {"prompt": "Why?", "reference": "so", "check": "judge"}, judge="j/instant")
    one, two = judge_messages(task, "a"), judge_messages(task, "b [end of answer]")
    marks = {messages[1]["content"].split("[question ")[1].split("]")[0] for messages in (one, two)}
    assert len(marks) == 2  # the mark depends on the answer, so no answer can hold its own
    assert judge_messages(task, "a") == one


def test_intervals_against_known_values() -> None:
    assert wilson(0.5, 100) == pytest.approx((0.40383, 0.59617), abs=1e-5)
    assert wilson(1.0, 10) == pytest.approx((0.72247, 1.0), abs=1e-5)
    mean, interval = mean_interval([1.0, 2.0, 3.0])
    assert mean == 2.0
    assert interval == pytest.approx((2 - 1.959964 / 3**0.5, 2 + 1.959964 / 3**0.5))
    assert mean_interval([5.0]) == (5.0, None)
