"""A collection against a small gateway: nothing twice, never past the cap, and every failure a fact."""

import asyncio
import zlib
from typing import Any

import pytest
from aiohttp import web

from training.collect.errors import CollectError, UnknownCost
from training.collect.outcomes import write_outcomes
from training.collect.prompts import load_tasks
from training.collect.summary import show, summarise
from training.records.plain import read_plain

pytestmark = pytest.mark.asyncio

CHEAP, DEAR, THINKING = "cheap/instant", "dear/instant", "dear/reasoning:low"


async def test_every_arm_answers_every_prompt_once(collector: Any, fake: Any) -> None:
    fake.texts[DEAR] = lambda question: "I say 5."
    ending = await collector.run(collector.prompts(5))
    past = collector.past()
    assert ending.stopped == ""
    assert len(past.cells) == 15
    assert [past.cells["q2", arm]["score"] for arm in (CHEAP, DEAR, THINKING)] == [1.0, 0.0, 1.0]
    assert all(len(fake.questions(arm)) == 5 for arm in (CHEAP, DEAR, THINKING))
    assert past.spent_usd == pytest.approx(fake.billed_usd, abs=1e-8)


async def test_a_prompt_may_be_for_some_of_the_arms_only(collector: Any, fake: Any) -> None:
    ending = await collector.run(collector.prompts(3), arms=(CHEAP, DEAR), only={"q1": (DEAR,), "q2": ()})
    assert (ending.stopped, set(collector.past().cells)) == ("", {("q0", CHEAP), ("q0", DEAR), ("q1", DEAR)})


async def test_a_second_run_asks_nothing(collector: Any, fake: Any) -> None:
    await collector.run(collector.prompts(4))
    before = len(fake.bodies)
    await collector.run(collector.prompts(4))
    assert len(fake.bodies) == before


async def test_after_a_kill_in_the_middle_only_the_missing_cells_are_asked(collector: Any, fake: Any) -> None:
    prompts, file = collector.prompts(6), collector.folder / "out" / "calls.journal"
    await collector.run(prompts)
    lines = file.read_bytes().splitlines(keepends=True)
    cut = [place for place, line in enumerate(lines) if b'"cell"' in line][9]
    file.write_bytes(b"".join(lines[: cut + 1]) + lines[cut + 1][:20])  # ten cells, and a torn line
    answered = set(collector.past().cells)
    fake.asked.clear()
    await collector.run(prompts)  # prices are in the journal, so there are no probes either
    asked = [(f"q{question.split()[2]}", arm) for arm, question in fake.asked]
    assert len(answered) == 10
    assert len(asked) == len(set(asked)) == 8
    assert not set(asked) & answered


async def test_a_call_without_an_end_counts_as_spent_at_its_bound(collector: Any) -> None:
    await collector.run(collector.prompts(2))
    file = collector.folder / "out" / "calls.journal"
    spent = collector.past().spent_usd
    with file.open("ab") as out:
        out.write(b'{"kind":"start","call":"lost","arm":"cheap/instant","bound_usd":0.25}\n')
    assert collector.past().held_usd == 0.25
    assert collector.past().spent_usd == spent
    ending = await collector.run(collector.prompts(3), max_usd=0.25)
    assert ending.stopped == "cap"


@pytest.mark.parametrize("cap", [0.03, 0.05, 0.08])
async def test_the_cap_is_never_passed_with_eight_calls_under_way(collector: Any, fake: Any, cap: float) -> None:
    fake.tokens = lambda question: 1 + zlib.crc32(question.encode()) % 64
    ending = await collector.run(collector.prompts(80), arms=(CHEAP, DEAR), max_usd=cap, concurrency=8)
    assert fake.billed_usd <= cap
    assert ending.stopped == "cap"
    assert fake.billed_usd > 0.3 * cap  # and it is used
    assert fake.most_at_once <= 8


async def test_a_higher_cap_goes_on_where_the_lower_one_stopped(collector: Any, fake: Any) -> None:
    prompts = collector.prompts(40)
    await collector.run(prompts, max_usd=0.1)
    done = len(collector.past().cells)
    assert 0 < done < 120
    ending = await collector.run(prompts, max_usd=1.0)
    assert ending.stopped == ""
    assert sum(len(fake.questions(arm)) for arm in (CHEAP, DEAR, THINKING)) == 120


async def test_no_money_asks_nothing(collector: Any, fake: Any) -> None:
    ending = await collector.run(collector.prompts(3), max_usd=0.0)
    assert fake.asked == []
    assert set(ending.gone) == {CHEAP, DEAR, THINKING}


