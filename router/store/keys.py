"""Names of everything in the store: shards, their keys and the server-side functions.

All keys of one request carry the hash tag of its organisation's shard, so that one node of a cluster holds them all.
"""

import hashlib
import zlib
from dataclasses import dataclass
from importlib import resources

SHARDS = 64
SCHEMA = 2  # of the data in the store; functions.lua migrates what is older
_PARTS = (
    "accounts",
    "ledger",
    "limits",
    "requests",
    "functions",
    "owners",
    "slices",
    "learning",
)  # of the library, in this order

SCHEMA_KEY = b"gs:{gs}:schema"
LIFTING_KEY = b"gs:{gs}:lifting"  # there while shards are to be lifted, with the schema they are of
OWNERS_KEY = b"gs:{gs}:owners"
EPOCH_KEY = b"gs:{gs}:epoch"
ARCHIVES_KEY = "gs:{gs}:archives"  # those that have rows of this store: `router.store.archives`
PROBE_KEY = b"gs:{gs}:probe"  # written to see whether anything can be
DIRECTORY_KEY = "gs:{gs}:directory"  # tenants and keys that are kept here: `router.directory.kept`
AUDIT_KEY = "gs:{gs}:audit"  # every change an administrator made: `router.directory.audit`


def shard_of(organisation: str) -> int:
    """0..63; stable across processes, versions and machines."""
    return zlib.crc32(organisation.encode()) % SHARDS


def shard_base(shard: int) -> str:
    """What every key of a shard begins with."""
    return f"gs:{{s{shard:02d}}}:"


@dataclass(frozen=True, slots=True)
class OnlineKeys:
    """Where what is learned online of one artifact lies: the learner's lease, its state, and decisions that wait."""

    lease: str
    state: str
    waiting: str


def online_keys(artifact: str) -> OnlineKeys:
    """Of an artifact's version; another artifact has its own, so that neither learns from or into the other."""
    base = f"gs:{{gs}}:online:{artifact}"
    return OnlineKeys(lease=f"{base}:lease", state=base, waiting=f"{base}:waiting")


def log_key(shard: int) -> str:
    """The shard's log stream."""
    return shard_base(shard) + "log"


@dataclass(frozen=True, slots=True)
class Scope:
    """One organisation's part of its shard. The length makes `scope` + id unambiguous whatever the names hold."""

    base: str
    log: str
    scope: str

    def request(self, request_id: str) -> str:
        return f"{self.base}req:{self.scope}{request_id}"

    @property
    def now(self) -> str:
        """The packed records of the organisation's accounts: `router.store.accounts`."""
        return f"{self.base}now:{self.scope}"

    @property
    def shares(self) -> str:
        """By account its requests of late by mode, as `limits.lua` counts them."""
        return f"{self.base}shares:{self.scope}"

    def account(self, account: str) -> str:
        """The sums of those of an account's windows that are not packed."""
        return f"{self.base}bud:{self.scope}{account}"

    def notes(self, account: str, per: str, label: str) -> str:
        """What workers note beside the sums of one of its windows: traffic, pace, who was told."""
        return f"{self.base}win:{self.scope}{account}:{per}:{label}"

    def session(self, session: str) -> str:
        return f"{self.base}ses:{self.scope}{session}"

    def tool_call(self, tool_call_id: str) -> str:
        return f"{self.base}tool:{self.scope}{tool_call_id}"


def scope_of(organisation: str) -> Scope:
    """Where an organisation's keys lie."""
    base = shard_base(shard_of(organisation))
    return Scope(base=base, log=base + "log", scope=f"{len(organisation)}:{organisation}:")


def organisation_in(scope: str) -> str:
    """The inverse of `scope_of(…).scope`."""
    return scope.split(":", 1)[1][:-1]


@dataclass(frozen=True, slots=True)
class Functions:
    """The function library: its text and the names of its functions, all with the version in them."""

    library: str
    text: str

    def name(self, function: str) -> str:
        return f"{self.library}_{function}"


def load_functions() -> Functions:
    """The library as shipped. Its name ends in a hash of its text, so gateways of two versions never share one."""
    folder = resources.files("router.store")
    parts = {name: folder.joinpath(f"{name}.lua").read_text(encoding="utf-8") for name in _PARTS}
    first, parts["functions"] = parts["functions"].split("\n", 1)  # the server wants the library's name at the top
    text = "\n".join((first, *parts.values()))
    library = f"gearshift_{SCHEMA}_{hashlib.sha256(text.encode()).hexdigest()[:8]}"
    return Functions(library=library, text=text.replace("@LIBRARY@", library))
