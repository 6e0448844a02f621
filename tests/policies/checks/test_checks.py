"""What every registered check promises, and what each built-in takes for right."""

import subprocess
import sys
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policies.checks.base import Check, CheckError, Grade
from policies.checks.registry import load_check, registered_checks, verdict

LONG = 60_000
HOSTILE = (
    "",
    "\x00\ud800\ufffd",
    " " * LONG,
    "\n" * LONG,
    "9" * LONG,
    "1 " * LONG,
    "1," * LONG,
    "{[" * LONG,
    "<answer>" * (LONG // 8),
    '"answer":"' * (LONG // 8),
    "\\boxed{" * (LONG // 8),
    "the answer is" + "\n" * LONG,
    "1/" + " " * LONG,
    "\\frac{1}{0} 5/0 1e999 ∞ " + "1" * 5000 + " 1/2",
)


@pytest.fixture(params=registered_checks())
def check(request: pytest.FixtureRequest) -> Check:
    return load_check(request.param)


def prepared(check: Check) -> Grade:
    example = check.example()
    return check.prepare(example.reference, example.options)


def test_its_example_is_graded_right_and_wrong(check: Check) -> None:
    grade, example = prepared(check), check.example()
    assert grade(example.right).score == 1.0
    assert grade(example.wrong).score == 0.0


@pytest.mark.parametrize("answer", HOSTILE, ids=range(len(HOSTILE)))
def test_no_answer_makes_it_raise_or_hang(check: Check, answer: str) -> None:
    began, said = time.monotonic(), prepared(check)(answer)
    assert said.score is None or 0.0 <= said.score <= 1.0
    assert said.reason
    assert time.monotonic() - began < 10  # quadratic matching of these takes minutes


@given(answer=st.text(max_size=200))
@settings(max_examples=150, deadline=None, database=None)
@pytest.mark.parametrize("name", [name for name in registered_checks() if name != "regex"])  # a process per answer
def test_any_text_gets_the_same_verdict_twice(name: str, answer: str) -> None:
    grade = prepared(load_check(name))
    assert grade(answer) == grade(answer)


def test_the_reason_holds_neither_answer_nor_reference(check: Check) -> None:
    assert "SECRETWORD" not in prepared(check)("SECRETWORD 12 (B) {").reason


def test_an_unknown_option_is_refused(check: Check) -> None:
    example = check.example()
    with pytest.raises(CheckError, match="unknown option 'typo'"):
        check.prepare(example.reference, {**example.options, "typo": 1})


def test_an_unknown_check_is_named_beside_the_known_ones() -> None:
    with pytest.raises(CheckError, match=r"'clever'.*numeric"):
        load_check("clever")


def test_code_tests_are_refused_while_no_sandbox_is_installed() -> None:
    if "code_tests" in registered_checks():
        pytest.skip("a plug-in with a sandbox is installed")
    with pytest.raises(CheckError, match="no sandbox"):
        load_check("code_tests")


def test_loading_one_check_imports_no_other() -> None:
    code = (
        "import sys; from policies.checks.registry import verdict; verdict('exact', 'a', reference='a')\n"
        "sys.exit(any(m in sys.modules for m in ('policies.checks.numeric', 'jsonschema')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0


@pytest.mark.parametrize(
    ("answer", "reference", "score"),
    [
        ("Paris", "paris", 1),
        ("  **Paris**. ", "Paris", 1),
        ("<answer>ＡＢＣ</answer>", "abc", 1),
        ('{"reasoning": "x", "answer": "[1, 2]"}', "[1, 2]", 1),
        ("the capital is paris", "Paris", 0),
        ("", "Paris", 0),
    ],
)
def test_exact(answer: str, reference: str, score: int) -> None:
    assert verdict("exact", answer, reference=reference).score == score


def test_exact_with_case_and_with_alternatives() -> None:
    assert verdict("exact", "paris", reference="Paris", options={"case_sensitive": True}).score == 0
    assert verdict("exact", "NYC", reference=["New York", "nyc"]).score == 1


@pytest.mark.parametrize(
    ("answer", "reference", "score"),
    [
        ("He pays $1,234.50 in all.", "1234.5", 1),
        ("#### 42.00", "42", 1),
        (r"so \boxed{\frac{3}{4}}", "0.75", 1),
        (r"\boxed{-\dfrac12}", "-1/2", 1),
        ("It is 1 1/2 cups", "1.5", 1),
        ("3 × 10^5 metres", "300000", 1),
        (r"$3.0 \times 10^{-2}$", "0.03", 1),
        ("about 25%", "0.25", 1),
        ("0.25", "25%", 1),
        ("25%", "25", 1),
        (r"10{,}000", "10000", 1),
        (r"12\,500", "12,500", 1),
        ("The answer is 3 + 4 = 7 apples for 2 people.", "7", 1),
        ("x_2 = −5", "-5", 1),
        ("the range 3-5", "5", 1),
        ("<answer>undefined</answer> after 7 tries", "7", 0),
        ("I see no way.", "7", 0),
        ("7.1", "7", 0),
        ("1e999", "7", 0),
    ],
)
def test_numeric(answer: str, reference: str, score: int) -> None:
    assert verdict("numeric", answer, reference=reference).score == score


def test_numeric_tolerances() -> None:
    near = {"relative_tolerance": 0.01}
    assert verdict("numeric", "3.14", reference="3.14159", options=near).score == 1
    assert verdict("numeric", "3.14", reference="3.14159").score == 0
    assert verdict("numeric", "3.14", reference="3.14159", options={"tolerance": 0.002}).score == 1


@pytest.mark.parametrize(
    ("answer", "score"),
    [
        ("The answer is (C).", 1),
        ("the correct answer is:\n\nThe answer is C.", 1),
        ("**C**", 1),
        (r"\boxed{\text{C}}", 1),
        ("Answer: C", 1),
        ('{"answer": "C"}', 1),
        ("c", 1),
        ("C. Because it is so", 1),
        ("(A) is wrong, (B) too. I think it must be C", 1),
        ("The answer is B, not C.", 0),
        ("The answer is (C) or (D).", 0),
        ("I cannot tell.", 0),
        ("A dog is an animal.", 0),
        ("", 0),
    ],
)
def test_choice(answer: str, score: int) -> None:
    assert verdict("choice", answer, reference="C").score == score


def test_choice_knows_the_option_texts_and_says_when_nothing_was_chosen() -> None:
    options = {"choices": ["a cat", "a dog"]}
    assert verdict("choice", "A dog.", reference="B", options=options).score == 1
    assert verdict("choice", "no idea at all", reference="B", options=options).reason == "no option named"


def test_regex_reads_groups_and_whole_texts() -> None:
    group = {"pattern": r"total:\s*(\w+)", "flags": "i"}
    assert verdict("regex", "Total: 1\nTotal: nine", reference="NINE", options=group).score == 1
    assert verdict("regex", "xabcx", reference="abc", options={"match": "full"}).score == 0


def test_a_catastrophic_pattern_gives_no_score_in_bounded_time() -> None:
    said = verdict("regex", "a" * 40 + "b", reference=r"(a+)+$")
    assert said.score is None
    assert "processor time" in said.reason


@pytest.mark.parametrize(
    ("answer", "score"),
    [
        ('{"n": 1}', 1),
        ('text {"n": 1} text', 1),
        ('```json\n{"n": 2}\n```', 1),
        ('{"n": NaN}', 0),
        ('{"n": "1"}', 0),
        ("[" * 100_000, 0),
        ("none", 0),
    ],
)
def test_json_schema(answer: str, score: int) -> None:
    schema = {"type": "object", "required": ["n"], "properties": {"n": {"type": "number"}}}
    assert verdict("json_schema", answer, options={"schema": schema}).score == score


def test_json_schema_never_fetches_what_a_reference_names() -> None:
    schema = {"$ref": "http://127.0.0.1:9/schema.json"}
    said = verdict("json_schema", "{}", options={"schema": schema})
    assert said.score is None
    assert "cannot be applied" in said.reason


@pytest.mark.parametrize(
    ("schema", "answer"),
    [
        ({"items": {"multipleOf": 0.1}}, f"[1{'0' * 400}]"),
        ({"items": {"multipleOf": 1.5}}, "[1e400]"),
        ({"$ref": "//["}, "1"),
        ({"$ref": [], "$schema": "http://json-schema.org/draft-04/schema#"}, "1"),
        ({"$ref": "#/const", "const": "a"}, "{}"),
        ({"type": "weird", "$schema": "http://json-schema.org/draft-03/schema#"}, "1"),
    ],
)
def test_an_answer_the_schema_cannot_be_applied_to_is_no_error(schema: dict[str, Any], answer: str) -> None:
    said = verdict("json_schema", answer, options={"schema": schema})
    assert said.score is None
    assert "cannot be applied" in said.reason


def test_a_schema_without_end_is_no_error_wherever_the_stack_ends() -> None:
    grade = load_check("json_schema").prepare(None, {"schema": {"not": {"$dynamicRef": "#"}}})

    def deeper(calls: int) -> str:
        return grade("1").reason if calls == 0 else deeper(calls - 1)

    assert {deeper(calls) for calls in range(12)} == {"nested too deep for the schema"}


@pytest.mark.parametrize(
    ("name", "reference", "options", "says"),
    [
        ("numeric", "none", {}, "no number"),
        ("numeric", None, {}, "reference"),
        ("numeric", "1", {"tolerance": -1}, "tolerance"),
        ("choice", "Z", {}, "expected one of"),
        ("choice", "A", {"letters": "AA"}, "letters"),
        ("regex", "(", {}, "regular expression"),
        ("json_schema", None, {}, "schema"),
        ("json_schema", None, {"schema": {"type": "nothing"}}, "schema"),
        ("json_schema", None, {"schema": {"pattern": "a{99999999999}"}}, "repetition"),
        ("exact", "  ", {}, "reference"),
    ],
)
def test_a_task_that_cannot_be_graded_is_refused_before_any_answer(
    name: str, reference: Any, options: dict[str, Any], says: str
) -> None:
    with pytest.raises(CheckError, match=says):
        load_check(name).prepare(reference, options)
