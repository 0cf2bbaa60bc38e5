"""Public keys of JSON Web Tokens (RFC 7518, 3.3, 3.4; RFC 8037), by the library `cryptography`."""

from typing import Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from modelworks.core.errors import InvalidError

_LEAST_BITS: Final = 2048  # RFC 7518, 3.3
_HALF: Final = 32  # bytes of each of the two numbers of an ES256 signature


class _Rsa:
    """RS256."""

    algorithm = "RS256"

    def __init__(self, key: RSAPublicKey) -> None:
        self._key = key

    def verify(self, signature: bytes, signed: bytes) -> bool:
        """See `protocol.routes.tokens.PublicKey`."""
        try:
            self._key.verify(signature, signed, PKCS1v15(), SHA256())
        except InvalidSignature:
            return False
        return True


class _Curve:
    """ES256."""

    algorithm = "ES256"

    def __init__(self, key: EllipticCurvePublicKey) -> None:
        self._key = key

    def verify(self, signature: bytes, signed: bytes) -> bool:
        """See `protocol.routes.tokens.PublicKey`."""
        if len(signature) != 2 * _HALF:
            return False
        numbers = (int.from_bytes(part, "big") for part in (signature[:_HALF], signature[_HALF:]))
        try:
            self._key.verify(encode_dss_signature(*numbers), signed, ECDSA(SHA256()))
        except InvalidSignature:
            return False
        return True


class _Edwards:
    """EdDSA with Ed25519."""

    algorithm = "EdDSA"

    def __init__(self, key: Ed25519PublicKey) -> None:
        self._key = key

    def verify(self, signature: bytes, signed: bytes) -> bool:
        """See `protocol.routes.tokens.PublicKey`."""
        try:
            self._key.verify(signature, signed)
        except InvalidSignature:
            return False
        return True


class JwtKey:
    """What checks signatures of a key's holder; a `protocol.routes.tokens.PublicKey`.

    Args:
        pem: `-----BEGIN PUBLIC KEY-----`: RSA of at least 2048 bits, P-256 or Ed25519.

    Attributes:
        algorithm: the only one that the key is for.
        formats: that are taken.
        experimental: False.

    Raises:
        InvalidError: it is none, or of another kind.
    """

    formats = ("RS256", "ES256", "EdDSA")
    experimental = False

    def __init__(self, pem: str) -> None:
        self._key = _key(pem)
        self.algorithm = self._key.algorithm

    def verify(self, signature: bytes, signed: bytes) -> bool:
        """See `protocol.routes.tokens.PublicKey`."""
        return self._key.verify(signature, signed)


def _key(pem: str) -> _Rsa | _Curve | _Edwards:
    try:
        key = load_pem_public_key(pem.encode())
    except (ValueError, UnsupportedAlgorithm) as error:
        raise InvalidError("it is no PEM text of a public key", field="pem") from error
    if isinstance(key, RSAPublicKey):
        if key.key_size < _LEAST_BITS:
            raise InvalidError(f"an RSA key has {_LEAST_BITS} bits at the least", field="pem")
        return _Rsa(key)
    if isinstance(key, EllipticCurvePublicKey) and isinstance(key.curve, SECP256R1):
        return _Curve(key)
    if isinstance(key, Ed25519PublicKey):
        return _Edwards(key)
    raise InvalidError("only RSA, P-256 (ES256) and Ed25519 (EdDSA) keys are taken", field="pem")
