"""Server-sent events out of bytes that arrive in any pieces.

Source: WHATWG HTML, "9.2.6 Interpreting an event stream". Departure: a last event without its blank line can be asked
for (`leftover`), since some servers close early; whether it is whole is the caller's question.
"""

MAX_EVENT_BYTES = 8_388_608
_BOM = b"\xef\xbb\xbf"


class EventTooLong(Exception):
    """An event has more than MAX_EVENT_BYTES; whoever sends it has lost its framing."""


class EventBlocks:
    """Cuts a byte stream into event blocks (the lines between blank lines); the result is the same for any split."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []  # of the unfinished block
        self._size = 0
        self._ends_with_lf = False
        self._ends_with_cr = False
        self._at_start = True

    def feed(self, data: bytes) -> list[bytes]:
        """Blocks completed by ``data``, with line ends made LF; empty ones may be among them.

        Raises:
            EventTooLong: The stream can no longer be read.
        """
        if self._ends_with_cr or b"\r" in data:
            data = self._with_lf(data)
        if not data:
            return []
        if b"\n\n" not in data and not (self._ends_with_lf and data[0] == 10):
            self._keep(data)
            return []
        blocks = b"".join((*self._pieces, data)).split(b"\n\n") if self._pieces else data.split(b"\n\n")
        last = blocks.pop()
        self._pieces, self._size, self._ends_with_lf = [], 0, False
        if last:
            self._keep(last)
        if self._at_start and blocks:
            self._at_start = False
            blocks[0] = blocks[0].removeprefix(_BOM)
        if len(data) > MAX_EVENT_BYTES and max(map(len, blocks)) > MAX_EVENT_BYTES:
            raise EventTooLong
        return blocks

    def leftover(self) -> bytes:
        """The block that the end of the stream left without its blank line."""
        block = b"".join(self._pieces)
        return block.removeprefix(_BOM) if self._at_start else block

    def _keep(self, data: bytes) -> None:
        self._pieces.append(data)
        self._size += len(data)
        self._ends_with_lf = data[-1] == 10
        if self._size > MAX_EVENT_BYTES:
            raise EventTooLong

    def _with_lf(self, data: bytes) -> bytes:
        """CR and CRLF as LF. A CR at the end counts at once; a LF that follows it in the next piece is dropped."""
        if self._ends_with_cr and data[:1] == b"\n":
            data = data[1:]
            self._ends_with_cr = False
        if data:
            self._ends_with_cr = data[-1] == 13
        return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")


def event_data(block: bytes) -> bytes | None:
    """The data of an event: its `data` lines joined by line ends; None for comments and events without data."""
    lines = []
    for line in block.split(b"\n"):
        name, _, value = line.partition(b":")
        if name == b"data":
            lines.append(value[1:] if value[:1] == b" " else value)
    return b"\n".join(lines) if lines else None
