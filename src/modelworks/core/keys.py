"""API keys: who may ask, and what; told by a file with a line a key.

    # name:role:sha256:hash
    shop:predict:sha256:2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae

A key is random and long, so its plain SHA-256 gives nothing away and takes a microsecond to check;
the slow hashes that passwords need would be a cost without a gain. The file holds no key, only
hashes: who reads it can ask for nothing.
"""

import hmac
import re
import secrets
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256
from typing import Final

from modelworks.core.errors import ForbiddenError, InvalidError, UnauthenticatedError

MOST: Final = 10_000
"""Keys in one file."""
CHALLENGE: Final = 'Bearer realm="modelworks"'
"""What `WWW-Authenticate` says to who brings no key, or a wrong one."""
_BEGIN: Final = "mw_"  # scanners for secrets in source code find it by that
_BYTES: Final = 32
LONGEST: Final = 512
"""Bytes of a key; nothing longer is hashed."""
_KNOWN: Final = 1024  # headers that are remembered
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
_HASH: Final = re.compile(r"[0-9a-f]{64}")
_TOKEN: Final = re.compile(rb"[A-Za-z0-9._~+/-]+=*")  # RFC 6750, 2.1
_PARTS: Final = 4


class Role(StrEnum):
    """What a key is good for; each includes those before it."""

    PREDICT = "predict"  # ask a model server: predictions, metadata, statistics
    READ = "read"  # look at everything: the control plane, its console, files of versions
    ADMIN = "admin"  # change everything: load and unload, import, aliases, delete

    def covers(self, other: "Role") -> bool:
        """Whether it includes what `other` is good for."""
        order = list(Role)
        return order.index(self) >= order.index(other)


@dataclass(frozen=True, slots=True)
class Key:
    """One line of the file.

    Attributes:
        name: of who holds it; logs show it.
        role: what it is good for.
        digest: SHA-256 of the key, hexadecimal.
    """

    name: str
    role: Role
    digest: str

    def __str__(self) -> str:
        return f"{self.name}:{self.role}:sha256:{self.digest}"


class Keys:
    """All keys of a file, as it was read once.

    A key is found by the SHA-256 of what was sent. How long that takes depends on this hash alone,
    which nobody can steer towards one that is stored; the hashes are then compared in constant
    time all the same.

    Attributes:
        entries: in the file's order.
        known: Authorization headers that were found good, word for word: a caller sends the same
            one again and again. Bounded.
    """

    __slots__ = ("_by_digest", "entries", "known")

    def __init__(self, entries: Iterable[Key]) -> None:
        self.entries = tuple(entries)
        self.known: dict[bytes, Key] = {}
        self._by_digest = {key.digest: key for key in self.entries}

    def find(self, authorization: bytes | None) -> Key | None:
        """Whose key an Authorization header brings; None = nobody's."""
        if authorization is None:
            return None
        known = self.known.get(authorization)
        if known is not None:
            return known
        found = self.of(presented(authorization))
        if found is not None:
            if len(self.known) >= _KNOWN:
                self.known.clear()
            self.known[authorization] = found
        return found

    def of(self, key: bytes) -> Key | None:
        """Who holds a key; None = nobody."""
        if not 0 < len(key) <= LONGEST:
            return None
        digest = digest_of(key)
        found = self._by_digest.get(digest)
        return found if found is not None and hmac.compare_digest(found.digest, digest) else None

    def holder(self, digest: str) -> Key | None:
        """Whose key has this hash; None = nobody's, or nobody's any more."""
        return self._by_digest.get(digest)

    def require(self, authorization: bytes | None, role: Role) -> Key:
        """Whose key it is, when it is good for that.

        Raises:
            UnauthenticatedError: no key, or one that is not known.
            ForbiddenError: the key's role does not cover it.
        """
        found = self.find(authorization)
        if found is None:
            raise UnauthenticatedError(refusal(authorization), field="Authorization")
        if not found.role.covers(role):
            raise ForbiddenError(
                f"the key of '{found.name}' has the role {found.role}, and this takes {role}",
                field="Authorization",
            )
        return found


