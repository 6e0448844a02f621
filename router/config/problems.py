"""Mistakes in a configuration: each with its place, and all of them in one error."""

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake: where it stands, what was expected and found, and what to do."""

    path: Path
    message: str
    line: int | None = None

    @property
    def place(self) -> str:
        """Key path, and the line if it is known: ``tenants.default.trade_off (line 12)``."""
        name = dotted(self.path) or "file"
        return name if self.line is None else f"{name} (line {self.line})"


class ConfigError(Exception):
    """The configuration cannot be used; ``str()`` lists every problem with its key path, and no secret.

    Attributes:
        source: The file's name, or what stands for it.
        problems: All that was found, in the order of the file where that is known.
    """

    def __init__(self, source: str, problems: Iterable[Problem], *, lines: Mapping[Path, int] | None = None) -> None:
        placed = [replace(item, line=line_of(item.path, lines or {})) for item in dict.fromkeys(problems)]
        self.source, self.problems = source, tuple(sorted(placed, key=lambda item: item.line or 0))
        count = f"{len(self.problems)} problem" + ("" if len(self.problems) == 1 else "s")
        rows = [f"  {item.place}: {item.message}" for item in self.problems]
        super().__init__("\n".join([f"{source}: {count}", *rows]))


def line_of(path: Path, lines: Mapping[Path, int]) -> int | None:
    """Line of the path or of the nearest thing around it that stands in the file."""
    while path:
        if path in lines:
            return lines[path]
        path = path[:-1]
    return None


def dotted(path: Path) -> str:
    """``("models", "m", "deployments", 0)`` -> ``models.m.deployments[0]``."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def listed(names: Iterable[str]) -> str:
    return ", ".join(names) or "none"


def did_you_mean(word: object, known: Iterable[str]) -> str:
    """`` (did you mean 'cheap'?)`` when one known word is near, else nothing."""
    near = difflib.get_close_matches(str(word), list(known), n=1, cutoff=0.6)
    return f" (did you mean {near[0]!r}?)" if near else ""
