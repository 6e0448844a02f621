"""The watch from end to end: a log, a small gateway that answers and judges, and what the command tells."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import web
from fake_gateway import FakeGateway, serving
from logged_world import Row
from typer.testing import CliRunner
from watched_log import CHEAP, DEAR, JUDGE, decided, judged, says, traffic

from policies.artifact import Artifact, save_artifact
from policies.errors import PolicyError
from policies.features import FEATURES_ID
from training.collect.errors import CollectError, GatewayDown
from training.collect.gateway import Gateway
from training.commands.floors import command
from training.commands.floors_watch import lines_of
from training.floors.watch import WatchFloors, watch_floors
from training.ope.rounds import EvaluationError

Logged = Callable[[Sequence[Row]], Path]
Promising = tuple[Path, str]
PLAIN = {"COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb"}

pytestmark = pytest.mark.asyncio


@pytest_asyncio.fixture
async def fake() -> AsyncIterator[FakeGateway]:
    """Both arms are right on four questions of five, not the same ones; the judge is fair."""
    gateway = FakeGateway()
    gateway.texts = {CHEAP: says(lambda at: at % 5 != 0), DEAR: says(lambda at: at % 5 != 1), JUDGE: judged}
    async with serving(gateway):
        yield gateway


@pytest.fixture
def run(promising: Promising, tmp_path: Path, fake: FakeGateway) -> Callable[..., Any]:
    """Runs the watch of a log once, without sleeping; everything is drawn."""

    async def once(log: Path, **changed: Any) -> dict[str, Any]:
        options = {"max_usd": 10.0, "share": 1.0, "judge": JUDGE, "max_tokens": 16} | changed
        url = options.pop("url", fake.url)
        task = WatchFloors(log, promising[0], tmp_path / "out", **options)
        gateway = Gateway(url, timeout_s=10.0, sleep=lambda seconds: asyncio.sleep(0))
        return await watch_floors(task, gateway, progress=lambda *step: None)

    return once


async def test_while_the_floor_holds_there_is_no_alarm_and_nobody_is_asked_twice(
    run: Any, fake: FakeGateway, logged: Logged, promising: Promising
) -> None:
    log = logged(traffic(150, version=promising[1]))
    (row,) = (await run(log))["floors"]
    assert (row["floor"], row["pairs"], row["waiting"], row["failed"]) == (0.9, 150, 0, 0)
    assert row["alarmed_at_pair"] is None
    assert row["ratio"] == pytest.approx(1.0, abs=0.15)
    assert len(fake.questions(CHEAP)) == len(set(fake.questions(CHEAP)))
    assert len(fake.questions(DEAR)) == row["asked"] < 150  # few of those that it served itself are asked
    asked = len(fake.asked)
    assert (await run(log))["floors"] == [row]
    assert len(fake.asked) == asked


async def test_after_a_break_it_alarms_and_runs_go_on_from_each_other(
    run: Any, fake: FakeGateway, logged: Logged, promising: Promising
) -> None:
    fake.texts[CHEAP] = says(lambda at: at < 100 and at % 5 != 0)  # from question 100 on it is always wrong
    rows = traffic(220, version=promising[1])
    (calm,) = (await run(logged(rows[:100])))["floors"]
    assert calm["alarmed_at_pair"] is None
    (broken,) = (await run(logged(rows)))["floors"]
    assert broken["pairs"] == 220
    assert 100 < broken["alarmed_at_pair"] < 220
    assert broken["low"] < broken["ratio"] < 0.9
    (same,) = (await run(logged(rows)))["floors"]
    assert same == broken


async def test_each_floor_has_a_watch_of_its_own(run: Any, logged: Logged, promising: Promising) -> None:
    rows = [decided(at, version=promising[1], floor=(0.9, 0.97)[at % 2]) for at in range(20)]
    assert [(row["floor"], row["pairs"]) for row in (await run(logged(rows)))["floors"]] == [(0.9, 10), (0.97, 10)]


async def test_the_cap_holds_and_a_higher_one_goes_on_in_the_same_order(
    run: Any, fake: FakeGateway, logged: Logged, promising: Promising, tmp_path: Path
) -> None:
    log = logged(traffic(60, version=promising[1]))
    stopped = await run(log, max_usd=0.4)
    (row,) = stopped["floors"]
    assert (stopped["stopped"], row["pairs"] + row["waiting"]) == ("cap", 60)
    assert row["pairs"] > 0
    assert row["waiting"] > 0
    assert fake.billed_usd <= 0.4
    (whole,) = (await run(log, max_usd=10.0))["floors"]
    assert (whole["pairs"], whole["waiting"]) == (60, 0)
    book = [json.loads(line) for line in (tmp_path / "out" / "pairs.jsonl").read_text().splitlines()]
    heard = [line["query_id"] for line in book if line["kind"] == "pair"]
    assert heard == sorted(set(heard))


async def test_scores_of_the_same_grader_leave_only_the_reference_arm_to_ask(
    run: Any, fake: FakeGateway, logged: Logged, promising: Promising
) -> None:
    rows = [decided(at, version=promising[1], score=0.0, served=(CHEAP, DEAR)[at % 2]) for at in range(10)]
    (row,) = (await run(logged(rows), metric="score"))["floors"]
    assert (row["pairs"], row["score"]) == (10, 0.0)
    assert (len(fake.questions(CHEAP)), len(fake.questions(DEAR))) == (0, 5)


async def test_an_answer_that_fails_is_left_out_and_an_arm_that_is_down_is_waited_for(
    run: Any, fake: FakeGateway, logged: Logged, promising: Promising
) -> None:
    rows = traffic(30, version=promising[1], cheap_share=1.0)
    fake.fault = lambda arm, number: web.json_response({}, status=400) if (arm, number) == (CHEAP, 3) else None
    (row,) = (await run(logged(rows[:10])))["floors"]
    assert (row["pairs"], row["failed"], row["waiting"]) == (9, 1, 0)
    fake.fault = lambda arm, number: web.json_response({}, status=502) if arm == DEAR else None
    down = await run(logged(rows))
    assert (down["floors"][0]["pairs"], down["floors"][0]["waiting"], list(down["gone"])) == (9, 20, [DEAR])
    fake.fault = lambda arm, number: None
    (row,) = (await run(logged(rows)))["floors"]
    assert (row["pairs"], row["failed"], row["waiting"]) == (29, 1, 0)


async def test_what_cannot_be_watched_is_told(run: Any, logged: Logged, promising: Promising) -> None:
    with pytest.raises(EvaluationError, match="no decision under a quality floor by default@"):
        await run(logged(traffic(5, version="another")))
    with pytest.raises(CollectError, match="--check: check judge needs an arm that judges; give --judge"):
        await run(logged(traffic(5, version=promising[1])), judge=None)


async def test_an_answer_is_asked_for_within_the_bound_that_the_client_set(
    run: Any, fake: FakeGateway, logged: Logged, promising: Promising
) -> None:
    rows = [decided(at, version=promising[1], max_tokens=bound) for at, bound in enumerate((4, 99, None))]
    (row,) = (await run(logged(rows)))["floors"]
    bounds = {body["messages"][0]["content"]: body["max_tokens"] for body in fake.bodies if body["model"] == CHEAP}
    assert [bounds[f"Question {at}?"] for at in range(3)] == [4, 16, 16]  # --max-tokens is 16
    assert row["pairs"] == 3


async def test_a_cap_without_room_for_a_first_call_says_so(run: Any, logged: Logged, promising: Promising) -> None:
    result = await run(logged(traffic(5, version=promising[1])), max_usd=0.0)
    assert result["stopped"] == "cap"
    assert "5 pairs wait for answers; stopped at the cap" in "\n".join(lines_of(result))


async def test_traffic_that_cannot_be_asked_again_is_no_silence(run: Any, logged: Logged, promising: Promising) -> None:
    rows = [decided(at, version=promising[1], prompt=None) for at in range(12)]
    result = await run(logged(rows))
    assert result["unheard"].startswith("none of 12 decisions of the sample can be asked again, most for this: prompt")
    assert "set store_prompts: true for a tenant that agrees to it" in result["unheard"]
    assert result["floors"] == []
    assert (await run(logged([*rows, decided(12, version=promising[1])])))["unheard"] == ""
    assert (await run(logged([*rows, decided(12, version=promising[1])])))["unheard"] == ""  # it was drawn before


async def test_an_artifact_that_no_longer_serves_is_no_silence(run: Any, logged: Logged, promising: Promising) -> None:
    rows = traffic(10, version=promising[1])
    assert (await run(logged(rows)))["unheard"] == ""
    replaced = [*rows, *traffic(5, version="another", first=10)]
    assert "all 5 decisions under a floor since" in (told := (await run(logged(replaced)))["unheard"])
    assert f"are of default@another, none of {promising[1]}; name the artifact that serves now" in told
    both = [*replaced, decided(15, version=promising[1])]
    assert (await run(logged(both)))["unheard"] == ""  # a canary's share is heard


async def test_an_artifact_without_promises_is_refused(
    run: Any, logged: Logged, promising: Promising, encoder: Any
) -> None:
    save_artifact(Artifact("default", (), encoder.encoder_id, FEATURES_ID, {}), promising[0], encoder=encoder)
    with pytest.raises(PolicyError, match="promises no quality floor"):
        await run(logged(traffic(5, version=promising[1])))


async def test_a_gateway_that_is_down_is_told_and_the_sample_waits_for_it(
    run: Any, logged: Logged, promising: Promising, unused_tcp_port: int
) -> None:
    log = logged(traffic(5, version=promising[1], cheap_share=1.0))
    with pytest.raises(GatewayDown, match=r"no gateway answers at .*; start one with gearshift serve"):
        await run(log, url=f"http://127.0.0.1:{unused_tcp_port}")
    assert (await run(log))["floors"][0]["pairs"] == 5


async def test_the_command_tells_cron_and_people(
    fake: FakeGateway, logged: Logged, promising: Promising, tmp_path: Path
) -> None:
    fake.texts |= {CHEAP: says(lambda at: at < 40), DEAR: says(lambda at: True)}
    rows = traffic(120, version=promising[1], cheap_share=1.0)

    async def watched(log: Path, *more: str) -> tuple[int, str, str]:
        given = ["--log", str(log), "--artifact", str(promising[0]), "--out", str(tmp_path / "out"), "--share", "1"]
        given += ["--judge", JUDGE, "--base-url", fake.url, "--max-tokens", "16", *more]
        done = await asyncio.to_thread(CliRunner().invoke, command, ["watch", *given], env=PLAIN)
        return done.exit_code, done.stdout, done.stderr

    code, out, _ = await watched(logged(rows[:40]), "--max-usd", "0")
    assert (code, "40 pairs wait" in out) == (1, True)
    code, out, _ = await watched(logged(rows[:40]), "--max-usd", "10")
    assert code == 0
    assert "100.0% (100.0%–100.0%)" in out
    code, out, _ = await watched(logged(rows), "--max-usd", "10")
    assert code == 3
    assert "ALARM: the floor of 0.9 is not kept, by pair" in out
    assert f"Serve the reference arm (policy: {{name: static, arm: {DEAR}}})" in out
    code, out, _ = await watched(logged(rows), "--max-usd", "10", "--json")
    assert code == 3
    assert json.loads(out) == json.loads((tmp_path / "out" / "watch.json").read_text())
    assert "Question" not in out
    code, _, err = await watched(tmp_path, "--max-usd", "10")
    assert (code, "no archive/decisions there" in err) == (1, True)
