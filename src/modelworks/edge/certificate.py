"""When a certificate is valid: the two dates out of its DER form (RFC 5280, 4.1), nothing else."""

import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from modelworks.core.errors import InvalidError

_BEGIN, _END = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
_SEQUENCE, _VERSION, _UTC_TIME = 0x30, 0xA0, 0x17
_LONG = 0x80
_BEFORE_VALIDITY = 3  # serial number, signature algorithm, issuer
_SOON = timedelta(days=14)


@dataclass(frozen=True, slots=True)
class Validity:
    """The time from which, and the time to which a certificate is valid, both in UTC."""

    begins: datetime
    ends: datetime

    def concern(self, now: datetime) -> str:
        """What an owner should hear about it; empty when all is well."""
        if now > self.ends:
            return f"it expired on {self.ends:%Y-%m-%d}: clients refuse it; renew it"
        if now < self.begins:
            return f"it is valid from {self.begins:%Y-%m-%d} only: clients refuse it until then"
        if now + _SOON > self.ends:
            return f"it expires on {self.ends:%Y-%m-%d}: renew it"
        return ""


def validity(pem: str) -> Validity:
    """Of the first certificate in PEM text.

    Raises:
        InvalidError: there is no certificate in it, or it is damaged.
    """
    begin = pem.find(_BEGIN)
    end = pem.find(_END, begin)
    if begin < 0 or end < 0:
        raise InvalidError("it holds no certificate in PEM form (-----BEGIN CERTIFICATE-----)")
    try:
        return _dates(ssl.PEM_cert_to_DER_cert(pem[begin : end + len(_END)]))
    except (ValueError, IndexError) as error:
        raise InvalidError(f"its certificate is damaged: {error}") from error


def _dates(der: bytes) -> Validity:
    _, body, _ = _element(der, 0)
    _, fields, _ = _element(der, body)
    tag, _, after = _element(der, fields)
    at = after if tag == _VERSION else fields
    for _ in range(_BEFORE_VALIDITY):
        at = _element(der, at)[2]
    tag, at, _ = _element(der, at)
    if tag != _SEQUENCE:
        raise ValueError("no validity where it should be")
    begins, at = _time(der, at)
    ends, _ = _time(der, at)
    return Validity(begins, ends)


def _element(der: bytes, at: int) -> tuple[int, int, int]:
    """Tag, first byte of the content, first byte behind it."""
    tag, length, at = der[at], der[at + 1], at + 2
    if length >= _LONG:
        size = length - _LONG
        length, at = int.from_bytes(der[at : at + size]), at + size
    if at + length > len(der):
        raise ValueError("it ends too early")
    return tag, at, at + length


def _time(der: bytes, at: int) -> tuple[datetime, int]:
    tag, start, end = _element(der, at)
    text = der[start:end].decode("ascii")
    form = "%y%m%d%H%M%SZ" if tag == _UTC_TIME else "%Y%m%d%H%M%SZ"
    return datetime.strptime(text, form).replace(tzinfo=UTC), end
