"""Tenants and keys of the store: what may be changed, by whom, and what is kept of it."""

import threading
from collections.abc import Iterator
from typing import Any

import orjson
import pytest
import redis
from rig import config_of, tree

from router.directory.audit import verify_end
from router.directory.directory import MOST_GRACE_S, Directory, OtherSecret
from router.directory.kept import DirectoryUnreadable
from router.directory.record import read_record
from router.errors import ApiError, BadRequest, Conflict, NotFound
from router.secret import secret_id
from router.store.keys import AUDIT_KEY, DIRECTORY_KEY
from router.tenants import key_hmac

SECRET = b"the tests' secret"
CONFIG = config_of(tree(tenants={"of-the-file": {"keys": ["key-of-the-file"]}}, trade_offs={}))


@pytest.fixture
def client(valkey_url: str) -> Iterator["redis.Redis"]:
    with redis.Redis.from_url(valkey_url) as client:
        yield client


@pytest.fixture
def directory(client: "redis.Redis") -> Directory:
    return Directory(client, config=CONFIG, secret=SECRET, by="cli:ann@host")


def log(client: "redis.Redis") -> list[dict[str, Any]]:
    """The entries, once the whole log is verified."""
    record = read_record(client)
    verify_end(record.lines, secret=SECRET, head=record.head, document=record.document)
    return [orjson.loads(line) for line in record.lines]


def test_a_tenant_is_made_changed_and_deleted_each_with_an_entry(directory: Directory, client: "redis.Redis") -> None:
    directory.create_tenant("acme", {"organisation": "globex", "explore": 0.1})
    directory.change_tenant("acme", {"explore": 0.2, "models": ["small"]})
    assert directory.read().tenants["acme"] == {"organisation": "globex", "explore": 0.2, "models": ["small"]}
    assert directory.change_tenant("acme", {"models": None}) == {"organisation": "globex", "explore": 0.2}
    directory.delete_tenant("acme")
    assert directory.read().tenants == {}
    entries = log(client)
    assert [entry["action"] for entry in entries] == ["tenant.create", "tenant.set", "tenant.set", "tenant.delete"]
    assert {entry["by"] for entry in entries} == {"cli:ann@host"}
    assert entries[1]["before"] == {"organisation": "globex", "explore": 0.1}
    assert entries[1]["after"] == entries[2]["before"]
    assert entries[3]["before"] == {"settings": {"organisation": "globex", "explore": 0.2}, "keys": []}


def test_a_key_is_kept_as_its_hmac_and_nowhere_else(directory: Directory, client: "redis.Redis") -> None:
    directory.create_tenant("acme", {})
    made = directory.create_key("acme", name="ci")
    assert made.text.startswith("gs-")
    assert len(made.text) > 40
    assert made.key.digest == key_hmac(SECRET, made.text)
    assert made.key.key_id == made.key.digest[:8]
    assert directory.read().keys == {made.key.key_id: made.key}
    everything = b"".join([*client.lrange(AUDIT_KEY, 0, -1), *client.hvals(DIRECTORY_KEY)])
    assert made.text.encode() not in everything
    assert made.key.digest.encode() not in b"".join(client.lrange(AUDIT_KEY, 0, -1))
    assert log(client)[-1]["after"] == {
        "key_id": made.key.key_id,
        "tenant": "acme",
        "name": "ci",
        "created_at": made.key.created_at,
        "expires_at": None,
    }


def test_what_binds_a_key_binds_the_one_in_its_place(directory: Directory, client: "redis.Redis") -> None:
    directory.create_tenant("acme", {})
    old = directory.create_key("acme").key
    caps = {"requests_per_minute": 5}
    directory.change_tenant("acme", {"key_caps": {old.key_id: caps}})
    new = directory.rotate_key(old.key_id, grace_s=60).key
    assert directory.read().tenants["acme"]["key_caps"] == {old.key_id: caps, new.key_id: caps}
    entry = log(client)[-1]
    assert (entry["before"]["key_caps"], entry["after"]["key_caps"]) == (
        {old.key_id: caps}, {old.key_id: caps, new.key_id: caps},
    )  # fmt: skip
    newest = directory.rotate_key(new.key_id, grace_s=0).key
    assert directory.read().tenants["acme"]["key_caps"][newest.key_id] == caps
    free = directory.rotate_key(directory.create_key("acme").key.key_id, grace_s=0).key
    assert free.key_id not in directory.read().tenants["acme"]["key_caps"]
    assert "key_caps" not in log(client)[-1]["after"]


