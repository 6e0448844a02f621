"""End users in the log: told apart, and unknown by name unless the tenant keeps texts."""

from pathlib import Path
from typing import Any

import pytest
from rig import SECRET, World, body, tree

from router.end_user import pseudonym

PEOPLE = {"alice": "alice@example.org", "bob": "bob@example.org"}


async def logged(url: str, folder: Path, *asked: dict[str, Any], **tenant: Any) -> list[str | None]:
    """The end users of the decisions."""
    async with World(url, folder, tree(tenants={"t": {"organisation": "acme", **tenant}})) as world:
        for each in asked:
            assert (await world.chat(body(**each))).status == 200
        rows = world.rows(b"d")
        if not tenant:
            assert "example.org" not in str(rows) + str(world.rows(b"o"))
    return [row["end_user"] for row in rows]


@pytest.mark.asyncio
async def test_a_user_is_the_same_pseudonym_in_every_request_and_another_ones_differs(
    valkey_url: str, tmp_path: Path
) -> None:
    first, again, other = await logged(
        valkey_url, tmp_path, *({"user": PEOPLE[name]} for name in ("alice", "alice", "bob"))
    )
    assert first == again == pseudonym(PEOPLE["alice"], organisation="acme", tenant="t", secret=SECRET)
    assert other == pseudonym(PEOPLE["bob"], organisation="acme", tenant="t", secret=SECRET)
    assert first != other


@pytest.mark.asyncio
async def test_where_prompts_are_stored_the_id_stands_as_it_came_unless_it_is_a_text(
    valkey_url: str, tmp_path: Path
) -> None:
    asked = ({"user": PEOPLE["alice"]}, {"user": "x" * 257}, {"user": "hmac:alice"})
    short, long, posing = await logged(valkey_url, tmp_path, *asked, store_prompts=True)
    assert short == PEOPLE["alice"]
    assert long == pseudonym("x" * 257, organisation="acme", tenant="t", secret=SECRET)
    assert posing == pseudonym("hmac:alice", organisation="acme", tenant="t", secret=SECRET)


@pytest.mark.asyncio
async def test_user_comes_before_its_successor_and_nobody_is_null(valkey_url: str, tmp_path: Path) -> None:
    asked = ({"user": "a", "safety_identifier": "b"}, {"safety_identifier": "b"}, {"user": None}, {"user": ""}, {})
    found = await logged(valkey_url, tmp_path, *asked, store_prompts=True)
    assert found == ["a", "b", None, None, None]


@pytest.mark.asyncio
async def test_what_is_no_text_is_refused(valkey_url: str, tmp_path: Path) -> None:
    async with World(valkey_url, tmp_path, tree()) as world:
        for name in ("user", "safety_identifier"):
            got = await world.chat(body(**{name: 7}))
            assert (got.status, got.error["param"]) == (400, name)


def test_a_pseudonym_belongs_to_one_tenant() -> None:
    of = [
        pseudonym("alice", organisation=organisation, tenant=tenant, secret=secret)
        for organisation, tenant, secret in (
            ("o", "t", SECRET),
            ("o", "u", SECRET),
            ("p", "t", SECRET),
            ("o", "t", b"x"),
        )
    ]
    assert len(set(of)) == 4
