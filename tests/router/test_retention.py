"""Retention: texts leave the archive when their term is over, each in its time, and a crash leaves a whole file."""

import threading
from pathlib import Path

import orjson
import pyarrow.parquet as pq
import pytest
import redis
from rig import SECRET, config_of, tree

from policies.archive_schema import Entry, read_log, to_table
from router.config.review import warnings_of
from router.directory.kept import Kept
from router.end_user import pseudonym
from router.store.archiver import pass_in_child
from router.store.keys import DIRECTORY_KEY
from router.store.retention import DAY_S, kept_terms, sweep
from router.store.sweeper import Sweeper, terms_of

NOW = 1_800_000_000.0
TERMS = {("acme", "short"): 2.0 * DAY_S, ("acme", "long"): 30.0 * DAY_S}


class Killed(Exception):
    """Stands for kill -9."""


def decision(
    n: int, tenant: str, *, days_ago: float, prompt: str | None = "a secret plan", end_user: str | None = None
) -> Entry:
    at = NOW - days_ago * DAY_S
    row = {"request_id": f"r{n}", "decision_id": f"d{n}", "organisation": "acme", "tenant": tenant, "prompt": prompt}
    row["end_user"] = end_user
    more = {"tags": {"team": "a"}, "features": [1.0, 2.0], "removed": {"m/instant": "why"}}
    return Entry(f"{int(at * 1000)}-{n}", at, orjson.dumps(row | more), b"\x01\x02")


def comment(n: int, tenant: str, *, days_ago: float) -> Entry:
    at = NOW - days_ago * DAY_S
    row = {"feedback_id": f"f{n}", "decision_id": f"d{n}", "organisation": "acme", "tenant": tenant, "metric": "thumbs",
           "value": 1, "comment": "too long"}  # fmt: skip
    return Entry(f"{int(at * 1000)}-{n}", at, orjson.dumps(row))


def write(directory: Path, kind: str, *entries: Entry) -> Path:
    folder = directory / "archive" / kind / "shard=62"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{entries[0].stream_id}-{entries[-1].stream_id}.parquet"
    pq.write_table(to_table(kind, entries), path, compression="zstd")
    return path


def texts(path: Path, column: str = "prompt") -> list[str | None]:
    found: list[str | None] = pq.read_table(path)[column].to_pylist()
    return found


def test_each_tenants_texts_go_when_their_own_term_is_over(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "decisions",
        decision(1, "short", days_ago=3),
        decision(2, "long", days_ago=3),
        decision(3, "for ever", days_ago=3),
        decision(4, "short", days_ago=1),
        decision(5, "short", days_ago=3, prompt=None),
    )
    said = write(tmp_path, "feedback", comment(1, "short", days_ago=2.5), comment(2, "long", days_ago=2.5))
    assert sweep(tmp_path, TERMS, now=NOW, secret=SECRET) == 2
    assert texts(path) == [None, "a secret plan", "a secret plan", "a secret plan", None]
    assert texts(said, "comment") == [None, "too long"]
    assert sweep(tmp_path, TERMS, now=NOW, secret=SECRET) == 0
    assert sweep(tmp_path, TERMS, now=NOW + 29 * DAY_S, secret=SECRET) == 3
    assert texts(path) == [None, None, "a secret plan", None, None]


def test_nothing_else_of_a_row_changes_and_the_bytes_are_gone(tmp_path: Path) -> None:
    path = write(tmp_path, "decisions", decision(1, "short", days_ago=3), decision(2, "short", days_ago=2.1))
    before, mode = pq.read_table(path), path.stat().st_mode
    sweep(tmp_path, TERMS, now=NOW, secret=SECRET)
    after = pq.read_table(path)
    assert after.schema == before.schema
    assert after.drop_columns(["prompt"]).equals(before.drop_columns(["prompt"]))
    assert path.stat().st_mode == mode
    assert b"secret" not in path.read_bytes()
    assert [row["request_id"] for table in read_log(tmp_path) for row in table.to_pylist()] == ["r1", "r2"]


def test_a_file_without_texts_or_within_every_term_is_not_touched(tmp_path: Path) -> None:
    empty = write(tmp_path, "decisions", decision(1, "short", days_ago=9, prompt=None))
    young = write(tmp_path, "decisions", decision(2, "short", days_ago=1))
    other = write(tmp_path, "decisions", decision(3, "for ever", days_ago=9))
    before = [path.stat().st_ino for path in (empty, young, other)]
    assert sweep(tmp_path, TERMS, now=NOW, secret=SECRET) == 0
    assert [path.stat().st_ino for path in (empty, young, other)] == before
    assert sweep(tmp_path, {}, now=NOW, secret=SECRET) == 0


