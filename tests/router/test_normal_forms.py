"""How much longer a tokenizer's normal form of a text is, and that the bound covers it."""

from pathlib import Path

import orjson
import pytest
from rig import World, body, tree

from router.http.normal_forms import grown_bytes


@pytest.mark.parametrize(
    ("text", "grown"),
    [
        ("", 0),
        ("plain", 0),
        ("为什么天空是蓝色的", 0),
        ("\U0001d160" * 10, 80),  # NFC: a note is three signs
        ("\ufdfa" * 10, 300),  # NFKC: a ligature is eighteen letters
        ("\uff21" * 10, 0),  # wide letters shrink in NFKC
        ("\uff21" * 100 + "\U0001d160" * 10, 80),  # and hide nothing of what grows in NFC
        ("\ud800", 0),
    ],
)
def test_what_a_normal_form_adds(text: str, grown: int) -> None:
    assert grown_bytes(text) == grown


@pytest.mark.asyncio
async def test_the_bound_holds_for_signs_that_grow(valkey_url: str, tmp_path: Path) -> None:
    plain = tree("small", tenants={"t": {"budgets": [{"per": "day", "usd": 1}]}})
    asked = {**body(max_tokens=1), "messages": [{"role": "user", "content": "\ufdfa" * 10}]}
    async with World(valkey_url, tmp_path, plain) as world:
        await world.chat(asked)
        (start,) = world.store.starts
    assert start.hold.bound == (len(orjson.dumps(asked)) + 300 + 256) * 100 + 400
