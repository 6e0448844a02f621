"""Stands for kill -9 in work that tells its steps."""

from collections.abc import Callable


class Killed(Exception):
    """The process is gone."""


def killed_after(wanted: int) -> Callable[[str], None]:
    """A step function that dies at the n-th step."""
    done: list[str] = []

    def step(name: str) -> None:
        done.append(name)
        if len(done) == wanted:
            raise Killed(name)

    return step