def hidden(named: str, tenant: str = "short") -> str:
    return pseudonym(named, organisation="acme", tenant=tenant, secret=SECRET)


def test_with_the_prompt_the_end_users_name_goes_and_its_pseudonym_comes(tmp_path: Path) -> None:
    ann, ben = "ann@example.com", hidden("ben")
    path = write(
        tmp_path,
        "decisions",
        decision(1, "short", days_ago=3, end_user=ann),
        decision(2, "short", days_ago=3, end_user=ben),
        decision(3, "short", days_ago=3),
        decision(4, "short", days_ago=1, end_user=ann),
        decision(5, "long", days_ago=3, end_user=ann),
        decision(6, "short", days_ago=3, prompt=None, end_user=ann),  # its prompt was taken before names were
    )
    assert sweep(tmp_path, TERMS, now=NOW, secret=SECRET) == 5
    assert texts(path, "end_user") == [hidden(ann), ben, None, ann, ann, hidden(ann)]
    assert sweep(tmp_path, TERMS, now=NOW + 30 * DAY_S, secret=SECRET) == 4
    assert texts(path, "end_user") == [hidden(ann), ben, None, hidden(ann), hidden(ann, "long"), hidden(ann)]
    assert ann.encode() not in path.read_bytes()


def test_a_file_whose_names_are_all_pseudonyms_is_not_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = (decision(n, "short", days_ago=9, prompt=None, end_user=hidden(f"user {n}")) for n in range(5))
    path = write(tmp_path, "decisions", *rows)
    monkeypatch.setattr(pq.ParquetFile, "read", lambda *_: pytest.fail("read whole"))
    assert sweep(tmp_path, TERMS, now=NOW, secret=SECRET) == 0
    assert path.exists()


def test_a_partition_of_before_end_users_were_logged_is_swept_all_the_same(tmp_path: Path) -> None:
    path = write(tmp_path, "decisions", decision(1, "short", days_ago=3))
    pq.write_table(pq.read_table(path).drop_columns(["end_user"]), path)
    assert sweep(tmp_path, TERMS, now=NOW, secret=SECRET) == 1
    assert "end_user" not in pq.read_table(path).column_names


@pytest.mark.parametrize("step", ["written", "renamed"])
def test_a_crash_at_any_step_leaves_a_whole_file_and_the_next_pass_ends_it(tmp_path: Path, step: str) -> None:
    path = write(tmp_path, "decisions", decision(1, "short", days_ago=3), decision(2, "short", days_ago=1))

    def dies(name: str) -> None:
        if name == step:
            raise Killed(name)

    with pytest.raises(Killed):
        sweep(tmp_path, TERMS, now=NOW, secret=SECRET, step=dies)
    assert texts(path) == ([None, "a secret plan"] if step == "renamed" else ["a secret plan", "a secret plan"])
    sweep(tmp_path, TERMS, now=NOW, secret=SECRET)
    assert texts(path) == [None, "a secret plan"]
    assert [found.name for found in path.parent.iterdir()] == [path.name]


def test_rows_that_fit_no_schema_lose_their_texts_too(tmp_path: Path) -> None:
    path = write(tmp_path, "decisions", decision(1, "short", days_ago=9, prompt=None)).with_suffix(".unreadable")
    old, young = (int((NOW - days * DAY_S) * 1000) for days in (3, 1))
    row = b'{"organisation":"acme","tenant":"short","arm":7,"prompt":"a secret plan","end_user":"ann"}'
    path.write_bytes(b"%d-0 %s\n%d-0 %s\n%d-1 no json\n" % (old, row, young, row, old))
    assert sweep(tmp_path, TERMS, now=NOW, secret=SECRET) == 2
    first, second, third = path.read_bytes().splitlines()
    left = orjson.loads(first.partition(b" ")[2])
    assert (left["prompt"], left["end_user"], left["arm"]) == (None, hidden("ann"), 7)
    assert second.endswith(row)
    assert third.endswith(b"no json")


