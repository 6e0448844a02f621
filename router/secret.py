"""The secret behind every HMAC: from the environment, or a file only its owner can read."""

import contextlib
import hmac
import os
import secrets
import stat
from collections.abc import Mapping
from pathlib import Path

VARIABLE = "GEARSHIFT_KEY_SECRET"
SECRET_FILE = "key-secret"  # below the data directory
_LEAST_BYTES = 16


class SecretUnusable(Exception):
    """The key secret is too short, or others can read its file."""


def key_secret(directory: Path, env: Mapping[str, str]) -> bytes:
    """``GEARSHIFT_KEY_SECRET``, else the 0600 file in the data directory, made at the first start.

    Raises:
        SecretUnusable: It is shorter than 16 bytes, or the file is open to others.
    """
    given = env.get(VARIABLE, "")
    if given:
        if len(given) < _LEAST_BYTES:
            raise SecretUnusable(f"{VARIABLE} is shorter than {_LEAST_BYTES} characters; use a random one")
        return given.encode()
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = directory / SECRET_FILE
    if not path.exists():
        _make(path)
    return _read(path)


def secret_id(secret: bytes) -> str:
    """16 hex digits that tell two secrets apart and give none away."""
    return hmac.digest(secret, b"gearshift key secret", "sha256").hex()[:16]


def _make(path: Path) -> None:
    """Appears whole or not at all: a crash leaves no empty secret, and of two starts at once the first one's stays."""
    fresh = path.with_name(f"{SECRET_FILE}.{secrets.token_hex(4)}")
    try:
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secrets.token_hex(32))
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):
            os.link(fresh, path)
    finally:
        fresh.unlink(missing_ok=True)


def _read(path: Path) -> bytes:
    if stat.S_IMODE(path.stat().st_mode) & 0o077:
        raise SecretUnusable(f"{path} can be read by others; run: chmod 600 {path}")
    secret = path.read_bytes().strip()
    if len(secret) < _LEAST_BYTES:
        raise SecretUnusable(f"{path} is shorter than {_LEAST_BYTES} bytes; delete it to have a new one made")
    return secret
