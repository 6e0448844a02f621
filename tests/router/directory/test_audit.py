"""The chain of the audit log: whatever is done to it shows, and at which entry."""

import hashlib

import orjson
import pytest

from router.directory.audit import AuditBroken, Change, sealed, verify, verify_end

SECRET = b"the tests' secret"


def chain(n: int, *, secret: bytes = SECRET) -> tuple[list[bytes], str]:
    lines, head = list[bytes](), ""
    for number in range(n):
        change = Change("cli:ann@host", "tenant.set", f"t{number}", before=None, after={"explore": 0.1 * number})
        line, head = sealed(change, head=head, at=1.5e9 + number, document=b"document %d" % number, secret=secret)
        lines.append(line)
    return lines, head


def test_a_whole_chain_is_whole_and_its_lines_are_json() -> None:
    lines, head = chain(4)
    assert verify(lines, secret=SECRET) == head
    verify_end(lines, secret=SECRET, head=head, document=b"document 3")
    told = orjson.loads(lines[1])
    assert (told["n"], told["by"], told["action"], told["target"]) == (2, "cli:ann@host", "tenant.set", "t1")
    assert told["at"] == "2017-07-14T02:40:01.000+00:00"
    assert told["previous"] == orjson.loads(lines[0])["hash"]
    assert told["document"] == hashlib.sha256(b"document 1").hexdigest()


def test_no_entry_is_whole_too() -> None:
    assert verify([], secret=SECRET) == ""
    verify_end([], secret=SECRET, head="", document=b"")


@pytest.mark.parametrize("number", [1, 2, 3])
def test_every_flipped_byte_is_found_in_its_entry(number: int) -> None:
    lines, _ = chain(3)
    whole = lines[number - 1]
    for place in range(len(whole)):
        lines[number - 1] = whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :]
        with pytest.raises(AuditBroken, match=f"^entry {number} was changed"):
            verify(lines, secret=SECRET)


@pytest.mark.parametrize(
    ("order", "message"),
    [
        ([0, 2, 3], "entry 2 is missing: entry 3 stands in its place"),
        ([1, 2, 3], "entry 1 is missing: entry 2 stands in its place"),
        ([0, 2, 1, 3], "entry 2 is missing: entry 3 stands in its place"),
        ([0, 1, 1, 2, 3], "entry 2 stands a second time, in place of entry 3"),
        ([0, 1, 2], "ends with entry 3, but the last one written was entry 4"),
        ([], "ends with entry 0, but the last one written was entry 4"),
    ],
)
def test_what_is_removed_repeated_or_moved_is_named(order: list[int], message: str) -> None:
    lines, head = chain(4)
    with pytest.raises(AuditBroken, match=message):
        verify_end([lines[place] for place in order], secret=SECRET, head=head, document=b"document 3")


def test_an_entry_of_another_chain_is_found_under_the_same_secret() -> None:
    lines, _ = chain(3)
    first, head = sealed(Change("x", "y", "z"), head="", at=0.0, document=b"", secret=SECRET)
    second, _ = sealed(Change("x", "y", "z"), head=head, at=0.0, document=b"", secret=SECRET)
    with pytest.raises(AuditBroken, match="entry 2 does not follow from the entry 1"):
        verify([lines[0], second, lines[2]], secret=SECRET)
    assert verify([first, second], secret=SECRET) != ""


def test_who_does_not_know_the_secret_cannot_mend_the_chain() -> None:
    lines, head = chain(3, secret=b"a guess")
    with pytest.raises(AuditBroken, match=r"entry 1 was changed .* or it was written under another key secret"):
        verify_end(lines, secret=SECRET, head=head, document=b"document 2")


@pytest.mark.parametrize("head", ["nonsense", "3 0000", "9223372036854775808 x", " "])
def test_a_note_of_the_end_that_does_not_fit_is_told(head: str) -> None:
    lines, _ = chain(3)
    with pytest.raises(AuditBroken, match="the log ends with entry 3"):
        verify_end(lines, secret=SECRET, head=head, document=b"document 2")


def test_a_change_that_went_around_the_log_is_told() -> None:
    lines, head = chain(3)
    with pytest.raises(AuditBroken, match="changed after entry 3 without an entry"):
        verify_end(lines, secret=SECRET, head=head, document=b"document 2, and a key of my own")
