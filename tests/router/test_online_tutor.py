"""One learner for all gateways: each feedback counts once, whatever crashes, comes late, is repeated or archived."""

from dataclasses import replace
from pathlib import Path

import pytest
import redis
from lessons import HEARING, Lessons, example_policy
from safetensors.numpy import load

from policies.zoo.thompson import Exploring
from router.online.snapshot import StateUnreadable
from router.online.tutor import Tutor
from router.store.archive import archive_once
from router.store.keys import online_keys

pytestmark = pytest.mark.asyncio
N = 12
SCORES = {n: float(n % 3 == 0) for n in range(N)}


class Killed(Exception):
    """Stands for kill -9."""


def dies_at(wanted: int, name: str) -> object:
    """A step function that dies at the n-th step of this name."""
    seen: list[str] = []

    def step(reached: str) -> None:
        seen.append(reached)
        if seen.count(name) == wanted and reached == name:
            raise Killed

    return step


async def teach(log: Lessons, scores: dict[int, float] = SCORES) -> None:
    await log.answered(*scores)
    for n, score in scores.items():
        await log.feedback(n, score)


async def test_feedback_becomes_offsets_under_a_new_sequence_number(valkey_url: str, tmp_path: Path) -> None:
    async with Lessons(valkey_url, tmp_path) as log:
        tutor = log.caught_up(log.tutor())
        assert log.served().sequence == 1
        assert log.shown() == (0.0, 0.0)
        await teach(log)
        log.caught_up(tutor)
        assert log.served().sequence == 2
        assert log.shown() == pytest.approx(log.expected(SCORES))
        log.caught_up(tutor)
        assert log.served().sequence == 2  # nothing new, nothing changes


async def test_what_was_logged_before_learning_began_is_the_artifacts(valkey_url: str, tmp_path: Path) -> None:
    async with Lessons(valkey_url, tmp_path) as log:
        await teach(log)
        tutor = log.caught_up(log.tutor())
        await log.feedback(0, 1.0)  # of a decision from before
        log.caught_up(tutor)
        assert log.shown() == (0.0, 0.0)
        assert log.lost("late_or_unknown") == 1


@pytest.mark.parametrize("step", ["taught", "published"])
@pytest.mark.parametrize("wanted", [2, 3, 4])
async def test_a_crash_anywhere_counts_no_feedback_twice_and_loses_none(
    valkey_url: str, tmp_path: Path, step: str, wanted: int
) -> None:
    async with Lessons(valkey_url, tmp_path) as log:
        log.killed(log.tutor())
        await teach(log)
        with pytest.raises(Killed):
            log.caught_up(log.tutor(batch_rows=7, step=dies_at(wanted, step)))
        log.client.delete(online_keys("v1").lease)  # it runs out, as nobody renews it
        log.caught_up(log.tutor(batch_rows=7))
        assert log.shown() == pytest.approx(log.expected(SCORES))


async def test_a_store_that_fails_in_between_changes_nothing(valkey_url: str, tmp_path: Path) -> None:
    """The publication's reply is lost: nobody knows whether it was carried out."""

    def fails(name: str) -> None:
        if failing and name == failing[0]:
            del failing[0]
            raise redis.ConnectionError("gone")

    async with Lessons(valkey_url, tmp_path) as log:
        failing = list[str]()
        tutor = log.caught_up(log.tutor(step=fails))
        await teach(log)
        failing += ["taught", "published"]
        for _ in range(2):
            with pytest.raises(redis.ConnectionError):
                log.caught_up(tutor)
        log.caught_up(tutor)
        assert log.shown() == pytest.approx(log.expected(SCORES))


async def test_feedback_that_comes_after_a_restart_finds_its_decision(valkey_url: str, tmp_path: Path) -> None:
    async with Lessons(valkey_url, tmp_path) as log:
        log.killed(log.tutor())
        await log.answered(*SCORES)
        log.killed(log.tutor())
        assert int(log.state()[b"waiting"]) == N
        for n, score in SCORES.items():
            await log.feedback(n, score)
        log.caught_up(log.tutor())
        assert log.shown() == pytest.approx(log.expected(SCORES))
        assert int(log.state()[b"waiting"]) == 0


