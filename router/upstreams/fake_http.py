"""HTTP/1.1 as the scripted upstream reads and writes it, by hand: a fault must be able to break every byte of it."""

from collections.abc import Callable

from router.upstreams.fake_plan import Plan

REASONS = {200: b"OK", 204: b"No Content"}


def take_request(buffer: bytearray) -> tuple[str, str, dict[str, str], bytes] | None:
    end = buffer.find(b"\r\n\r\n")
    if end < 0:
        return None
    lines = bytes(buffer[:end]).decode("latin-1").split("\r\n")
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
    size = int(headers.get("content-length") or 0)
    if len(buffer) < end + 4 + size:
        return None
    raw = bytes(buffer[end + 4 : end + 4 + size])
    del buffer[: end + 4 + size]
    method, path, *_ = lines[0].split(" ")
    return method, path.partition("?")[0], headers, raw


def head_of(plan: Plan) -> bytes:
    """Status line and headers."""
    lines = [b"HTTP/1.1 %d %s" % (plan.status, REASONS.get(plan.status, b"Scripted"))]
    lines += [f"{name}: {value}".encode() for name, value in plan.headers.items()]
    if plan.length is None:
        lines.append(b"transfer-encoding: chunked")
    elif plan.length >= 0 and plan.status != 204:
        lines.append(b"content-length: %d" % plan.length)
    return b"\r\n".join(lines) + b"\r\n\r\n"


def framing(plan: Plan) -> Callable[[bytes], bytes]:
    return (lambda raw: b"%x\r\n%s\r\n" % (len(raw), raw)) if plan.length is None else (lambda raw: raw)


def last_bytes(plan: Plan) -> bytes:
    return b"0\r\n\r\n" if plan.length is None else b""
