"""Frames between the serving process and an encoder's process: a length, JSON, and raw float32; no pickle."""

from __future__ import annotations

import json
import os
import selectors
from time import monotonic
from typing import Any

import numpy as np

from policies.encoders.base import Vectors

_LENGTH_BYTES = 4
_MAX_HEADER_BYTES = 64 << 20


class WireClosed(Exception):
    """The other side closed the pipe in the middle of a frame or before one."""


class WireTimeout(Exception):
    """The other side did not answer in time."""


def write_frame(file: int, header: dict[str, Any], vectors: Vectors | None = None) -> None:
    """Write JSON and, if given, the vectors whose shape the JSON then carries as `shape`."""
    if vectors is not None:
        header = {**header, "shape": list(vectors.shape)}
    text = json.dumps(header).encode()
    body = b"" if vectors is None else np.ascontiguousarray(vectors, "<f4").tobytes()
    rest = memoryview(len(text).to_bytes(_LENGTH_BYTES, "little") + text + body)
    while rest:
        rest = rest[os.write(file, rest) :]


def read_frame(file: int, *, within_s: float | None = None) -> tuple[dict[str, Any], Vectors | None]:
    """Read one frame; `within_s` bounds the whole of it.

    Raises:
        WireClosed: End of file.
        WireTimeout: Not complete in time.
    """
    until = None if within_s is None else monotonic() + within_s
    length = int.from_bytes(_read(file, _LENGTH_BYTES, until=until), "little")
    if length > _MAX_HEADER_BYTES:
        raise WireClosed(f"a frame of {length} bytes")
    header: dict[str, Any] = json.loads(_read(file, length, until=until))
    if "shape" not in header:
        return header, None
    rows, width = header["shape"]
    body = _read(file, rows * width * 4, until=until)
    return header, np.frombuffer(body, "<f4").reshape(rows, width).astype(np.float32)


def _read(file: int, n_bytes: int, *, until: float | None) -> bytes:
    parts = bytearray()
    with selectors.DefaultSelector() as selector:
        selector.register(file, selectors.EVENT_READ)
        while len(parts) < n_bytes:
            if not selector.select(None if until is None else max(0.0, until - monotonic())):
                raise WireTimeout
            part = os.read(file, n_bytes - len(parts))
            if not part:
                raise WireClosed
            parts += part
    return bytes(parts)
