"""Personal data in texts: what is found, and what looks alike and stays."""

import pytest

from modelworks.protocol.records.pii import is_card, is_iban, mask, mask_personal

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    "text",
    [
        "erika.musterfrau@example.com",
        "a+b@sub.example.co.uk",
        "+49 30 1234567",
        "+1 (555) 123-4567",
        "(030) 1234567",
        "555-123-4567",
        "030/1234567",
        "4111 1111 1111 1111",
        "4111111111111111",
        "5500-0000-0000-0004",
        "378282246310005",
        "DE89 3704 0044 0532 0130 00",
        "GB82WEST12345698765432",
        "gb82west12345698765432",
    ],
)
def test_it_is_masked_and_what_stands_around_it_stays(text):
    written = mask_personal(f"Reach me: {text}, please.")
    assert written == f"Reach me: {mask(text)}, please."
    assert not any(letter.isalnum() for letter in mask(text))


@pytest.mark.parametrize(
    "text",
    [
        "2026-11-22",
        "2026-11-22T19:27:42.123456Z",
        "22.11.2026 at 19:27",
        "192.168.100.200",
        "version 1.12.345",
        "3.14159265358979",
        "order 1234567890123456",  # sixteen digits, and no card's check digit
        "0000000000000000",
        "1,234,567.89 EUR",
        "f47ac10b-58cc-4372-a567-0e02b2c3d479",
        "DE00370400440532013000",  # no account's checksum
        "user@localhost",
        "@mention and #tag 42",
        "-12.5 +3.25 1e-05",
        "ISBN 978-3-16-148410-0",
        "12345",
        "",
    ],
)
def test_it_stays(text):
    assert mask_personal(text) == text


def test_several_in_one_text_are_all_masked():
    text = "a@b.de or c@d.org, card 4111111111111111 and +49 30 1234567"
    assert mask_personal(text) == "*@*.** or *@*.***, card **************** and +** ** *******"


def test_check_digits_hold_for_known_numbers_and_for_no_neighbour():
    assert is_card("4111111111111111")
    assert not any(is_card(f"411111111111111{last}") for last in "023456789")
    assert is_iban("DE89370400440532013000")
    assert not any(is_iban(f"DE{check:02}370400440532013000") for check in range(98) if check != 89)


def test_long_texts_take_no_long_time():
    for text in ("a" * 50_000, "1 " * 25_000, "+1" * 25_000, "a@" * 25_000, "a.b-" * 12_000 + "@"):
        assert len(mask_personal(text)) == len(text)