def test_a_rotated_key_ends_after_its_grace_and_only_once(directory: Directory, client: "redis.Redis") -> None:
    directory.create_tenant("acme", {})
    old = directory.create_key("acme", name="ci").key
    new = directory.rotate_key(old.key_id, grace_s=3600).key
    kept = directory.read().keys
    assert (new.tenant, new.name, new.expires_at) == ("acme", "ci", None)
    ends_at = kept[old.key_id].expires_at
    assert ends_at is not None
    assert ends_at == pytest.approx(directory.now() + 3600, abs=60)
    with pytest.raises(Conflict, match="was rotated already"):
        directory.rotate_key(old.key_id, grace_s=10**6)
    newest = directory.rotate_key(new.key_id, grace_s=0).key
    assert set(directory.read().keys) == {old.key_id, newest.key_id}  # no grace: gone at once
    assert [entry["action"] for entry in log(client)][-2:] == ["key.rotate", "key.rotate"]


@pytest.mark.parametrize("grace_s", [-1, MOST_GRACE_S + 1, 99_999_999 * 86_400.0, float("inf"), float("nan")])
def test_a_grace_that_no_date_can_tell_is_refused_and_the_key_stays(
    directory: Directory, client: "redis.Redis", grace_s: float
) -> None:
    directory.create_tenant("acme", {})
    key = directory.create_key("acme").key
    with pytest.raises(BadRequest, match=r"stays valid for 0 s to 365 days, got .* days"):
        directory.rotate_key(key.key_id, grace_s=grace_s)
    assert directory.read().keys == {key.key_id: key}
    assert len(log(client)) == 2
    directory.rotate_key(key.key_id, grace_s=MOST_GRACE_S)


def test_a_revoked_key_is_gone_also_within_its_grace(directory: Directory, client: "redis.Redis") -> None:
    directory.create_tenant("acme", {})
    old = directory.create_key("acme").key
    new = directory.rotate_key(old.key_id, grace_s=3600).key
    assert directory.revoke_key(old.key_id).tenant == "acme"
    assert set(directory.read().keys) == {new.key_id}
    assert log(client)[-1]["target"] == old.key_id
    with pytest.raises(NotFound):
        directory.revoke_key(old.key_id)


def test_keys_go_with_their_tenant(directory: Directory) -> None:
    for name in ("acme", "beta"):
        directory.create_tenant(name, {})
        directory.create_key(name)
    directory.delete_tenant("acme")
    assert {key.tenant for key in directory.read().keys.values()} == {"beta"}


def test_a_budget_is_set_replaced_and_taken_away(directory: Directory, client: "redis.Redis") -> None:
    directory.create_tenant("acme", {})
    directory.set_budget("acme", "day", 5.0)
    directory.set_budget("acme", "month", 100.0)
    settings = directory.set_budget("acme", "day", 7.5)
    assert settings["budgets"] == [{"per": "month", "usd": 100.0}, {"per": "day", "usd": 7.5}]
    directory.set_budget("acme", "month", None)
    assert directory.read().tenants["acme"]["budgets"] == [{"per": "day", "usd": 7.5}]
    assert {entry["action"] for entry in log(client)} == {"tenant.create", "budget.set"}


def test_tenants_of_the_file_are_read_only(directory: Directory) -> None:
    for change in (
        lambda: directory.create_tenant("of-the-file", {}),
        lambda: directory.change_tenant("of-the-file", {"explore": 0.5}),
        lambda: directory.set_budget("of-the-file", "day", 1.0),
        lambda: directory.delete_tenant("of-the-file"),
        lambda: directory.create_key("of-the-file"),
    ):
        with pytest.raises(Conflict, match="stands in the configuration file") as refused:
            change()
        assert (refused.value.status, refused.value.code) == (409, "read_only")
    assert directory.read().head == ""


