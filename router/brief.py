"""What the supervisor tells a worker: one JSON line on its standard input at the start, one more for any news."""

from dataclasses import dataclass
from pathlib import Path

import orjson

from router.config.schema import Config


@dataclass(frozen=True, slots=True)
class Brief:
    """All a worker needs. It travels through a pipe, never through arguments or the environment: it holds keys.

    Attributes:
        name: The worker's own, never used before: with the store it makes the owner of its leases.
        socket_fd: The listening socket, inherited.
        metrics_dir: Where all workers keep their series.
        fallen: Names of processes that ended in this one's place; their open requests are this one's to close.
        local_problem: Why the local model's process does not run; empty while it loads or answers.
    """

    name: str
    config: Config
    config_hash: str
    secret: bytes
    socket_fd: int
    metrics_dir: Path
    version: str
    fallen: tuple[str, ...] = ()
    local_problem: str = ""

    def dump(self) -> bytes:
        """One line."""
        return (
            orjson.dumps(
                {
                    "name": self.name,
                    "config": self.config.model_dump(mode="json"),
                    "config_hash": self.config_hash,
                    "secret": self.secret.hex(),
                    "socket_fd": self.socket_fd,
                    "metrics_dir": str(self.metrics_dir),
                    "version": self.version,
                    "fallen": self.fallen,
                    "local_problem": self.local_problem,
                }
            )
            + b"\n"
        )

    @classmethod
    def load(cls, line: bytes) -> "Brief":
        """Read what `dump` wrote."""
        told = orjson.loads(line)
        return cls(
            name=told["name"],
            config=Config.model_validate(told["config"]),
            config_hash=told["config_hash"],
            secret=bytes.fromhex(told["secret"]),
            socket_fd=told["socket_fd"],
            metrics_dir=Path(told["metrics_dir"]),
            version=told["version"],
            fallen=tuple(told["fallen"]),
            local_problem=told["local_problem"],
        )


def local_news(problem: str) -> bytes:
    """A line that tells a serving worker only how the local model's process is; see `Brief.local_problem`."""
    return orjson.dumps({"local_news": problem}) + b"\n"


def read_local_news(line: bytes) -> str | None:
    """What `local_news` wrote; None for any other line."""
    news: str | None = orjson.loads(line).get("local_news")
    return news