async def test_an_unknown_cost_is_an_error_under_a_cap_and_null_without(collector: Any, fake: Any) -> None:
    del fake.prices[DEAR]
    with pytest.raises(UnknownCost, match="dear/instant"):
        await collector.run(collector.prompts(2), arms=(DEAR,))
    await collector.run(collector.prompts(2), arms=(DEAR,), max_usd=float("inf"))
    assert collector.past().cells["q0", DEAR]["usd"] is None


async def test_a_free_arm_is_asked_without_end(collector: Any, fake: Any) -> None:
    fake.prices[CHEAP] = (0.0, 0.0)
    ending = await collector.run(collector.prompts(20), arms=(CHEAP,), max_usd=1e-6)
    assert ending.stopped == ""
    assert len(fake.questions(CHEAP)) == 20


async def test_waiting_is_done_as_told_and_then_it_succeeds(collector: Any, fake: Any) -> None:
    def fault(arm: str, number: int) -> web.Response | None:
        busy = web.json_response({"error": {"code": "busy"}}, status=429, headers={"retry-after": "7"})
        return busy if number in (1, 2) else None

    fake.fault = fault
    await collector.run(collector.prompts(1), arms=(CHEAP,))
    assert collector.waits == [7.0, 7.0]
    assert collector.past().cells["q0", CHEAP]["status"] == "ok"


async def test_an_error_is_a_fact_without_a_score_and_is_asked_again(collector: Any, fake: Any) -> None:
    fake.fault = lambda arm, number: (
        web.json_response({"error": {"code": "upstream_error"}}, status=502) if number == 1 else None
    )
    await collector.run(collector.prompts(2), arms=(CHEAP,), concurrency=1)
    cell = collector.past().cells["q0", CHEAP]
    assert (cell["status"], cell["score"], cell["usd"]) == ("http_502 upstream_error", None, None)
    assert collector.past().held_usd > 0  # a model may have worked for it
    await collector.run(collector.prompts(2), arms=(CHEAP,))
    assert collector.past().cells["q0", CHEAP]["score"] == 1.0


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>", b"[]", b"{}", b'{"choices": []}', b'{"choices": [{"message": {"content": 3}}]}', b'{"usage": 1}'],
)
async def test_a_malformed_answer_is_held_at_its_bound_and_never_graded(collector: Any, fake: Any, body: bytes) -> None:
    fake.fault = lambda arm, number: web.Response(body=body) if number == 1 else None
    await collector.run(collector.prompts(1), arms=(CHEAP,))
    assert collector.past().cells["q0", CHEAP]["status"] == "malformed"
    assert collector.past().cells["q0", CHEAP]["score"] is None
    assert collector.past().held_usd > 0


async def test_an_answer_without_text_is_wrong_not_malformed(collector: Any, fake: Any) -> None:
    fake.texts[CHEAP] = lambda question: ""
    await collector.run(collector.prompts(1), arms=(CHEAP,))
    assert collector.past().cells["q0", CHEAP]["score"] == 0.0


async def test_an_arm_that_always_fails_is_given_up(collector: Any, fake: Any) -> None:
    fake.fault = lambda arm, number: web.json_response({}, status=400) if arm == DEAR else None
    ending = await collector.run(collector.prompts(30), concurrency=1)
    assert "8 failures" in ending.gone[DEAR]
    assert len(fake.questions(CHEAP)) == 30


async def test_the_judge_grades_and_its_cost_counts(collector: Any, fake: Any) -> None:
    fake.texts[DEAR] = lambda question: "It is right.\n**Score: 7**"
    await collector.run(collector.prompts(3, check="judge"), arms=(CHEAP,), judge=DEAR)
    past = collector.past()
    assert [cell["score"] for cell in past.cells.values()] == [0.7] * 3
    assert past.spent_usd == pytest.approx(fake.billed_usd, abs=1e-8)
    judged = [body for body in fake.bodies if body["model"] == DEAR and body["max_tokens"] > 16]
    assert {body["temperature"] for body in judged} == {0.0}
    assert past.cells["q0", CHEAP]["usd"] < past.spent_usd / 3  # the arm's own cost, without the judge's


async def test_a_judge_that_gives_no_score_leaves_none(collector: Any, fake: Any) -> None:
    fake.texts[DEAR] = lambda question: "Score: 7 or so"
    await collector.run(collector.prompts(1, check="judge"), arms=(CHEAP,), judge=DEAR)
    cell = collector.past().cells["q0", CHEAP]
    assert (cell["status"], cell["score"]) == ("judge_failed", None)


async def test_a_judge_that_keeps_failing_stops_the_run_before_it_pays_for_more(collector: Any, fake: Any) -> None:
    fake.texts[DEAR] = lambda question: "I would rather not."
    ending = await collector.run(collector.prompts(30, check="judge"), arms=(CHEAP,), judge=DEAR, concurrency=1)
    assert "8 failures" in ending.stopped
    assert len(fake.questions(CHEAP)) == 8