def test_a_tenant_the_file_came_to_name_can_still_be_taken_out(client: "redis.Redis", directory: Directory) -> None:
    directory.create_tenant("later", {})
    old = directory.create_key("later").key
    other = Directory(client, config=config_of(tree(tenants={"later": {}})), secret=SECRET, by="cli:bob@host")
    with pytest.raises(Conflict):
        other.rotate_key(old.key_id, grace_s=0)
    other.revoke_key(old.key_id)
    other.delete_tenant("later")
    assert directory.read().tenants == {}


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"trade_off": "chaep"}, "did you mean 'cheap'"),
        ({"models": ["medium"]}, "no such model"),
        ({"explore": 2}, "explore: expected a number of at most 1, got"),
        ({"exlpore": 0.2}, "exlpore: unknown key .did you mean 'explore'"),
        ({"keys": ["hmac:" + "0" * 64]}, "gearshift keys create"),
        ({"organisation": "a\nb"}, "organisation's name"),
        ({"reference": "small/agentic"}, "expected an arm|no model of this file"),
        ({"budgets": [{"per": "day", "usd": 1}, {"per": "day", "usd": 2}]}, "keep one"),
        ({"budgets": [{"per": "day", "usd": 1}], "when_spent": "local"}, "free or local"),
    ],
)
def test_settings_that_do_not_fit_are_refused_and_leave_no_trace(
    directory: Directory, client: "redis.Redis", settings: dict[str, object], told: str
) -> None:
    directory.create_tenant("acme", {})
    with pytest.raises(BadRequest, match=told):
        directory.create_tenant("beta", settings)
    with pytest.raises(BadRequest, match=told):
        directory.change_tenant("acme", settings)
    assert directory.read().tenants == {"acme": {}}
    assert len(log(client)) == 1


@pytest.mark.parametrize("name", ["", "-x", "a b", "a/b", "a\nb", "é", "x" * 65])
def test_a_name_that_could_be_misread_is_refused(directory: Directory, name: str) -> None:
    with pytest.raises(BadRequest, match="a tenant's name begins with"):
        directory.create_tenant(name, {})


def test_what_is_not_there_is_told(directory: Directory) -> None:
    found: list[ApiError] = []
    for change in (
        lambda: directory.change_tenant("nobody", {"explore": 0}),
        lambda: directory.delete_tenant("nobody"),
        lambda: directory.create_key("nobody"),
        lambda: directory.rotate_key("00000000", grace_s=1),
        lambda: directory.revoke_key("00000000"),
    ):
        with pytest.raises(NotFound) as missing:
            change()
        found.append(missing.value)
    assert [error.code for error in found] == ["unknown_tenant"] * 3 + ["unknown_key"] * 2
    directory.create_tenant("acme", {})
    with pytest.raises(Conflict, match="exists already"):
        directory.create_tenant("acme", {})


def test_changes_made_at_once_lose_none_of_each_other(valkey_url: str, client: "redis.Redis") -> None:
    def make(who: int) -> None:
        with redis.Redis.from_url(valkey_url) as own:
            mine = Directory(own, config=CONFIG, secret=SECRET, by=f"cli:{who}@host")
            for number in range(10):
                mine.create_tenant(f"t{who}-{number}", {})

    threads = [threading.Thread(target=make, args=(who,)) for who in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(log(client)) == 40
    assert len(Directory(client, config=CONFIG, secret=SECRET, by="x").read().tenants) == 40


def test_keys_under_another_secret_are_not_made(client: "redis.Redis", directory: Directory) -> None:
    client.hset(DIRECTORY_KEY, "secret", secret_id(b"the gateways' secret"))
    with pytest.raises(OtherSecret, match="GEARSHIFT_KEY_SECRET"):
        directory.compare_secret()


@pytest.mark.parametrize(
    ("document", "told"), [(b'{"v": 2}', "reads 1: upgrade"), (b"{}", "cannot be read"), (b"[", "cannot be read")]
)
def test_what_cannot_be_read_is_not_written_over(
    client: "redis.Redis", directory: Directory, document: bytes, told: str
) -> None:
    client.hset(DIRECTORY_KEY, mapping={"head": "1 x", "document": document})
    with pytest.raises(DirectoryUnreadable, match=told):
        directory.create_tenant("acme", {})
    assert client.hget(DIRECTORY_KEY, "document") == document
