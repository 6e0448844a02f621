"""Where a store is: redis-py's URL forms, read without importing redis-py (25 MB and 0.3 s in every worker)."""

import ssl
from dataclasses import dataclass, field
from urllib.parse import parse_qs, unquote, urlparse

SCHEMES = "redis://, rediss:// or unix://"


@dataclass(frozen=True, slots=True)
class Address:
    """A parsed store URL; `path` is set for unix sockets, `host` and `port` otherwise."""

    path: str | None
    host: str
    port: int
    username: str | None
    password: str | None = field(repr=False)
    db: int
    tls: bool
    ca_file: str | None
    verify: bool

    def hello(self) -> list[tuple[str, ...]]:
        """The commands a fresh connection begins with."""
        commands: list[tuple[str, ...]] = []
        if self.password is not None:
            commands.append(("AUTH", *([self.username] if self.username else []), self.password))
        if self.db:
            commands.append(("SELECT", str(self.db)))
        return commands

    def tls_context(self) -> ssl.SSLContext | None:
        if not self.tls:
            return None
        context = ssl.create_default_context(cafile=self.ca_file)
        if not self.verify:
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        return context


def parse_address(url: str) -> Address:
    """Read ``unix://[user:password@]/path?db=0``, ``redis[s]://[user:password@]host[:port][/db]``.

    Raises:
        ValueError: The URL has another scheme or a database that is no number; the message holds no password.
    """
    parsed, query = urlparse(url), {name: values[-1] for name, values in parse_qs(urlparse(url).query).items()}
    if parsed.scheme not in ("redis", "rediss", "unix"):
        raise ValueError(f"store.url: expected embedded, {SCHEMES}, got scheme {parsed.scheme!r}")
    is_unix = parsed.scheme == "unix"
    db = query.get("db") or ("" if is_unix else parsed.path.strip("/")) or "0"
    if not db.isdecimal():
        raise ValueError(f"store.url: the database must be a number, got {db!r}")
    return Address(
        path=unquote(parsed.path) if is_unix else None,
        host=unquote(parsed.hostname or "localhost"),
        port=parsed.port or 6379,
        username=unquote(parsed.username) if parsed.username else None,
        password=unquote(parsed.password) if parsed.password else query.get("password"),
        db=int(db),
        tls=parsed.scheme == "rediss",
        ca_file=query.get("ssl_ca_certs"),
        verify=query.get("ssl_cert_reqs", "required") != "none",
    )