async def test_repeated_feedback_replaces_also_across_a_restart(valkey_url: str, tmp_path: Path) -> None:
    async with Lessons(valkey_url, tmp_path) as log:
        log.killed(log.tutor())
        await teach(log)
        log.killed(log.tutor())
        await log.feedback(0, 0.25)
        await log.feedback(1, 0.5)
        await log.feedback(1, 0.75)
        log.caught_up(log.tutor())
        assert log.shown() == pytest.approx(log.expected(SCORES | {0: 0.25, 1: 0.75}))
        assert int(log.state()[b"lessons"]) == N


async def test_the_most_trusted_metric_counts_and_bounds_are_read(valkey_url: str, tmp_path: Path) -> None:
    async with Lessons(valkey_url, tmp_path) as log:
        tutor = log.caught_up(log.tutor())
        await log.answered(1)
        await log.feedback(1, 0.0, metric="thumbs")
        log.caught_up(tutor)
        assert log.shown() == pytest.approx(log.expected({1: 0.0}, weight=0.5))
        await log.feedback(1, 4.0, metric="stars")
        await log.feedback(1, 0.0, metric="thumbs")
        await log.feedback(1, 0.0, metric="unheard_of")
        log.caught_up(tutor)
        assert log.shown() == pytest.approx(log.expected({1: 0.75}))


async def test_rows_that_were_archived_meanwhile_are_read_from_their_partitions(
    valkey_url: str, tmp_path: Path
) -> None:
    async with Lessons(valkey_url, tmp_path) as log:
        tutor = log.caught_up(log.tutor())
        await teach(log, {n: SCORES[n] for n in range(6)})
        archive_once(valkey_url, tmp_path, batch_rows=5)
        await teach(log, {n: SCORES[n] for n in range(6, 9)})
        archive_once(valkey_url, tmp_path)
        await teach(log, {n: SCORES[n] for n in range(9, N)})
        log.caught_up(tutor)
        assert log.shown() == pytest.approx(log.expected(SCORES))


@pytest.mark.parametrize("steps", range(1, 8))
async def test_an_archiver_that_crashed_anywhere_hides_no_row(valkey_url: str, tmp_path: Path, steps: int) -> None:
    def dies(name: str) -> None:
        done.append(name)
        if len(done) == steps:
            raise Killed

    async with Lessons(valkey_url, tmp_path) as log:
        tutor, done = log.caught_up(log.tutor()), list[str]()
        await teach(log, {n: SCORES[n] for n in range(6)})
        with pytest.raises(Killed):
            archive_once(valkey_url, tmp_path, step=dies)
        await teach(log, {n: SCORES[n] for n in range(6, N)})
        archive_once(valkey_url, tmp_path)
        log.caught_up(tutor)
        assert log.shown() == pytest.approx(log.expected(SCORES))