async def test_a_judge_of_its_own_model_is_noted(collector: Any, fake: Any) -> None:
    fake.texts[DEAR] = lambda question: "Score: 7"
    prompts = collector.prompts(1, check="judge")
    assert "favour" in (await collector.run(prompts, arms=(THINKING,), judge=DEAR)).notes[0]
    assert (await collector.run(prompts, arms=(CHEAP,), judge=DEAR)).notes == []


async def test_answers_are_kept_only_when_asked_for(collector: Any) -> None:
    await collector.run(collector.prompts(1), arms=(CHEAP,))
    assert "The answer is" not in (collector.folder / "out" / "calls.journal").read_text()
    await collector.run(collector.prompts(1), arms=(DEAR,), keep_answers=True)
    assert collector.past().cells["q0", DEAR]["answer"] == "The answer is 4."


async def test_the_written_table_is_what_training_reads(collector: Any, fake: Any) -> None:
    fake.fault = lambda arm, number: web.json_response({}, status=400) if arm == DEAR and number == 1 else None
    await collector.run(collector.prompts(3, domain="sums"), concurrency=1)
    file = write_outcomes(collector.past(), collector.folder / "out")
    records = list(read_plain(file))
    assert len(records) == 9
    assert {(record.model, record.mode, record.effort) for record in records} == {
        ("cheap", "instant", ""),
        ("dear", "instant", ""),
        ("dear", "reasoning", "low"),
    }
    assert [record.query_id for record in records if record.score is None] == ["q0"]
    assert records[0].domain == "sums"
    assert records[0].usd == pytest.approx(collector.past().cells["q0", CHEAP]["usd"])


async def test_the_summary_compares_arms_on_the_same_prompts(collector: Any, fake: Any) -> None:
    fake.texts[CHEAP] = lambda question: "4" if "0 +" in question or "1 +" in question else "9"
    fake.fault = lambda arm, number: web.json_response({}, status=400) if arm == DEAR and number == 1 else None
    prompts = collector.prompts(4)
    ending = await collector.run(prompts, concurrency=1)
    tasks = load_tasks(prompts, check=None, judge=None, conditions={})
    summary = summarise(collector.past(), tasks, ending, max_usd=1.0, out="out")
    lines = {line.arm: line for line in summary.arms}
    assert summary.complete == 3
    assert lines[CHEAP].accuracy == pytest.approx(1 / 3)  # q0 is left out for all: dear did not answer it
    assert lines[DEAR].errors == {"http_400": 1}
    assert lines[DEAR].missing == 1


async def test_the_summary_is_shown_without_cutting_names_or_figures(
    collector: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    prompts = collector.prompts(4)
    ending = await collector.run(prompts)
    tasks = load_tasks(prompts, check=None, judge=None, conditions={})
    show(summarise(collector.past(), tasks, ending, max_usd=1.0, out="outcomes"))
    said = capsys.readouterr().out
    assert all(arm in said for arm in (CHEAP, DEAR, THINKING))
    assert "1.000 (0.510–1.000)" in said
    assert "gearshift train default --data outcomes --out policy" in said


async def test_a_changed_prompt_does_not_mix_with_the_old_one(collector: Any) -> None:
    await collector.run(collector.prompts(2), arms=(CHEAP,))
    with pytest.raises(CollectError, match="'q0' was collected with another"):
        await collector.run(collector.prompts(2, reference="5"), arms=(CHEAP,))


async def test_an_arm_the_gateway_has_not_is_refused(collector: Any) -> None:
    with pytest.raises(CollectError, match="'big/instant' is no arm"):
        await collector.run(collector.prompts(1), arms=("big/instant",))


async def test_no_gateway_is_said_before_anything_is_written(collector: Any, fake: Any) -> None:
    fake.url = "http://127.0.0.1:9/v1"
    with pytest.raises(CollectError, match="no gateway answers"):
        await collector.run(collector.prompts(1))
    assert collector.past().cells == {}


async def test_cancelling_leaves_a_journal_that_goes_on(collector: Any, fake: Any) -> None:
    prompts, reached = collector.prompts(30), asyncio.Event()

    def fault(arm: str, number: int) -> None:
        if number > 5:
            reached.set()

    fake.fault = fault
    running = asyncio.create_task(collector.run(prompts, arms=(CHEAP,)))
    await reached.wait()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    done = len(collector.past().cells)
    assert 0 < done < 30
    await collector.run(prompts, arms=(CHEAP,))
    assert len(collector.past().cells) == 30
