"""Erasing over HTTP: begun at once, told of until it ended, in the log of changes, and failed in words."""

import asyncio
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
import redis
from admin_api import CONFIG, SECRET, Api, ended, placed

from policies.archive_schema import DamagedPartition, read_log
from router.admin.erasures import MOST_KEPT, Asked, Erasure, Erasures
from router.directory.directory import Directory
from router.store.archive import HOLDER_KEY, archive_once
from router.store.base import End, Start, StoreUnavailable
from router.store.erase import Erased
from router.store.keys import ARCHIVES_KEY
from router.store.ledger import Hold, Window, tenant_account
from router.store.valkey import StoreOptions, ValkeyStore

NOTHING = Erased(0, 0, 0, is_compact=True)
ACME = Asked("globex", "acme", budgets=False)
BUDGETED = {"organisation": "globex", "budgets": [{"per": "day", "usd": 1}]}


async def answered(url: str, directory: Path, tenant: str, numbers: range) -> None:
    """Requests of a tenant of `globex`, at 500 nano-USD each."""
    store = ValkeyStore(url, StoreOptions(spool_dir=directory / "spool"))
    await store.start()
    owner, window = (
        {"organisation": "globex", "tenant": tenant},
        Window(tenant_account(tenant), "day", 10**9, "its own"),
    )
    for n in numbers:
        ids = {"request_id": f"r-{tenant}-{n}", "decision_id": f"d-{tenant}-{n}"}
        row, outcome = ({**ids, **owner, **more} for more in ({"kind": "drawn"}, {"status": "ok"}))
        stub = orjson.dumps({"tenant": tenant, **ids})
        await store.begin(Start(ids["request_id"], "globex", stub, orjson.dumps(row), b"", Hold(1000, (window,))))
        await store.settle(
            End(
                ids["request_id"], "globex", orjson.dumps(outcome), ids["decision_id"], tenant, reserved=True,
                nano_usd=500,
            )
        )  # fmt: skip
    await store.aclose()


@pytest.fixture
def client(valkey_url: str) -> Iterator["redis.Redis"]:
    with redis.Redis.from_url(valkey_url) as client:
        yield client


@pytest.fixture
def api(client: "redis.Redis", valkey_url: str, tmp_path: Path) -> Api:
    """Two tenants of one organisation, with rows in the archive and in the streams."""
    directory = Directory(client, config=CONFIG, secret=SECRET, by="x")
    for tenant in ("acme", "neighbour"):
        directory.create_tenant(tenant, BUDGETED)
        asyncio.run(answered(valkey_url, tmp_path, tenant, range(3)))
    archive_once(valkey_url, tmp_path)
    asyncio.run(answered(valkey_url, tmp_path, "acme", range(3, 5)))
    return Api(client, placed(valkey_url, tmp_path))


def rows(directory: Path) -> list[str]:
    return sorted(row["tenant"] for table in read_log(directory) for row in table.to_pylist())


def test_it_answers_at_once_and_tells_where_to_ask_how_it_went(api: Api, tmp_path: Path) -> None:
    begun = api.ask("POST", "/admin/v1/tenants/acme/erase")
    assert begun.status == 202
    assert begun.headers["retry-after"] == "1"
    assert begun.headers["location"] == f"/admin/v1/erasures/{begun.json['id']}"
    assert (begun.json["tenant"], begun.json["organisation"], begun.json["budgets"]) == ("acme", "globex", False)
    told = ended(api, begun)
    assert (told["state"], told["problem"], told["n_rows"], told["n_open"]) == ("done", None, 10, 0)
    assert (told["is_compact"], told["left"]) == (True, [])
    assert rows(tmp_path) == ["neighbour"] * 3
    assert api.ask("GET", "/admin/v1/tenants/acme").json["settings"] == BUDGETED  # settings are not what it left
    assert api.ask("GET", "/admin/v1/budgets").json["acme"]["spent_usd"] == 2.5e-6


def test_both_ends_are_in_the_log_of_changes_in_the_name_of_who_asked(api: Api) -> None:
    ended(api, api.ask("POST", "/admin/v1/tenants/acme/erase", {"budgets": True}))
    first, last = api.ask("GET", "/admin/v1/audit?after=2").json["entries"]
    assert (first["action"], first["target"], last["action"], last["target"]) == (
        "erase.begin",
        "acme",
        "erase.end",
        "acme",
    )
    assert first["before"] == {"organisation": "globex", "budgets": True}
    assert last["after"]["rows"] == 10
    assert first["by"] == last["by"]
    assert first["by"].startswith("api:")
    assert api.ask("GET", "/admin/v1/audit/verify").json["whole"] is True
    told = api.ask("GET", "/admin/v1/budgets").json
    assert (told["acme"]["spent_usd"], told["neighbour"]["spent_usd"]) == (0.0, 1.5e-6)