def test_a_damaged_partition_keeps_no_other_from_being_swept(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    damaged = write(tmp_path, "decisions", decision(1, "short", days_ago=9))
    damaged.write_bytes(damaged.read_bytes()[:-20])
    sound = write(tmp_path, "decisions", decision(2, "short", days_ago=8))
    assert sweep(tmp_path, TERMS, now=NOW, secret=SECRET) == 1
    assert texts(sound) == [None]
    assert "cannot be read, so its texts stay" in caplog.text
    assert "secret" not in caplog.text


def test_a_pass_in_a_child_goes_by_the_stores_clock_and_renews_its_file(valkey_url: str, tmp_path: Path) -> None:
    with redis.Redis.from_url(valkey_url) as client:
        ahead_s = client.time()[0] - NOW  # the rows are written around another now
        path = write(tmp_path, "decisions", decision(1, "short", days_ago=3), decision(2, "short", days_ago=-9999))
        terms = [("acme", "short", ahead_s + 2 * DAY_S)]
        client.config_resetstat()
        told = orjson.dumps(
            {"url": valkey_url, "own": True, "secret": SECRET.hex(), "tenants": ["short"], "terms": terms}
        ).decode()
        assert pass_in_child("router.store.retention", tmp_path, told, stop=threading.Event()) == "1\n"
        assert client.info("commandstats")["cmdstat_bgrewriteaof"]["calls"] == 1
    assert texts(path) == [None, "a secret plan"]
    gone = orjson.dumps(
        {"url": f"unix://{tmp_path}/no.sock", "own": True, "secret": SECRET.hex(), "tenants": [], "terms": terms}
    ).decode()
    assert pass_in_child("router.store.retention", tmp_path, gone, stop=threading.Event()) is None


def keep(client: "redis.Redis", **tenants: dict[str, object]) -> None:
    client.hset(DIRECTORY_KEY, mapping={"head": "1 x", "document": Kept(tenants=tenants).dump()})


def test_a_tenant_of_the_store_has_its_term_there_unless_the_file_names_it_too(valkey_url: str) -> None:
    with redis.Redis.from_url(valkey_url) as client:
        assert kept_terms(client, of_file=()) == {}
        keep(
            client,
            short={"organisation": "acme", "retention_days": 2, "models": ["gone"]},
            default={"retention_days": 3},
            endless={"store_prompts": True},
            of_file={"retention_days": 1},
        )
        found = kept_terms(client, of_file=["of_file"])
    assert found == {("acme", "short"): 2 * DAY_S, ("default", "default"): 3 * DAY_S}


def test_a_pass_that_cannot_read_what_the_store_keeps_takes_nothing(valkey_url: str, tmp_path: Path) -> None:
    path = write(tmp_path, "decisions", decision(1, "short", days_ago=9999))
    told = {"url": valkey_url, "own": True, "secret": SECRET.hex(), "tenants": [], "terms": [("acme", "short", DAY_S)]}
    with redis.Redis.from_url(valkey_url) as client:
        client.hset(DIRECTORY_KEY, mapping={"head": "1 x", "document": b"{"})
        passed = pass_in_child("router.store.retention", tmp_path, orjson.dumps(told).decode(), stop=threading.Event())
    assert passed is None
    assert texts(path) == ["a secret plan"]


def test_terms_are_those_of_the_configuration_and_none_is_warned_of() -> None:
    tenants = {"a": {"store_prompts": True, "retention_days": 7, "organisation": "o"}, "b": {"store_prompts": True}}
    config = config_of(tree(tenants=tenants))
    assert terms_of(config) == [("o", "a", 7 * DAY_S)]
    told = {warning.place: warning.message for warning in warnings_of(config)}
    assert "kept for ever" in told["tenants.b.store_prompts"]
    assert "tenants.a.store_prompts" not in told


def test_the_sweeper_runs_by_the_newest_terms_and_ends_when_told(valkey_url: str, tmp_path: Path) -> None:
    path = write(tmp_path, "decisions", Entry("1000-1", 1.0, decision(1, "short", days_ago=0).row))
    of_store = write(tmp_path, "decisions", Entry("2000-1", 2.0, decision(2, "kept", days_ago=0).row))
    with redis.Redis.from_url(valkey_url) as client:
        keep(client, kept={"retention_days": 1, "organisation": "acme"})
    tenants = {"short": {"store_prompts": True, "retention_days": 1, "organisation": "acme"}}
    plain = tree(tenants=tenants, store={"url": valkey_url, "dir": str(tmp_path)})
    config = config_of(plain)
    sweeper = Sweeper(config.store, secret=SECRET, first_s=0.0)
    sweeper.take(config)
    sweeper.start()
    for _ in range(600):
        if texts(path) == texts(of_store) == [None]:
            break
        threading.Event().wait(0.05)  # a child starts
    sweeper.stop()
    assert texts(path) == texts(of_store) == [None]
    assert "sweeper" not in {thread.name for thread in threading.enumerate()}
