"""What a policy is configured with, whoever reads the configuration."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

Condition = float | int | bool | str


class RuleSettings(Protocol):
    """One rule: all conditions of ``when`` must hold; ``prefer`` lists arm patterns; ``because`` tells people why."""

    @property
    def when(self) -> Mapping[str, Condition]: ...
    @property
    def prefer(self) -> Sequence[str]: ...
    @property
    def because(self) -> str: ...


class PolicySettings(Protocol):
    """The configuration's ``policy`` section."""

    @property
    def name(self) -> str: ...
    @property
    def arm(self) -> str | None: ...
    @property
    def artifact(self) -> str | None: ...
    @property
    def rules(self) -> Sequence[RuleSettings]: ...


@dataclass(frozen=True, slots=True)
class DeclaredRule:
    """A rule written in code."""

    when: Mapping[str, Condition]
    prefer: Sequence[str]
    because: str = ""


@dataclass(frozen=True, slots=True)
class DeclaredPolicy:
    """Policy settings written in code, for tests and tools."""

    name: str
    arm: str | None = None
    artifact: str | None = None
    rules: Sequence[RuleSettings] = field(default=())
