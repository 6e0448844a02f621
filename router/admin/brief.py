"""What the supervisor tells the admin API's process: one JSON line on its standard input, for it holds keys."""

from dataclasses import dataclass

import orjson

from router.config.schema import Config


@dataclass(frozen=True, slots=True)
class AdminBrief:
    """All that the process needs; `socket_fd` is the listening socket, inherited."""

    config: Config
    secret: bytes
    socket_fd: int
    version: str

    def dump(self) -> bytes:
        """One line."""
        told = {
            "config": self.config.model_dump(mode="json"),
            "secret": self.secret.hex(),
            "socket_fd": self.socket_fd,
            "version": self.version,
        }
        return orjson.dumps(told) + b"\n"

    @classmethod
    def load(cls, line: bytes) -> "AdminBrief":
        """Read what `dump` wrote."""
        told = orjson.loads(line)
        config = Config.model_validate(told["config"])
        return cls(config, bytes.fromhex(told["secret"]), told["socket_fd"], told["version"])