def presented(authorization: bytes) -> bytes:
    """The key or token that an Authorization header brings; empty = none that is well formed."""
    scheme, _, token = authorization.partition(b" ")
    token = token.strip(b" ")
    return token if scheme.lower() == b"bearer" and _TOKEN.fullmatch(token) else b""


def refusal(authorization: bytes | None) -> str:
    """Why a request is not let in, and the cure; never what was sent."""
    if authorization is None:
        return "an API key is needed: send 'Authorization: Bearer KEY' (or set MODELWORKS_KEY)"
    if not authorization[:7].lower().startswith(b"bearer"):
        return "the Authorization header brings no API key: write it as 'Authorization: Bearer KEY'"
    return "this API key is not known here: it was revoked, or is of another server"


def bearer(key: str) -> str:
    """What an Authorization header says to bring a key.

    Raises:
        InvalidError: it is none; the message does not repeat it.
    """
    if not key.isascii() or _TOKEN.fullmatch(key.encode()) is None:
        raise InvalidError(
            "the API key has characters that no key has: is there a line end or a space in "
            "MODELWORKS_KEY?",
            field="key",
        )
    return f"Bearer {key}"


def new_key() -> str:
    """A key that nobody can guess."""
    return _BEGIN + secrets.token_urlsafe(_BYTES)


def digest_of(key: bytes) -> str:
    """What a file holds of a key."""
    return sha256(key).hexdigest()


def parse(text: str) -> Keys:
    """The keys of a file's text; lines that are empty or begin with `#` say nothing.

    Raises:
        InvalidError: a line is none, two have one name or one key, or there is not even a
            comment: as a file is that is being written. The message never repeats a line.
    """
    if not text.strip():
        raise InvalidError("it is empty: to let nobody in, leave a comment (#) in it", field="keys")
    entries = list(_entries(text))
    if len(entries) > MOST:
        raise InvalidError(f"it has more than {MOST} keys", field="keys")
    return Keys(entries)


def _entries(text: str) -> Iterator[Key]:
    names: set[str] = set()
    digests: set[str] = set()
    for number, raw in enumerate(text.splitlines(), start=1):
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        key = _entry(line, number)
        if key.name in names:
            raise InvalidError(f"line {number}: the name {key.name} stands twice", field="keys")
        if key.digest in digests:
            raise InvalidError(
                f"line {number}: the key of {key.name} has another name too", field="keys"
            )
        names.add(key.name)
        digests.add(key.digest)
        yield key


def _entry(line: str, number: int) -> Key:
    parts = line.split(":")
    if len(parts) != _PARTS or parts[2] != "sha256":
        raise InvalidError(
            f"line {number}: NAME:ROLE:sha256:HASH is wanted, as `modelworks keys add NAME` "
            "writes it; a key itself does not belong into the file",
            field="keys",
        )
    name, role, _, digest = parts
    if _HASH.fullmatch(digest) is None:
        raise InvalidError(f"line {number}: the hash is not 64 digits of 0-9a-f", field="keys")
    try:
        return Key(key_name(name), key_role(role), digest)
    except InvalidError as error:
        raise InvalidError(f"line {number}: {error.message}", field="keys") from error


def key_name(text: str) -> str:
    """The text, when it can name a key.

    Raises:
        InvalidError: it cannot.
    """
    if _NAME.fullmatch(text) is None:
        raise InvalidError(
            "a key's name has 1 to 64 letters, digits and ._@- and begins with a letter or digit",
            field="name",
        )
    return text


def key_role(text: str) -> Role:
    """The role of that name.

    Raises:
        InvalidError: there is none.
    """
    try:
        return Role(text)
    except ValueError:
        raise InvalidError(f"a role is one of {', '.join(Role)}", field="role") from None
