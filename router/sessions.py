"""Sessions: which conversation a request belongs to, and on which arm that conversation stands."""

import hmac
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import orjson

from router.http.parse import ChatRequest
from router.tenants import Caller

_REMEMBERED = 8192


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a session stands after its last answer: what is kept in the store for it and for its tool calls."""

    arm: str
    decision_id: str
    turn: int

    def dump(self) -> bytes:
        return orjson.dumps([self.arm, self.decision_id, self.turn])

    @classmethod
    def load(cls, raw: bytes | None) -> "Standing | None":
        return None if raw is None else cls(*orjson.loads(raw))


def session_key(caller: Caller, chat: ChatRequest, headers: Mapping[bytes, bytes], secret: bytes) -> str:
    """`x-gearshift-session-id`, else the session hint, else `prompt_cache_key`, else HMAC(system + first user message).

    Always an HMAC bound to the tenant, so that the log holds neither text nor a client's own identifier.
    """
    named = headers.get(b"x-gearshift-session-id", b"").decode("latin-1") or chat.hints.session or chat.prompt_cache_key
    material = f"id\0{named}" if named else f"text\0{chat.system_text}\0{chat.first_user_text}"
    text = f"{caller.organisation}\0{caller.tenant}\0{material}"
    return hmac.digest(secret, text.encode("utf-8", "surrogatepass"), "sha256").hex()[:32]


def tool_call_keys(caller: Caller, session: str, call_ids: Sequence[str]) -> tuple[str, ...]:
    """Under which keys the issuer of tool calls is kept: first within the session, then within the tenant.

    Ids are the upstream's, and some are alike in every conversation (``functions.search:0``); others are unique, and
    find their arm also when a client has shortened the conversation so that its session looks like another.
    """
    tenant = f"{len(caller.tenant)}:{caller.tenant}"
    return (*(f"{session}:{call_id}" for call_id in call_ids), *(f"{tenant}:{call_id}" for call_id in call_ids))


class SessionStore(Protocol):
    """The part of the store that sessions ask; see `router.store.base.Store`."""

    async def session(self, organisation: str, session: str) -> bytes | None: ...
    async def tool_call_owner(self, organisation: str, tool_call_ids: Sequence[str]) -> bytes | None: ...


class Sessions:
    """Standing of sessions and tool calls: this process's memory first, the store when another one may know more."""

    def __init__(self, store: SessionStore) -> None:
        self._store = store
        self._recent: OrderedDict[tuple[str, str], Standing] = OrderedDict()

    async def standing(self, caller: Caller, session: str, chat: ChatRequest, *, named: bool) -> Standing | None:
        """Last standing of the session; a first turn of an unnamed session has none, so nothing is asked for it."""
        if chat.turn <= 1 and not named and not chat.is_tool_result:
            return None
        known = self._recent.get((caller.organisation, session))
        if known is not None and known.turn >= chat.turn - 1:  # else another process has answered since
            return known
        return Standing.load(await self._store.session(caller.organisation, session)) or known

    async def issuer(self, caller: Caller, session: str, chat: ChatRequest) -> Standing | None:
        """Standing of the answer that issued the tool calls whose results this request brings, or None if unknown."""
        keys = tool_call_keys(caller, session, chat.tool_call_ids)
        for key in keys[: len(chat.tool_call_ids)]:
            known = self._recent.get((caller.organisation, key))
            if known is not None:
                return known
        return Standing.load(await self._store.tool_call_owner(caller.organisation, keys)) if keys else None

    def remember(self, caller: Caller, standing: Standing, *, session: str, tool_calls: Sequence[str]) -> None:
        """Keep what the store is being told, for requests that follow to this process."""
        for key in (session, *tool_call_keys(caller, session, tool_calls)):
            self._recent[caller.organisation, key] = standing
            self._recent.move_to_end((caller.organisation, key))
        while len(self._recent) > _REMEMBERED:
            self._recent.popitem(last=False)
