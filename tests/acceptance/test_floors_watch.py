"""`gearshift floors watch` against a real gateway: silent while the floor is kept, an alarm once it is not.

The command runs as cron runs it, on the log that the gateway wrote, and asks through the gateway. The arms are scripted
so that the truth is known: what it tells is held against their own record and against the gateway's log.
"""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from floor_world import CHEAP, DEAR, FLOOR, JUDGE, Graded, World, proofs, running, sums, train

from policies.artifact import load_artifact, read_artifact, save_artifact
from policies.encoders.load import load_encoder
from policies.prices import NANO
from router.upstreams.fake import Answer

pytestmark = [pytest.mark.accept, pytest.mark.timeout(300)]

SYSTEM = [{"role": "system", "content": "Answer in one line."}, {"role": "user", "content": "What is 3 plus 4?"}]
TOOL = {"type": "function", "function": {"name": "add", "parameters": {"type": "object", "properties": {}}}}
TURNS = [
    {"role": "user", "content": "What is 3 plus 4?"},
    {"role": "assistant", "content": "7"},
    {"role": "user", "content": "What is 7 plus 4?"},
]


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Trained by the command, with rows set aside: it promises the floor and saves by it."""
    return train(tmp_path_factory.mktemp("trained"))


@pytest.fixture
def world(artifact: Path, tmp_path: Path) -> Iterator[World]:
    """A tenant that opted in."""
    with running(artifact, tmp_path, store_prompts=True) as started:
        yield started


@pytest.fixture(scope="module")
def quiet(artifact: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A gateway with sixty answers under the floor in its archive; every test has a folder of its own."""
    with running(artifact, tmp_path_factory.mktemp("quiet"), store_prompts=True) as started:
        started.ask(*sums(60, first=5_000))
        started.archive()
        yield started


def test_while_the_floor_is_kept_it_tells_what_it_heard_and_spent(world: World, tmp_path: Path) -> None:
    arms = world.ask(*sums(50, first=2_000), *proofs(20, first=2_000))
    assert arms.count(CHEAP) >= 45
    assert arms.count(DEAR) >= 10
    world.archive()
    asked = world.asked("small")
    told = world.watch(tmp_path / "out", "--json")
    assert (told.code, "ALARM" in told.err) == (0, False)
    result = json.loads(told.out)
    assert result["read"] == {"under_floor": 70, "drawn": 70, "known": 0, "left_out": {}}
    (row,) = result["floors"]
    assert (row["floor"], row["pairs"], row["waiting"], row["failed"]) == (FLOOR, 70, 0, 0)
    assert row["ratio"] >= FLOOR
    # Each answer of the cheap arm once more, and its price learned from two probes.
    assert world.asked("small") - asked == arms.count(CHEAP) + 2
    bills = [line["nano_usd"] for line in world.gateway.export() if line["kind"] == "forced"]
    assert sum(bills) == round(result["spent_usd"] * NANO) > 0
    again = world.watch(tmp_path / "out")
    assert again.code == 0
    assert "70 decisions under a floor read, 0 newly drawn, 70 drawn before" in again.out
    assert f"spent {result['spent_usd']:.6f} USD" in again.out
    assert world.asked("small") - asked == arms.count(CHEAP) + 2
    world.says_no_texts(told, again)


def test_a_cheap_arm_that_silently_gets_worse_raises_the_alarm(world: World, tmp_path: Path) -> None:
    world.ask(*sums(30, first=2_000))
    world.archive()
    assert world.watch(tmp_path / "out").code == 0
    world.upstream.server.script = Graded(broken=True)
    arms = world.ask(*sums(80, first=3_000))
    assert arms.count(CHEAP) >= 70  # nothing tells the policy
    world.archive()
    told = world.watch(tmp_path / "out")
    assert told.code == 3
    *_, alarm = told.out.splitlines()
    version = read_artifact(world.artifact).version
    assert alarm.startswith(f"ALARM: the floor of {FLOOR} is not kept, by pair ")
    assert f"Artifact {version} serves it; over all pairs it kept " in alarm
    assert f"Serve the reference arm (policy: {{name: static, arm: {DEAR}}})" in alarm
    (row,) = json.loads((tmp_path / "out" / "watch.json").read_text())["floors"]
    assert 30 < row["alarmed_at_pair"] <= 110
    assert row["high"] < FLOOR
    assert world.watch(tmp_path / "out").code == 3  # not taken back
    world.says_no_texts(told)


def test_what_the_log_does_not_hold_whole_is_left_out_under_its_reason(world: World, tmp_path: Path) -> None:
    world.ask(*sums(10, first=2_000))
    for more in ({"messages": SYSTEM}, {"tools": [TOOL]}, {"messages": TURNS}):
        world.ask("What is 3 plus 4?", **more)
    world.ask("What is 3 plus 4?", max_tokens=1)
    world.archive()
    asked = len(world.upstream.server.requests)
    told = world.watch(tmp_path / "out")
    assert told.code == 0
    assert "14 decisions under a floor read, 11 newly drawn" in told.out
    for why in ("a later turn", "a system prompt or other texts", "tools, an image or a demanded form"):
        assert f", 1 left out: {why}" in told.out
    answers = [seen.body for seen in world.upstream.server.requests[asked:] if seen.model != "judge"]
    assert all(len(body["messages"]) == 1 and "tools" not in body for body in answers)
    bounded = [body["max_tokens"] for body in answers if body["messages"][0]["content"] == "What is 3 plus 4?"]
    assert bounded == [1, 1]  # of both arms, as the client bounded it


