"""Right if a regular expression finds what it must in an answer.

A pattern can take exponential time on a text that a model wrote, and Python's matcher has no time limit; so it runs in
a child process with a limit on its processor time.
"""

import re
import subprocess
import sys

import orjson

from policies.checks.base import (
    MOST_CHARS,
    CheckError,
    Example,
    Grade,
    Options,
    Reference,
    Verdict,
    known_options,
    references,
    right_if,
)
from policies.checks.exact import normalised

LIMIT_CPU_S = 2  # whole seconds, the least a process limit can say above the interpreter's own start
LIMIT_WALL_S = 30.0
_FLAGS = {"i": re.IGNORECASE, "m": re.MULTILINE, "s": re.DOTALL, "x": re.VERBOSE}
_CHILD = f"""
import json, resource, sys
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
resource.setrlimit(resource.RLIMIT_CPU, ({LIMIT_CPU_S}, {LIMIT_CPU_S}))
import re
task = json.loads(sys.stdin.buffer.read())
pattern = re.compile(task["pattern"], task["flags"])
if task["whole"]:
    found = pattern.fullmatch(task["text"])
else:
    found = None
    for found in pattern.finditer(task["text"]):
        pass
said = None if found is None else found.group(1 if pattern.groups else 0) or ""
json.dump(said, sys.stdout)
"""


class Pattern:
    """The pattern must match; with a ``pattern`` option, its last match (or its first group) must be the reference.

    Without the option the reference is the pattern itself. Options: ``pattern``, ``flags`` (letters of "imsx"),
    ``match`` ("search" or "full"). The last 100,000 characters are read; a match that takes over 2 s of processor time
    gives no score.
    """

    def prepare(self, reference: Reference, options: Options) -> Grade:
        known_options(options, ("pattern", "flags", "match"), check="regex")
        given = options.get("pattern")
        if given is None:
            pattern, wanted = references(reference, check="regex")[0], None
        else:
            wanted = {normalised(text) for text in references(reference, check="regex")} if reference else None
            pattern = given if isinstance(given, str) else ""
        flags = _flags(options.get("flags", ""))
        task = {"pattern": _compiled(pattern, flags), "flags": flags, "whole": _whole(options.get("match", "search"))}

        def grade(answer: str) -> Verdict:
            try:
                said = _matched({**task, "text": answer[-MOST_CHARS:].encode("utf-8", "replace").decode()})
            except TimeoutError:
                return Verdict(None, f"the pattern took over {LIMIT_CPU_S} s of processor time")
            except OSError as problem:
                return Verdict(None, f"the matcher could not run: {type(problem).__name__}")
            if said is None:
                return Verdict(0.0, "no match")
            return right_if(wanted is None or normalised(said) in wanted, reason="matched another text")

        return grade

    def example(self) -> Example:
        return Example(right="order no. AB-1234", wrong="order no. 1234", reference=r"\b[A-Z]{2}-\d{4}\b")


def _matched(task: dict[str, object]) -> str | None:
    """The last match, None without one. Raises TimeoutError past a limit, OSError if the child failed."""
    command = [sys.executable, "-I", "-S", "-c", _CHILD]
    try:
        done = subprocess.run(command, input=orjson.dumps(task), capture_output=True, timeout=LIMIT_WALL_S, check=False)
    except subprocess.TimeoutExpired as late:
        raise TimeoutError from late
    if done.returncode < 0:  # by a signal: the kernel's for a process past its limit
        raise TimeoutError
    if done.returncode:
        raise OSError("the matcher failed")
    said: str | None = orjson.loads(done.stdout)
    return said


def _compiled(pattern: str, flags: int) -> str:
    try:
        re.compile(pattern, flags)
    except (re.error, RecursionError, OverflowError) as problem:
        raise CheckError(f"check regex: the pattern is not a regular expression: {problem}") from problem
    if not pattern:
        raise CheckError("check regex: option pattern: expected a text that is not empty")
    return pattern


def _flags(value: object) -> int:
    if not isinstance(value, str) or set(value) - set(_FLAGS):
        raise CheckError("check regex: option flags: expected letters of imsx")
    return sum(_FLAGS[letter].value for letter in set(value))


def _whole(value: object) -> bool:
    if value not in ("search", "full"):
        raise CheckError("check regex: option match: expected search or full")
    return value == "full"
