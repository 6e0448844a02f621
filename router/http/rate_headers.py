"""The `x-ratelimit-*` headers of an answer, as OpenAI writes them."""

from collections.abc import Iterator, Sequence

from router.store.limits import Allowance


def rate_headers(allowances: Sequence[Allowance]) -> list[tuple[bytes, bytes]]:
    """Of requests and of tokens each the limit that has least left; nothing where none is limited.

    Source: OpenAI API documentation, "Rate limits", rate limits in headers.
    """
    return list(_headers(allowances))


def _headers(allowances: Sequence[Allowance]) -> Iterator[tuple[bytes, bytes]]:
    requests = [(s.requests, s.requests_full_ms, s.limit.requests) for s in allowances if s.requests is not None]
    tokens = [(s.tokens, s.tokens_full_ms, s.limit.tokens) for s in allowances if s.tokens is not None]
    for kind, buckets in ((b"requests", requests), (b"tokens", tokens)):
        if buckets:
            remaining, full_ms, limit = min(buckets, key=lambda bucket: (bucket[0], -bucket[1]))
            yield b"x-ratelimit-limit-" + kind, b"%d" % (limit or 0)
            yield b"x-ratelimit-remaining-" + kind, b"%d" % remaining
            yield b"x-ratelimit-reset-" + kind, duration(full_ms).encode()


def duration(ms: int) -> str:
    """A time as Go writes it: ``0s``, ``120ms``, ``1.5s``, ``6m0s``, ``1h2m3s``."""
    if 0 < ms < 1000:
        return f"{ms}ms"
    minutes, rest_ms = divmod(ms, 60_000)
    hours, minutes = divmod(minutes, 60)
    seconds = f"{rest_ms / 1000:.3f}".rstrip("0").rstrip(".") + "s"
    if hours:
        return f"{hours}h{minutes}m{seconds}"
    return f"{minutes}m{seconds}" if minutes else seconds
