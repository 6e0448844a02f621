"""One walk over a conversation: its shape is checked and everything routing wants to know about it is collected."""

from dataclasses import dataclass, field
from typing import Any, NoReturn

from router.errors import BadRequest
from router.http.body import json_kind

_SYSTEM = frozenset(("system", "developer"))
_IMAGE = frozenset(("image_url", "input_image", "image"))


@dataclass(slots=True)
class Reading:
    """What one walk collected; texts are the text parts of a message, joined by line ends."""

    system: list[str] = field(default_factory=list)  # before the first user message
    user: list[str] = field(default_factory=list)
    every: list[str] = field(default_factory=list)
    n_images: int = 0
    tool_results: list[str] = field(default_factory=list)  # ids, of the last messages only
    is_tool_result: bool = False


def refuse(param: str, expected: str, value: object) -> NoReturn:
    """Raise BadRequest naming the member, what belongs there, and the kind (never the text) of what was there."""
    raise BadRequest(f"{param}: expected {expected}, got {json_kind(value)}", param=param)


def read_messages(messages: Any, *, at_most: int) -> Reading:
    """Check and collect `messages`.

    Raises:
        BadRequest: Not a list, empty, too long, or a message whose role, content or tool calls have the wrong type.
    """
    if type(messages) is not list:
        refuse("messages", "a list of messages", messages)
    if not messages:
        raise BadRequest("messages: the list is empty; send at least one message", param="messages")
    if len(messages) > at_most:
        raise BadRequest(
            f"messages: {len(messages)} messages are more than the {at_most} allowed; drop old ones", param="messages"
        )
    reading = Reading()
    for index, message in enumerate(messages):
        _read_message(reading, message, index)
    return reading


def _read_message(reading: Reading, message: Any, index: int) -> None:
    if type(message) is not dict:
        refuse(f"messages[{index}]", "an object with role and content", message)
    role = message.get("role")
    if type(role) is not str or not role:
        refuse(f"messages[{index}].role", "a role such as user, system, assistant or tool", role)
    content = message.get("content")
    if type(content) is str:
        text = content
    elif content is None:
        text = ""
    else:
        text = _read_parts(reading, content, index)
    if text:
        reading.every.append(text)
    if message.get("tool_calls") is not None:
        _read_tool_calls(reading, message["tool_calls"], index)
    _file_by_role(reading, message, index, role=role, text=text)


def _file_by_role(reading: Reading, message: dict[str, Any], index: int, *, role: str, text: str) -> None:
    if role == "tool":
        call_id = message.get("tool_call_id")
        if type(call_id) is not str:
            refuse(f"messages[{index}].tool_call_id", "the id of the call this answers, a string", call_id)
        reading.tool_results.append(call_id)
        reading.is_tool_result = True
        return
    if reading.is_tool_result:
        reading.is_tool_result = False
        reading.tool_results.clear()
    if role == "user":
        reading.user.append(text)
    elif role in _SYSTEM and not reading.user:
        reading.system.append(text)


def _read_parts(reading: Reading, content: Any, index: int) -> str:
    if type(content) is not list:
        refuse(f"messages[{index}].content", "a string or a list of parts", content)
    texts: list[str] = []
    for at, part in enumerate(content):
        if type(part) is not dict:
            refuse(f"messages[{index}].content[{at}]", "a part, an object with a type", part)
        kind = part.get("type")
        if type(kind) is not str:
            refuse(f"messages[{index}].content[{at}].type", "a string such as text or image_url", kind)
        if kind == "text":
            if type(part.get("text")) is not str:
                refuse(f"messages[{index}].content[{at}].text", "a string", part.get("text"))
            texts.append(part["text"])
        elif kind in _IMAGE:
            reading.n_images += 1
    return "\n".join(texts)


def _read_tool_calls(reading: Reading, calls: Any, index: int) -> None:
    if type(calls) is not list:
        refuse(f"messages[{index}].tool_calls", "a list of tool calls", calls)
    for at, call in enumerate(calls):
        param = f"messages[{index}].tool_calls[{at}]"
        if type(call) is not dict:
            refuse(param, "an object with id, type and function", call)
        function = call.get("function")
        if function is None:
            continue
        if type(function) is not dict:
            refuse(f"{param}.function", "an object with name and arguments", function)
        arguments = function.get("arguments")
        if type(arguments) is str:
            reading.every.append(arguments)
        elif arguments is not None:
            refuse(f"{param}.function.arguments", "a string of JSON", arguments)