def test_traffic_of_a_tenant_that_did_not_opt_in_is_no_silence(artifact: Path, tmp_path: Path) -> None:
    with running(artifact, tmp_path) as world:
        world.ask(*sums(12, first=2_000))
        world.archive()
        asked = len(world.upstream.server.requests)
        told = world.watch(tmp_path / "out")
        assert told.code == 1
        assert "12 left out: prompt not stored" in told.out
        assert "nothing of this traffic is heard: none of 12 decisions of the sample can be asked again" in told.out
        assert "set store_prompts: true for a tenant that agrees to it" in told.out
        assert "spent 0.000000 USD" in told.out
        assert len(world.upstream.server.requests) == asked


def test_a_log_without_a_floor_is_told(artifact: Path, tmp_path: Path) -> None:
    with running(artifact, tmp_path, store_prompts=True) as world:
        world.ask(*sums(5, first=2_000), gearshift={})
        world.archive()
        told = world.watch(tmp_path / "out")
    assert (told.code, told.out) == (1, "")
    assert "no decision under a quality floor by cluster@" in told.err
    assert "set quality_floor for a tenant or a request" in told.err


def test_at_the_cap_it_stops_within_it_and_a_higher_one_goes_on(quiet: World, tmp_path: Path) -> None:
    told = quiet.watch(tmp_path / "out", max_usd="0.1")
    assert told.code == 1
    assert "stopped at the cap; the same command with a higher --max-usd goes on where this ended" in told.out
    result = json.loads((tmp_path / "out" / "watch.json").read_text())
    assert 0.0 < result["spent_usd"] <= 0.1
    assert result["floors"][0]["waiting"] > 0
    whole = quiet.watch(tmp_path / "out")
    assert whole.code == 0
    (row,) = json.loads((tmp_path / "out" / "watch.json").read_text())["floors"]
    assert (row["pairs"], row["waiting"]) == (60, 0)


def test_a_cap_without_room_for_the_first_calls_says_what_to_raise(quiet: World, tmp_path: Path) -> None:
    told = quiet.watch(tmp_path / "out", max_usd="0.000001")
    assert told.code == 1
    assert "60 pairs wait for answers; stopped at the cap; the same command with a higher --max-usd" in told.out
    assert json.loads((tmp_path / "out" / "watch.json").read_text())["spent_usd"] <= 0.000001


def test_an_arm_that_fails_keeps_its_pairs_waiting(quiet: World, tmp_path: Path) -> None:
    quiet.upstream.server.script = Graded(down={"large": Answer(fault="status_400")})
    told = quiet.watch(tmp_path / "out")
    quiet.upstream.server.script = Graded()
    assert told.code == 1
    assert f"{DEAR} was not asked further: its price could not be learned: http_400" in told.out
    assert "60 pairs wait for answers; the same command asks them again" in told.out
    assert quiet.watch(tmp_path / "out").code == 0


def test_a_gateway_that_is_down_is_told_and_the_sample_waits_for_it(artifact: Path, tmp_path: Path) -> None:
    with running(artifact, tmp_path, store_prompts=True) as world:
        world.ask(*sums(12, first=2_000))
        world.archive()
        world.gateway.stop()
        told = world.watch(tmp_path / "out")
        assert (told.code, told.out) == (1, "")
        assert f"no gateway answers at {world.gateway.url}; start one with gearshift serve" in told.err
        world.says_no_texts(told)
        world.gateway.start()
        assert world.watch(tmp_path / "out").code == 0


def test_another_artifact_than_the_one_that_serves_is_told(quiet: World, tmp_path: Path) -> None:
    other = twin(quiet.artifact, tmp_path / "other")
    told = quiet.watch(tmp_path / "out", artifact=str(other))
    assert told.code == 1
    assert f"no decision under a quality floor by cluster@{read_artifact(other).version}" in told.err
    assert "name the artifact that serves" in told.err
    missing = quiet.watch(tmp_path / "out", artifact=str(tmp_path / "nowhere"))
    assert missing.code == 1
    assert str(tmp_path / "nowhere") in missing.err
    stranger = quiet.watch(tmp_path / "out", judge="nobody/instant")
    assert stranger.code == 1
    assert f"'nobody/instant' is no arm of this gateway; it has {CHEAP}" in stranger.err
    assert JUDGE in stranger.err


def test_an_artifact_that_another_one_replaced_is_told(artifact: Path, tmp_path: Path) -> None:
    with running(artifact, tmp_path, store_prompts=True) as before:
        before.ask(*sums(12, first=2_000))
        before.archive()
        assert before.watch(tmp_path / "out").code == 0
    other = twin(artifact, tmp_path / "other")
    with running(other, tmp_path, store_prompts=True) as after:
        after.ask(*sums(7, first=3_000))
        after.archive()
        told = after.watch(tmp_path / "out", artifact=str(artifact))
        assert told.code == 1
        assert "all 7 decisions under a floor since the newest that was drawn are of cluster@" in told.out
        assert f"none of {read_artifact(artifact).version}; name the artifact that serves now" in told.out
        assert after.watch(tmp_path / "out").code == 0  # it begins anew with the one that serves


def twin(artifact: Path, folder: Path) -> Path:
    """The same policy as an artifact of its own."""
    encoder = load_encoder("static")
    return save_artifact(
        replace(load_artifact(artifact, encoder=encoder), data={"pool": "twin"}), folder, encoder=encoder
    )
