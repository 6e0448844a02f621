"""A real Valkey for every test that needs a store: one server for the session, emptied before each test."""

import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from router.store.embedded import EmbeddedValkey

# Tests are imported by path (importmode=importlib), so the folder of their shared module `rig` is named here.
sys.path.insert(0, str(Path(__file__).parent))


def command(path: Path, text: str) -> bytes:
    """One inline command to a server on a unix socket."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(path))
        connection.sendall(text.encode() + b"\r\n")
        return connection.recv(65536)


@pytest.fixture(scope="session")
def valkey_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedValkey]:
    """An embedded store for the whole session."""
    with EmbeddedValkey(tmp_path_factory.mktemp("valkey")) as server:
        yield server


@pytest.fixture
def valkey_url(valkey_server: EmbeddedValkey) -> str:
    """URL of an empty store without our functions."""
    assert command(valkey_server.socket, "FLUSHALL") == b"+OK\r\n"
    assert command(valkey_server.socket, "FUNCTION FLUSH") == b"+OK\r\n"
    return valkey_server.url
