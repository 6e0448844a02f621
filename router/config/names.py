"""What names may be: models, efforts, endpoints, stores, keys. Each check yields problems of one value."""

import ipaddress
import re
from collections.abc import Iterator
from urllib.parse import SplitResult, urlsplit

from policies.arms import EFFORTS, MODES
from router.config.problems import Path, Problem, did_you_mean, listed
from router.upstreams.fake_script import read_script

_RESERVED = re.compile(r"auto(:.*)?|router-.*")
_MODEL_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@-]*")
_HMAC = re.compile(r"hmac:[0-9a-f]{64}")
_STORES = ("redis", "rediss", "unix")


def model_name(path: Path, name: str) -> Iterator[Problem]:
    if _RESERVED.fullmatch(name):
        yield Problem(path, "auto, auto:… and router-… are virtual model names; register the model under another name")
    elif not _MODEL_NAME.fullmatch(name):
        yield Problem(path, "a model name begins with a letter or digit and holds only letters, digits and . _ : / @ -")
    elif any(part.partition(":")[0] in MODES for part in name.split("/")[1:]):
        yield Problem(path, f"reads like an arm (…/{listed(MODES)}); register the model under another name")


def effort(path: Path, text: str) -> Iterator[Problem]:
    if text not in EFFORTS and not text.isdecimal():
        yield Problem(
            path, f"expected {listed(EFFORTS)} or a token budget in digits, got {text!r}{did_you_mean(text, EFFORTS)}"
        )


def base_url(path: Path, url: str) -> Iterator[Problem]:
    """An endpoint's address: http(s), a host, nothing else. Messages do not repeat it: it may hold a key."""
    parts = _split(url)
    if parts is None or parts.scheme not in ("http", "https") or not parts.hostname or re.search(r"\s", url):
        yield Problem(path, "expected an address such as https://api.openai.com/v1 or http://127.0.0.1:8000/v1")
        return
    if parts.username is not None or parts.password is not None:
        yield Problem(path, "holds credentials, which would be logged; move them to api_key or headers")
    if parts.query or parts.fragment:
        yield Problem(path, "holds a query or fragment; write only scheme, host, port and path")
    if parts.path.rstrip("/").endswith("/chat/completions"):
        yield Problem(path, "ends in /chat/completions, which is added to it; write the address up to /v1")


def script_url(path: Path, url: str) -> Iterator[Problem]:
    """A script of `upstream: fake`; it is read, so that a mistake in it is found before a worker meets it."""
    try:
        read_script(url)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        yield Problem(path, f"expected a script as file:///folder/script.json (absolute): {why}")


def store_url(url: str) -> Iterator[Problem]:
    parts = _split(url)
    if url != "embedded" and (parts is None or parts.scheme not in _STORES or not (parts.hostname or parts.path)):
        yield Problem(("store", "url"), "expected embedded, redis://host:6379/0, rediss://… or unix:///path/to/socket")


def _split(url: str) -> SplitResult | None:
    try:
        parts = urlsplit(url)
        _ = parts.port  # raises for a port that is none
    except ValueError:
        return None
    return parts


def tenant_key(path: Path, key: str) -> Iterator[Problem]:
    if key.startswith("hmac:"):
        if not _HMAC.fullmatch(key):
            yield Problem(path, "expected hmac: followed by 64 lower-case hex digits")
    elif not key or not key.isascii() or not key.isprintable() or " " in key:
        yield Problem(path, "a key is printable ASCII without spaces, since it travels in a header")


def header(path: Path, name: str, value: str) -> Iterator[Problem]:
    if not re.fullmatch(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", name):
        yield Problem(path, "is no HTTP header name")
    if name.lower() in ("authorization", "content-type", "content-length", "host", "transfer-encoding", "connection"):
        yield Problem(path, "is set by the gateway itself; a key belongs in api_key")
    if re.search(r"[\r\n\0]", value):
        yield Problem(path, "holds a line break; header values are one line")


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a server bound to ``host``."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
