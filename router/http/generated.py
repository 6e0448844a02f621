"""What a model generated, counted as it goes by: the only measure of a bill when the upstream never sends usage."""

from typing import Any

# What is no text of the model's, at any depth: names and kinds, sources, sound, pictures, thoughts that are encrypted.
_NO_TEXT = frozenset(
    ("id", "type", "role", "index", "format", "annotations", "data", "signature", "images", "image_url", "url")
)
_THOUGHTS = ("reasoning_content", "reasoning", "reasoning_details")  # the same ones, as different servers call them
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
        """Count a delta or a message: every text in it, whatever its member is called."""
        n_bytes = 0
        for name, value in message.items():
            if not value or name in _NO_TEXT:
                continue
            if name in _THOUGHTS and any(message.get(other) for other in _THOUGHTS[: _THOUGHTS.index(name)]):
                continue
            if type(value) is str:
                n_bytes += len(value) if value.isascii() else len(value.encode("utf-8", "surrogatepass"))
            elif name == "tool_calls" and type(value) is list:
                n_bytes += sum(map(self._add_call, value))
            elif type(value) in (dict, list):
                n_bytes += _bytes_within(value)
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


def _bytes_within(value: Any) -> int:
    """UTF-8 bytes of all texts in a JSON value that are the model's."""
    n_bytes, rest = 0, [value]
    while rest:
        each = rest.pop()
        if type(each) is str:
            n_bytes += len(each.encode("utf-8", "surrogatepass"))
        elif type(each) is list:
            rest += each
        elif type(each) is dict:
            rest += [held for name, held in each.items() if name not in _NO_TEXT]
    return n_bytes
