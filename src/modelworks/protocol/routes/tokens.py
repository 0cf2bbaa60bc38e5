"""JSON Web Tokens in a key's place (RFC 7519, 7515, 8725): read, and held to the snapshot's rules.

A public key decides the algorithm; what a token says of it must be the same. So neither `none` nor
a token that is signed with a public key as if it were a shared secret can pass (RFC 8725, 2.1).
"""

import binascii
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Any, Final, Protocol

import orjson

from modelworks.core.errors import InvalidError, ModelworksError, UnauthenticatedError
from modelworks.core.routes import Tokens

LONGEST: Final = 16_384
"""Bytes of a token."""
LEEWAY_S: Final = 30
"""Seconds that two clocks may differ."""
_PARTS: Final = 3
_PART: Final = re.compile(rb"[A-Za-z0-9_-]+")
_NAME: Final = 256  # characters of a caller's name


class PublicKey(Protocol):
    """What a signature is checked with."""

    @property
    def algorithm(self) -> str:
        """`RS256`, `ES256` or `EdDSA`: the only one that this key is for."""
        ...

    def verify(self, signature: bytes, signed: bytes) -> bool:
        """Whether the signature is of this key's holder."""
        ...


@dataclass(frozen=True, slots=True)
class Claims:
    """What a good token says.

    Attributes:
        name: of the caller.
        tenant: whose routes it opens.
        models: patterns; None = all.
        until_ns: UTC.
    """

    name: str
    tenant: str
    models: tuple[str, ...] | None
    until_ns: int


class TokenReader:
    """Reads tokens; used on the loop.

    Args:
        rules: of the snapshot.
        load_key: makes a `PublicKey` of PEM text.

    Raises:
        InvalidError: a key is none, or of a kind that is not taken; `field` is its path.
        MissingExtraError: the library that checks signatures is not there.
    """

    def __init__(self, rules: Tokens, load_key: Callable[[str], PublicKey]) -> None:
        self._rules = rules
        self._keys: dict[str, PublicKey] = {}
        for kid, pem in rules.keys.items():
            try:
                self._keys[kid] = load_key(pem)
            except InvalidError as error:
                field = f"tokens.keys.{kid}"
                raise InvalidError(f"{field}: {error.message}", field=field) from error

    def read(self, token: bytes, now_ns: int) -> Claims:
        """What a token says.

        Args:
            token: as it came.
            now_ns: UTC.

        Raises:
            UnauthenticatedError: it is not good; the message says why, and repeats nothing of it.
        """
        parts = token.split(b".")
        if len(parts) != _PARTS or len(token) > LONGEST:
            raise _bad("it has not three parts, or is too long")
        key = self._key(_document(parts[0], "header"))
        if not key.verify(_decoded(parts[2], "signature"), parts[0] + b"." + parts[1]):
            raise _bad("its signature is not of the key that it names")
        claims = _document(parts[1], "claims")
        until_ns = _in_time(claims, now_ns)
        self._meant(claims)
        rules = self._rules
        name = claims.get(rules.name)
        if not isinstance(name, str) or not 0 < len(name) <= _NAME or not name.isprintable():
            raise _bad(f"its claim {rules.name!r} names no caller")
        tenant = claims.get(rules.tenant) if rules.tenant else "default"
        if not isinstance(tenant, str) or not tenant:
            raise _bad(f"its claim {rules.tenant!r} names no tenant")
        return Claims(name, tenant, _patterns(claims, rules.models), until_ns)

    def _key(self, header: Mapping[str, Any]) -> PublicKey:
        kid = header.get("kid")
        if kid is None and len(self._keys) == 1:
            key = next(iter(self._keys.values()))
        else:
            key_or_none = self._keys.get(kid) if isinstance(kid, str) else None
            if key_or_none is None:
                raise _bad("it names no key ('kid') that is known here")
            key = key_or_none
        if header.get("alg") != key.algorithm:
            raise _bad(f"it has to be signed by {key.algorithm} ('alg')")
        if "crit" in header:
            raise _bad("it asks for an extension ('crit') that is not understood")
        return key

    def _meant(self, claims: Mapping[str, Any]) -> None:
        rules = self._rules
        if rules.issuer and claims.get("iss") != rules.issuer:
            raise _bad("it is not of the issuer ('iss') that is trusted here")
        if rules.audience:
            aud = claims.get("aud")
            if rules.audience not in (aud if isinstance(aud, list) else [aud]):
                raise _bad("it is not meant for this server ('aud')")


def _patterns(claims: Mapping[str, Any], claim: str) -> tuple[str, ...] | None:
    if not claim:
        return None
    models = claims.get(claim, [])
    models = models.split() if isinstance(models, str) else models
    if not isinstance(models, list) or not all(isinstance(model, str) for model in models):
        raise _bad(f"its claim {claim!r} is no list of models")
    return tuple(models)


def _in_time(claims: Mapping[str, Any], now_ns: int) -> int:
    """When it ends; RFC 7519, 4.1.4 and 4.1.5."""
    until = _seconds(claims, "exp")
    since = _seconds(claims, "nbf")
    now = now_ns / 1e9
    if until is None:
        raise _bad("it never ends: a claim 'exp' is wanted")
    if now >= until + LEEWAY_S:
        raise _bad("it is over ('exp')")
    if since is not None and now < since - LEEWAY_S:
        raise _bad("it is not good yet ('nbf')")
    return int(min((until + LEEWAY_S) * 1e9, 2.0**62))


def _seconds(claims: Mapping[str, Any], claim: str) -> float | None:
    value = claims.get(claim)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
        raise _bad(f"its claim {claim!r} is no time")
    return float(value)


def _document(part: bytes, what: str) -> dict[str, Any]:
    try:
        found = orjson.loads(_decoded(part, what))
    except orjson.JSONDecodeError as error:
        raise _bad(f"its {what} cannot be read") from error
    if not isinstance(found, dict):
        raise _bad(f"its {what} cannot be read")
    return found


def _decoded(part: bytes, what: str) -> bytes:
    """base64url without padding (RFC 7515, 2), and nothing else."""
    if _PART.fullmatch(part) is None:
        raise _bad(f"its {what} cannot be read")
    try:
        text = part.replace(b"-", b"+").replace(b"_", b"/") + b"=" * (-len(part) % 4)
        return binascii.a2b_base64(text, strict_mode=True)
    except ValueError as error:
        raise _bad(f"its {what} cannot be read") from error


def _bad(why: str) -> ModelworksError:
    return UnauthenticatedError(f"this token is not good here: {why}", field="Authorization")