async def test_rows_archived_on_another_machine_are_passed_over(
    valkey_url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with Lessons(valkey_url, tmp_path) as log:
        tutor = log.caught_up(log.tutor(directory=tmp_path / "here"))
        await teach(log, {n: SCORES[n] for n in range(6)})
        archive_once(valkey_url, tmp_path / "there")
        later = {n: SCORES[n] for n in range(6, N)}
        await teach(log, later)
        log.caught_up(tutor)
        assert log.shown() == pytest.approx(log.expected(later))
        assert "were archived elsewhere" in caplog.text


async def test_it_holds_up_neither_archiving_nor_trimming(valkey_url: str, tmp_path: Path) -> None:
    async with Lessons(valkey_url, tmp_path) as log:
        log.caught_up(log.tutor())
        await teach(log)
        archive_once(valkey_url, tmp_path)
        assert sum(log.client.xlen(key) for key in log.client.scan_iter("gs:*:log")) == 0


async def test_only_the_holder_of_the_lease_learns_and_the_next_goes_on(valkey_url: str, tmp_path: Path) -> None:
    async with Lessons(valkey_url, tmp_path) as log:
        first, second = log.caught_up(log.tutor()), log.tutor()
        await teach(log, {n: SCORES[n] for n in range(6)})
        assert not second.round()
        assert log.shown() == (0.0, 0.0)
        log.caught_up(first)
        log.client.delete(online_keys("v1").lease)
        log.caught_up(second)
        await teach(log, {n: SCORES[n] for n in range(6, N)})
        for tutor in (first, second, first):
            log.caught_up(tutor)
        assert log.shown() == pytest.approx(log.expected(SCORES))


async def test_one_that_lost_its_lease_while_it_learned_publishes_nothing(valkey_url: str, tmp_path: Path) -> None:
    async with Lessons(valkey_url, tmp_path) as log:

        def overtaken(name: str) -> None:
            if name == "taught" and log.client.delete(online_keys("v1").lease) and is_slow:
                log.caught_up(log.tutor())

        is_slow = False
        slow = log.tutor(step=overtaken)
        slow.round()
        await teach(log)
        is_slow = True
        log.caught_up(slow)
        assert log.served().sequence == 2
        assert log.shown() == pytest.approx(log.expected(SCORES))


async def test_another_artifact_begins_anew_and_leaves_the_firsts_state(valkey_url: str, tmp_path: Path) -> None:
    async with Lessons(valkey_url, tmp_path) as log:
        old, new = log.caught_up(log.tutor()), example_policy(version="v2")
        await teach(log, {n: SCORES[n] for n in range(6)})
        log.caught_up(old)
        tutor = log.caught_up(log.tutor(new))
        assert log.served(new).sequence == 1
        await teach(log, {n: SCORES[n] for n in range(6, N)})
        log.caught_up(tutor)
        assert int(log.state(new)[b"lessons"]) == N - 6
        assert int(log.state()[b"lessons"]) == 6


async def test_tenants_that_opted_out_are_never_learned_from(valkey_url: str, tmp_path: Path) -> None:
    """By their rows, which hold no embedding, and by the configuration, should such a row be older than the wish."""
    async with Lessons(valkey_url, tmp_path) as log:
        hearing = replace(HEARING, opted_out=frozenset({("acme", "quiet")}))
        tutor = log.caught_up(log.tutor(hearing=hearing))
        await log.answered(1, training=False)
        await log.answered(2, tenant="quiet")
        await log.feedback(1, 0.0)
        await log.feedback(2, 0.0, tenant="quiet")
        log.caught_up(tutor)
        assert log.shown() == (0.0, 0.0)
        assert int(log.state()[b"waiting"]) == 0


async def test_a_tenant_that_opts_out_later_is_not_heard_any_more(valkey_url: str, tmp_path: Path) -> None:
    async with Lessons(valkey_url, tmp_path) as log:
        log.killed(log.tutor())
        await log.answered(1)
        log.killed(log.tutor())
        await log.feedback(1, 0.0)
        log.caught_up(log.tutor(hearing=replace(HEARING, opted_out=frozenset({("acme", "t")}))))
        assert log.shown() == (0.0, 0.0)


@pytest.mark.parametrize("status", ["error", "cancelled", "upstream_cut", "unknown_after_crash"])
async def test_an_answer_that_did_not_end_well_says_nothing_of_its_arm(
    valkey_url: str, tmp_path: Path, status: str
) -> None:
    async with Lessons(valkey_url, tmp_path) as log:
        tutor = log.caught_up(log.tutor())
        await log.answered(1, status=status)
        await log.feedback(1, 0.0)
        log.caught_up(tutor)
        assert log.shown() == (0.0, 0.0)


async def test_decisions_are_kept_within_bounds_and_what_goes_is_counted(valkey_url: str, tmp_path: Path) -> None:
    async with Lessons(valkey_url, tmp_path) as log:
        tutor = log.caught_up(log.tutor(hearing=replace(HEARING, most=4)))
        await log.answered(*range(10))
        log.caught_up(tutor)
        assert int(log.state()[b"waiting"]) == log.client.hlen(online_keys("v1").waiting) == 4
        assert log.lost("crowded") == 6
        await log.feedback(0, 0.0)
        await log.feedback(9, 0.0)
        log.caught_up(tutor)
        assert log.shown() == pytest.approx(log.expected({9: 0.0}))


async def test_a_decision_waits_no_longer_than_it_should(valkey_url: str, tmp_path: Path) -> None:
    async with Lessons(valkey_url, tmp_path) as log:
        tutor = log.caught_up(log.tutor(hearing=replace(HEARING, wait_s=1e-6)))
        await log.answered(1)
        await log.feedback(1, 0.0)
        log.caught_up(tutor)
        assert log.lost("late_or_unknown") == log.lost("no_feedback") == 1
        assert log.client.hlen(online_keys("v1").waiting) == 0


async def test_a_turn_that_two_arms_answered_is_taken_back(valkey_url: str, tmp_path: Path) -> None:
    async with Lessons(valkey_url, tmp_path) as log:
        tutor = log.caught_up(log.tutor())
        await log.answered(1, 2)
        await log.feedback(1, 0.0)
        await log.feedback(2, 1.0)
        log.caught_up(tutor)
        row = b'{"request_id": "r1b", "decision_id": "d1", "status": "ok", "served_arm": "b/instant"}'
        (stream,) = log.client.scan_iter("gs:*:log")
        log.client.xadd(stream, {"t": "o", "at": "9e9", "j": row})
        log.caught_up(tutor)
        assert log.shown() == pytest.approx(log.expected({2: 1.0}))


def raised(log: Lessons) -> float:
    return float(log.metrics.arm_alarms.labels("a/instant", "worse")._value.get())


async def test_an_arm_that_turns_bad_is_told_once(
    valkey_url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with Lessons(valkey_url, tmp_path) as log:
        tutor = log.caught_up(log.tutor())
        await teach(log, dict.fromkeys(range(60), 0.0))
        log.killed(tutor)
        before = raised(log)
        log.caught_up(log.tutor())
        assert raised(log) == before >= 1
        assert caplog.text.count("arm_alarm arm=a/instant direction=worse") == before


@pytest.mark.parametrize(("step", "wanted", "times"), [("taught", 1, 1), ("published", 2, 1), ("told", 2, 2)])
async def test_an_alarm_is_told_by_the_next_learner_where_the_first_died_before_that_was_recorded(
    valkey_url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture, step: str, wanted: int, times: int
) -> None:
    """Never less than once, and twice only where nobody can know that it was told."""
    async with Lessons(valkey_url, tmp_path) as log:
        log.killed(log.tutor())
        await teach(log, dict.fromkeys(range(60), 0.0))
        with pytest.raises(Killed):
            log.caught_up(log.tutor(step=dies_at(wanted, step)))
        log.client.delete(online_keys("v1").lease)
        for _ in range(3):
            log.killed(log.tutor())
        told = [record.getMessage() for record in caplog.records if "arm_alarm arm=a/instant" in record.getMessage()]
        assert {told.count(line) for line in told} == {times}
        assert raised(log) == len(told)


async def test_a_lost_reply_of_the_store_loses_no_alarm(
    valkey_url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(name: str) -> None:
        if name == "published" and len(failing) < 2:
            failing.append(name)
            raise redis.ConnectionError("gone")

    async with Lessons(valkey_url, tmp_path) as log:
        failing = ["not yet", "not yet"]
        tutor = log.caught_up(log.tutor(step=fails))
        await teach(log, dict.fromkeys(range(60), 0.0))
        failing.clear()
        for _ in range(2):  # and again where it takes over from itself
            with pytest.raises(redis.ConnectionError):
                log.caught_up(tutor)
        assert raised(log) == 0
        log.caught_up(tutor)
        assert raised(log) == caplog.text.count("arm_alarm arm=a/instant") >= 1


async def test_a_state_from_before_untold_alarms_were_kept_has_none(valkey_url: str, tmp_path: Path) -> None:
    async with Lessons(valkey_url, tmp_path) as log:
        log.killed(log.tutor())
        log.client.hdel(online_keys("v1").state, "untold")
        log.caught_up(log.tutor())
        assert (log.served().sequence, raised(log)) == (1, 0)


async def test_the_next_learner_knows_the_bets_too(valkey_url: str, tmp_path: Path) -> None:
    """Restarted after every row or never: the same alarms, offsets and memory."""
    async with Lessons(valkey_url, tmp_path) as log:
        whole, parts = log.tutor(), example_policy(version="v2")
        log.caught_up(whole)
        log.killed(log.tutor(parts), artifact="v2")
        for n in range(40):
            await teach(log, {n: float(n % 5 == 0)})
            log.killed(log.tutor(parts), artifact="v2")
        log.caught_up(whole)
        one, other = log.state(), log.state(parts)
        for field in (b"offsets", b"memory"):
            theirs = load(other[field])
            for name, values in load(one[field]).items():
                assert values == pytest.approx(theirs[name], rel=1e-9), name


async def test_new_exploring_is_a_new_state(valkey_url: str, tmp_path: Path) -> None:
    async with Lessons(valkey_url, tmp_path) as log:
        log.killed(log.tutor())
        exploring = Exploring(share=0.5, extra_usd=0.2)
        log.killed(log.tutor(exploring=exploring))
        log.caught_up(log.tutor(exploring=exploring))
        assert (log.served().sequence, log.served().exploring) == (2, exploring)


@pytest.mark.parametrize(
    "harm",
    [{"format": 2}, {"memory": b"nothing"}, {"positions": b"["}, {"artifact": "v3"}, {"untold": b'[{"arm": 1}]'}],
)
async def test_a_state_that_cannot_be_read_is_left_alone(
    valkey_url: str, tmp_path: Path, harm: dict[str, str | bytes | int]
) -> None:
    async with Lessons(valkey_url, tmp_path) as log:
        log.killed(log.tutor())
        log.client.hset(online_keys("v1").state, mapping=harm)  # type: ignore[arg-type]
        before = log.state()
        with pytest.raises(StateUnreadable, match="delete the key"):
            log.tutor().round()
        assert log.state() == before


async def test_a_learner_that_cannot_go_on_stands_in_nobodys_way(valkey_url: str, tmp_path: Path) -> None:
    """A gateway of an older version beside one that can read the state, or of a machine whose archive is damaged."""
    async with Lessons(valkey_url, tmp_path) as log:
        able = log.caught_up(log.tutor())
        log.client.delete(online_keys("v1").lease)
        unable = log.tutor()
        log.client.hset(online_keys("v1").state, "format", 2)
        with pytest.raises(StateUnreadable):
            unable.round()
        log.client.hset(online_keys("v1").state, "format", 1)  # stands for a version that reads it
        await teach(log)
        log.caught_up(able)
        assert log.shown() == pytest.approx(log.expected(SCORES))


async def test_beginning_anew_forgets_the_decisions_that_waited_too(valkey_url: str, tmp_path: Path) -> None:
    """After the state's key was deleted, as the message above says: what was taught before cannot be taken back."""
    async with Lessons(valkey_url, tmp_path) as log:
        log.killed(log.tutor())
        await teach(log)
        log.killed(log.tutor())
        log.client.delete(online_keys("v1").state)
        log.killed(log.tutor())
        for n in SCORES:
            await log.feedback(n, 0.5)
        log.caught_up(log.tutor())
        assert log.shown() == (0.0, 0.0)
        assert log.lost("late_or_unknown") == N


async def test_a_row_that_is_none_teaches_nothing(valkey_url: str, tmp_path: Path) -> None:
    async with Lessons(valkey_url, tmp_path) as log:
        tutor: Tutor = log.caught_up(log.tutor())
        await log.answered(1)
        (stream,) = log.client.scan_iter("gs:*:log")
        for row in (b"{", b"[]", b"{}", b'{"decision_id": 1, "metric": "score", "value": "high"}'):
            log.client.xadd(stream, {"t": "f", "at": "1", "j": row})
        log.client.xadd(stream, {"t": "?", "at": "1", "j": b"{}"})
        await log.feedback(1, 0.0)
        log.caught_up(tutor)
        assert log.shown() == pytest.approx(log.expected({1: 0.0}))
