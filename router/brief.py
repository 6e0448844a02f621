"""What the supervisor tells a worker: one JSON line on its standard input at the start, one more at each reload."""

from dataclasses import dataclass
from pathlib import Path

import orjson

from router.config.schema import Config


@dataclass(frozen=True, slots=True)
class Brief:
    """All a worker needs. It travels through a pipe, never through arguments or the environment: it holds keys.

    Attributes:
        name: The worker's name; with the store it makes the owner of its leases.
        socket_fd: The listening socket, inherited.
        metrics_dir: Where all workers keep their series.
    """

    name: str
    config: Config
    config_hash: str
    secret: bytes
    socket_fd: int
    metrics_dir: Path
    version: str

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
        )
