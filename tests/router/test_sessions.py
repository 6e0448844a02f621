"""Which conversation a request belongs to, and where it stands."""

from collections.abc import Sequence
from typing import Any

import orjson
import pytest

from router.config.schema import Limits, Tenant
from router.http.parse import ChatRequest, parse_chat
from router.sessions import Sessions, Standing, session_key, tool_call_keys
from router.tenants import Caller

CALLER = Caller("t", "o", "k", Tenant())
SECRET = b"s"
ONE, TWO = Standing("m/instant", "dec-1", 1), Standing("n/instant", "dec-2", 1)


class Memory:
    """A store that knows what it was given, and counts how often it is asked."""

    def __init__(self, **known: Standing) -> None:
        self.known = {key: standing.dump() for key, standing in known.items()}
        self.asked = 0

    async def session(self, organisation: str, session: str) -> bytes | None:
        self.asked += 1
        return self.known.get(session)

    async def tool_call_owner(self, organisation: str, tool_call_ids: Sequence[str]) -> bytes | None:
        self.asked += 1
        return next((self.known[key] for key in tool_call_ids if key in self.known), None)


def chat(*texts: str, system: str = "", results: Sequence[str] = (), **more: Any) -> ChatRequest:
    messages: list[dict[str, Any]] = [{"role": "system", "content": system}] if system else []
    messages += [{"role": "user", "content": text} for text in texts]
    messages += [{"role": "tool", "tool_call_id": call_id, "content": "x"} for call_id in results]
    return parse_chat(orjson.dumps({"model": "auto", "messages": messages, **more}), Limits())


def key(asked: ChatRequest, caller: Caller = CALLER, *, header: bytes = b"") -> str:
    return session_key(caller, asked, {b"x-gearshift-session-id": header}, SECRET)


def test_a_conversation_keeps_its_session_as_it_grows() -> None:
    assert key(chat("hi", system="s")) == key(chat("hi", "and?", system="s"))
    assert len({key(chat("hi")), key(chat("ho")), key(chat("hi", system="s"))}) == 3


def test_the_header_wins_over_the_hint_and_that_over_the_cache_key() -> None:
    by_hint, by_cache = {"gearshift": {"session": "b"}}, {"prompt_cache_key": "c"}
    assert key(chat("x"), header=b"a") == key(chat("y", **by_hint, **by_cache), header=b"a")
    assert key(chat("x", **by_hint)) == key(chat("y", **by_hint, **by_cache))
    assert key(chat("x", **by_cache)) == key(chat("y", **by_cache)) == key(chat("z"), header=b"c")
    assert key(chat("x", **by_cache)) != key(chat("c"))  # a name is not a text


def test_a_session_belongs_to_its_tenant_and_shows_nothing() -> None:
    other = Caller("u", "o", "k", Tenant())
    assert key(chat("hi")) != key(chat("hi"), other)
    assert key(chat("x"), header=b"a") != key(chat("x"), other, header=b"a")
    assert set(key(chat("secret text"))) <= set("0123456789abcdef")


@pytest.mark.asyncio
async def test_a_first_turn_asks_nobody() -> None:
    store = Memory(s=ONE)
    assert await Sessions(store).standing(CALLER, "s", chat("hi"), named=False) is None
    assert store.asked == 0


@pytest.mark.asyncio
async def test_the_last_standing_is_remembered_and_else_asked_for() -> None:
    store = Memory(s=ONE)
    sessions = Sessions(store)
    assert await sessions.standing(CALLER, "s", chat("hi", "and?"), named=False) == ONE
    sessions.remember(CALLER, TWO, session="s", tool_calls=())
    assert await sessions.standing(CALLER, "s", chat("hi", "and?"), named=False) == TWO
    assert store.asked == 1


@pytest.mark.asyncio
async def test_what_another_process_answered_since_is_asked_for() -> None:
    later = Standing("n/instant", "dec-9", 2)
    sessions = Sessions(Memory(s=later))
    sessions.remember(CALLER, ONE, session="s", tool_calls=())
    assert await sessions.standing(CALLER, "s", chat("one", "two", "three"), named=False) == later


@pytest.mark.asyncio
async def test_tool_results_find_their_issuer_here_or_in_the_store() -> None:
    sessions = Sessions(Memory(**dict.fromkeys(tool_call_keys(CALLER, "s", ["call_2"]), TWO)))
    sessions.remember(CALLER, ONE, session="s", tool_calls=["call_1"])
    assert await sessions.issuer(CALLER, "s", chat("q", results=["call_1"])) == ONE
    assert await sessions.issuer(CALLER, "s", chat("q", results=["call_2"])) == TWO
    assert await sessions.issuer(CALLER, "s", chat("q", results=["call_3"])) is None


@pytest.mark.asyncio
async def test_equal_ids_of_two_conversations_are_kept_apart_and_of_two_tenants_too() -> None:
    sessions = Sessions(Memory())
    sessions.remember(CALLER, ONE, session="s1", tool_calls=["functions.search:0"])
    sessions.remember(CALLER, TWO, session="s2", tool_calls=["functions.search:0"])
    result = chat("q", results=["functions.search:0"])
    assert await sessions.issuer(CALLER, "s1", result) == ONE
    assert await sessions.issuer(CALLER, "s2", result) == TWO
    assert await sessions.issuer(Caller("u", "o", "k", Tenant()), "s3", result) is None


@pytest.mark.asyncio
async def test_a_shortened_conversation_still_finds_its_tool_calls() -> None:
    store = Memory(**dict.fromkeys(tool_call_keys(CALLER, "s", ["call_1"]), ONE))
    assert await Sessions(store).issuer(CALLER, "another session", chat("q", results=["call_1"])) == ONE


def test_memory_is_bounded() -> None:
    sessions = Sessions(Memory())
    for n in range(20_000):
        sessions.remember(CALLER, ONE, session=str(n), tool_calls=())
    assert len(sessions._recent) <= 8192
    assert ("o", "19999") in sessions._recent
