"""What a model generated, counted as it goes by: the only measure of a bill when the upstream never sends usage."""

from typing import Any

_TEXTS = frozenset(("content", "refusal", "reasoning_content", "reasoning"))
BYTES_PER_TOKEN = 4  # of UTF-8; about right for English, a little high for code and for three-byte scripts


class Generated:
    """Counts over the deltas of a stream or the messages of an answer.

    Attributes:
        n_bytes: UTF-8 bytes of text, reasoning, refusals and tool-call arguments.
        n_pieces: Deltas that carried any of it; about one token each where the upstream streams token by token.
        tool_call_ids: In order, without repeats.
    """

    __slots__ = ("n_bytes", "n_pieces", "tool_call_ids")

    def __init__(self) -> None:
        self.n_bytes = self.n_pieces = 0
        self.tool_call_ids: list[str] = []

    @property
    def token_estimate(self) -> int:
        """Tokens generated so far, rounded up: one per piece or per four bytes, whichever is more."""
        return max(self.n_pieces, -(-self.n_bytes // BYTES_PER_TOKEN))

    def add(self, message: dict[str, Any]) -> None:
        """Count a delta or a message; members of unknown kinds are not looked at."""
        n_bytes = 0
        for name, value in message.items():
            if type(value) is str:
                if value and name in _TEXTS and not (name == "reasoning" and "reasoning_content" in message):
                    n_bytes += len(value) if value.isascii() else len(value.encode())
            elif name == "tool_calls" and type(value) is list:
                n_bytes += sum(map(self._add_call, value))
        if n_bytes:
            self.n_bytes += n_bytes
            self.n_pieces += 1

    def _add_call(self, call: Any) -> int:
        """Bytes of one tool call, or of one piece of it."""
        if type(call) is not dict:
            return 0
        call_id, function = call.get("id"), call.get("function")
        if type(call_id) is str and call_id and call_id not in self.tool_call_ids:
            self.tool_call_ids.append(call_id)
        if type(function) is not dict:
            return 0
        return sum(
            len(text.encode()) for text in (function.get("name"), function.get("arguments")) if type(text) is str
        )
