"""Personal data in texts: e-mail addresses, telephone, card and account numbers.

Recognisers of our own, with the checksums that these numbers have. What has no checksum is held to
a narrow form, so that dates, versions, amounts and identifiers of other kinds stay: names, streets
and telephone numbers that are written as plain digits are not found.
"""

import re
from collections.abc import Callable
from typing import Final

_EMAIL: Final = re.compile(
    r"(?<![\w.%+-])[A-Za-z0-9][\w.%+-]{0,63}@(?:[A-Za-z0-9-]{1,63}\.){1,8}[A-Za-z]{2,24}(?![\w-])"
)
_CARD: Final = re.compile(r"(?<![\w.-])[2-6]\d{3}(?:[ -]?\d{4}){2}[ -]?\d{1,7}(?![\w-]|\.\d)")
_AMEX: Final = re.compile(r"(?<![\w.-])3[47]\d{2}[ -]?\d{6}[ -]?\d{5}(?![\w-]|\.\d)")
_IBAN: Final = re.compile(r"(?<!\w)[A-Za-z]{2}\d{2}(?: ?[A-Za-z0-9]){11,30}(?!\w)")
_PHONE: Final = re.compile(
    r"(?<![\w.+-])(?:"
    r"\+\d{1,3}(?:[ .-]?\(?\d{1,5}\)?){2,6}"  # +49 (0) 30 1234567
    r"|\(0?\d{2,4}\) ?\d{3,4}[ .-]?\d{3,5}"  # (030) 1234567
    r"|\d{3}[ .-]\d{3}[ .-]\d{4}"  # 555-123-4567
    r"|0\d{1,4}[ /-]\d{3,4}[ -]?\d{3,5}"  # 030/1234567
    r")(?![\w-]|\.\d)"
)
_CARD_DIGITS: Final = (13, 19)
_IBAN_LENGTH: Final = (15, 34)
_PHONE_DIGITS: Final = (8, 15)
_HINT: Final = re.compile(r"[@\d]")


def mask(text: str) -> str:
    """Letters and digits become `*`; the length stays."""
    return "".join("*" if letter.isalnum() else letter for letter in text)


def mask_personal(text: str) -> str:
    """The text with what is found in it masked."""
    if _HINT.search(text) is None:
        return text
    for pattern, holds in _RECOGNISERS:
        text = pattern.sub(_masked(holds), text)
    return text


def is_card(text: str) -> bool:
    """Whether the digits have a card number's length and check digit (Luhn, ISO/IEC 7812-1)."""
    digits = [int(letter) for letter in text if letter.isdigit()]
    if not _CARD_DIGITS[0] <= len(digits) <= _CARD_DIGITS[1] or len(set(digits)) == 1:
        return False
    doubled = (2 * digit - 9 * (digit > 4) for digit in digits[-2::-2])
    return (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0


def is_iban(text: str) -> bool:
    """Whether it is an account number by its checksum (ISO 13616, mod 97)."""
    plain = text.replace(" ", "").upper()
    if not _IBAN_LENGTH[0] <= len(plain) <= _IBAN_LENGTH[1]:
        return False
    turned = plain[4:] + plain[:4]
    return int("".join(str(int(letter, 36)) for letter in turned)) % 97 == 1


def _is_phone(text: str) -> bool:
    count = sum(letter.isdigit() for letter in text)
    return _PHONE_DIGITS[0] <= count <= _PHONE_DIGITS[1]


def _always(_: str) -> bool:
    return True


def _masked(holds: Callable[[str], bool]) -> Callable[[re.Match[str]], str]:
    def replaced(found: re.Match[str]) -> str:
        text = found.group()
        return mask(text) if holds(text) else text

    return replaced


_RECOGNISERS: Final = (
    (_EMAIL, _always),
    (_IBAN, is_iban),
    (_CARD, is_card),
    (_AMEX, is_card),
    (_PHONE, _is_phone),
)
