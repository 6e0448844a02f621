"""Request bodies: prompts of a given length in plain words, every one different (cold) or a few repeated (warm)."""

from __future__ import annotations

import json
import random
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

NONCE = "@NONCE@"  # replaced by the load generator with seven letters, new in every request
VARIANTS = 64  # different prompts of a workload; warm ones repeat in this order
MARKER = "canned"  # a word of the upstream's answer
_TEXT = """\
the of and to in is that for it as with on by at from this which or an be are was not have more time
than other into some could them see first water been call who find long down day did get come made
may part over new sound take only little work know place year live back give most very after thing
our just name good sentence man think say great where help through much before line right too means
old any same tell boy follow came want show also around form three small set put end does another
well large must big even such because turn here why ask went men read need land different home
number integral theorem server budget contract patient velocity enzyme market energy function matrix
tenant gradient
"""


@dataclass(frozen=True)
class Workload:
    """What is asked: the fields beside the messages (model and the like), prompt length, whether each prompt is new."""

    fields: tuple[tuple[str, str], ...]
    words: int
    unique: bool
    stream: bool = False


def prompt(words: int, *, rng: random.Random, unique: bool) -> str:
    """A question of exactly `words` words. A unique one carries the nonce as its second word."""
    body = rng.choices(_TEXT.split(), k=words)
    body[0] = "Explain"
    body[1] = NONCE if unique else body[1]
    return " ".join(body) + "?"


def bodies(work: Workload, *, seed: int = 0, variants: int = VARIANTS) -> list[bytes]:
    """`variants` JSON bodies of the workload."""
    rng = random.Random(seed)
    out = []
    for _ in range(variants):
        text = prompt(work.words, rng=rng, unique=work.unique)
        body: dict[str, Any] = {**dict(work.fields), "messages": [{"role": "user", "content": text}]}
        if work.stream:
            body |= {"stream": True, "stream_options": {"include_usage": True}}
        out.append(json.dumps(body).encode())
    return out


def http_request(body: bytes, *, path: str, headers: Mapping[str, str]) -> bytes:
    """A whole HTTP/1.1 POST with this JSON body."""
    lines = [
        f"POST {path} HTTP/1.1",
        "host: 127.0.0.1",
        "content-type: application/json",
        f"content-length: {len(body)}",
    ]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def write_requests(requests: Iterable[bytes], path: Path) -> None:
    """The load generator's input: length-prefixed requests."""
    path.write_bytes(b"".join(struct.pack("<I", len(r)) + r for r in requests))
