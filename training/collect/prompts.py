"""The prompts file: one JSON object a line, each a task with what it takes to grade an answer to it."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from policies.checks.base import CheckError, Grade, Options, Reference
from policies.checks.registry import load_check
from training.collect.errors import CollectError

JUDGE = "judge"
FIELDS = ("id", "prompt", "messages", "reference", "check", "check_options", "domain")
Messages = list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Task:
    """A prompt and how answers to it are graded.

    Attributes:
        prompt: Text of the last user message: what a router would see.
        grade: The prepared check; None where a judge arm grades.
        fingerprint: Hash of everything that decides an answer's score; a resumed run must find it unchanged.
    """

    query_id: str
    prompt: str
    messages: Messages
    domain: str
    check: str
    reference: Reference
    options: Options
    grade: Grade | None
    fingerprint: str


def load_tasks(file: Path, *, check: str | None, judge: str | None, conditions: Mapping[str, object]) -> list[Task]:
    """Read the prompts, and prepare every check before anything is asked.

    Args:
        check: For lines without a ``check`` of their own.
        judge: The judge arm, if there is one.
        conditions: What else decides an answer (output bound, temperature …); it goes into the fingerprints.

    Raises:
        CollectError: The file cannot be read, or a line cannot be used; the message names line and field.
    """
    try:
        lines = file.read_bytes().splitlines()
    except OSError as problem:
        raise CollectError(f"{file}: cannot be read: {problem.strerror}") from problem
    tasks: dict[str, Task] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        where = f"{file}: line {number}"
        task = task_of(_object(line, where=where), check=check, judge=judge, conditions=conditions, where=where)
        if task.query_id in tasks:
            raise CollectError(f"{where}: field id: {task.query_id!r} stands in an earlier line too; ids must differ")
        tasks[task.query_id] = task
    if not tasks:
        raise CollectError(f"{file}: holds no prompts; write one JSON object a line, see docs/collect.md")
    return list(tasks.values())


def _object(line: bytes, *, where: str) -> dict[str, Any]:
    try:
        value = orjson.loads(line)
    except orjson.JSONDecodeError as problem:
        raise CollectError(f"{where}: is no JSON: {problem}") from problem
    if not isinstance(value, dict):
        raise CollectError(f"{where}: expected a JSON object")
    unknown = sorted(set(value) - set(FIELDS))
    if unknown:
        raise CollectError(f"{where}: unknown field {unknown[0]!r}; it may hold {', '.join(FIELDS)}")
    return value


def task_of(
    line: dict[str, Any], *, check: str | None, judge: str | None, conditions: Mapping[str, object], where: str
) -> Task:
    """One line as a task; ``where`` begins every message.

    Raises:
        CollectError: A field cannot be used.
    """
    messages = _messages(line, where=where)
    name = _text(line, "check", where=where) or check
    if not name:
        raise CollectError(f"{where}: field check: is missing; write one, or give --check for all")
    reference, options = _reference(line, where=where), line.get("check_options") or {}
    if not isinstance(options, dict):
        raise CollectError(f"{where}: field check_options: expected an object")
    grade = _grade(name, reference, options, judge=judge, where=where)
    decides = [messages, name, reference, options, judge if name == JUDGE else None, dict(conditions)]
    raw = orjson.dumps(decides, option=orjson.OPT_SORT_KEYS)
    query_id = line.get("id")
    return Task(
        query_id="q-" + hashlib.sha256(orjson.dumps(messages)).hexdigest()[:20] if query_id is None else str(query_id),
        prompt=_last_user_text(messages),
        messages=messages,
        domain=_text(line, "domain", where=where),
        check=name,
        reference=reference,
        options=options,
        grade=grade,
        fingerprint=hashlib.sha256(raw).hexdigest()[:16],
    )


def _messages(line: dict[str, Any], *, where: str) -> Messages:
    prompt, messages = line.get("prompt"), line.get("messages")
    if (prompt is None) == (messages is None):
        raise CollectError(f"{where}: write either prompt or messages")
    if prompt is not None:
        return [{"role": "user", "content": _text(line, "prompt", where=where)}]
    fine = isinstance(messages, list) and all(isinstance(each, dict) and "role" in each for each in messages)
    if not fine or not any(each["role"] == "user" for each in messages or ()):
        raise CollectError(f"{where}: field messages: expected a list of chat messages, one of them the user's")
    return list(messages or ())


def _text(line: dict[str, Any], name: str, *, where: str) -> str:
    value = line.get(name)
    if value is not None and (not isinstance(value, str) or not value.strip()):
        raise CollectError(f"{where}: field {name}: expected a text that is not empty")
    return value or ""


def _reference(line: dict[str, Any], *, where: str) -> Reference:
    value = line.get("reference")
    if isinstance(value, bool) or not isinstance(value, str | int | float | list | None):
        raise CollectError(f"{where}: field reference: expected a text, a number or a list of texts")
    if isinstance(value, list):
        return tuple(str(each) for each in value)
    return None if value is None else str(value)


def _grade(name: str, reference: Reference, options: Options, *, judge: str | None, where: str) -> Grade | None:
    if name == JUDGE:
        if judge is None:
            raise CollectError(f"{where}: check judge needs an arm that judges; give --judge ARM")
        if set(options) - {"rubric"} or not isinstance(options.get("rubric", ""), str):
            raise CollectError(f"{where}: field check_options: a judge takes a rubric, a text, and nothing else")
        return None
    try:
        return load_check(name).prepare(reference, options)
    except CheckError as problem:
        raise CollectError(f"{where}: {problem}") from problem


def _last_user_text(messages: Messages) -> str:
    content = [each for each in messages if each["role"] == "user"][-1].get("content")
    if isinstance(content, list):
        return " ".join(str(part.get("text", "")) for part in content if isinstance(part, dict)).strip()
    return str(content or "")