def test_a_tenant_that_was_deleted_is_erased_by_its_organisation(api: Api, tmp_path: Path) -> None:
    api.ask("DELETE", "/admin/v1/tenants/acme")
    refused = api.ask("POST", "/admin/v1/tenants/acme/erase")
    assert (refused.status, refused.error["code"]) == (404, "unknown_tenant")
    assert "name its organisation" in refused.error["message"]
    assert ended(api, api.ask("POST", "/admin/v1/tenants/acme/erase", {"organisation": "globex"}))["n_rows"] == 10
    assert rows(tmp_path) == ["neighbour"] * 3


def test_where_another_gateway_archives_the_log_it_fails_and_says_so(
    api: Api, client: "redis.Redis", tmp_path: Path
) -> None:
    client.delete(ARCHIVES_KEY)
    (tmp_path / "archive").rename(tmp_path / "archive-of-another-host")
    client.set(HOLDER_KEY, "of another host")
    told = ended(api, api.ask("POST", "/admin/v1/tenants/acme/erase"))
    assert told["state"] == "failed"
    assert "run it where the gateway that archives it runs" in told["problem"]
    assert told["n_rows"] is None
    actions = [entry["action"] for entry in api.ask("GET", "/admin/v1/audit").json["entries"]]
    assert (actions[-1], "erase.end" in actions) == ("erase.begin", False)


@pytest.mark.parametrize(
    ("path", "sent", "status", "code"),
    [
        ("/admin/v1/tenants/nobody/erase", {}, 404, "unknown_tenant"),
        ("/admin/v1/tenants/acme/erase", {"path": "/"}, 400, "invalid_request"),
        ("/admin/v1/tenants/acme/erase", {"budgets": "perhaps"}, 400, "invalid_request"),
        ("/admin/v1/tenants/acme/erase", [], 400, "invalid_request"),
    ],
)
def test_what_cannot_be_erased_is_refused_before_anything_begins(
    api: Api, path: str, sent: Any, status: int, code: str
) -> None:
    refused = api.ask("POST", path, sent)
    assert (refused.status, refused.error["code"]) == (status, code)
    assert len(api.ask("GET", "/admin/v1/audit").json["entries"]) == 2


def test_an_erasure_of_before_a_restart_is_unknown_and_the_answer_says_what_to_do(api: Api) -> None:
    got = api.ask("GET", "/admin/v1/erasures/0011223344556677")
    assert (got.status, got.error["code"]) == (404, "unknown_erasure")
    assert "ask for it again" in got.error["message"]


def test_one_that_is_asked_for_twice_while_it_runs_is_one() -> None:
    erasures, may_end = Erasures(), threading.Event()

    def slow() -> Erased:
        may_end.wait(20)
        return NOTHING

    first = erasures.begin(ACME, slow)
    assert erasures.begin(ACME, slow) == first
    assert erasures.begin(Asked("globex", "acme", budgets=True), slow).id != first.id
    may_end.set()
    assert seen(erasures, first).state == "done"
    assert erasures.begin(ACME, slow).id != first.id  # a new one: there may be more to erase by now


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (redis.ConnectionError("at unix:///secret/place"), "the store does not answer"),
        (StoreUnavailable("the store still writes"), "the store still writes; ask for it again"),
        (DamagedPartition(Path("x.parquet"), "no footer"), r"x.parquet"),
        (OSError(28, "No space left on device"), "No space left on device"),
        (KeyError("what a prompt said"), "the gateway's log says where"),
    ],
)
def test_a_failure_is_told_in_words_without_what_the_tenant_wrote(
    error: Exception, told: str, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> Erased:
        raise error

    erasures = Erasures()
    failed = seen(erasures, erasures.begin(ACME, fail))
    assert failed.state == "failed"
    assert told in (failed.problem or "")
    assert told in caplog.text
    assert "what a prompt said" not in caplog.text
    assert "/secret/place" not in (failed.problem or "")


def test_the_last_hundred_are_known() -> None:
    erasures = Erasures()
    first, *_, last = [seen(erasures, erasures.begin(ACME, lambda: NOTHING)) for _ in range(MOST_KEPT + 1)]
    assert erasures.find(first.id) is None
    assert erasures.find(last.id) == last


def seen(erasures: Erasures, begun: Erasure) -> Erasure:
    """The erasure once it ended."""
    for _ in range(2000):
        found = erasures.find(begun.id)
        assert found is not None
        if found.state != "running":
            return found
        time.sleep(0.005)
    raise AssertionError("it still runs")
