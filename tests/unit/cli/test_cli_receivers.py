"""`records receivers`: added, listed, removed."""

import pytest

from modelworks.cli.exits import Exit

pytestmark = pytest.mark.unit


def test_from_add_to_remove(type_, home):
    asked = ("--to", "https://events.example.com/hook", "--name", "siem", "--set", "timeout=5")
    assert "siem" in type_("records", "receivers", "add", *asked).out
    (one,) = type_("records", "receivers", "list", "--json").json
    assert one["receiver"] == {
        "name": "siem",
        "url": "https://events.example.com/hook",
        "settings": {"timeout": "5"},
    }
    assert (one["waiting"], one["sent"]) == (0, 0)
    assert "siem      https://events.example.com/hook" in type_("records", "receivers", "list").out
    assert "receiver/siem" in type_("audit").out
    assert "0 segments dropped" in type_("records", "receivers", "remove", "siem").out
    assert type_("records", "receivers", "list", "--json").json == []
    assert type_("records", "receivers", "remove", "siem").code == Exit.NOT_FOUND


@pytest.mark.parametrize(
    "words",
    [("--to", "ftp://x"), ("--to", "https://x/y", "--set", "a"), ("--to", "https://a:b@x/y")],
)
def test_what_cannot_be_is_refused(type_, words):
    assert type_("records", "receivers", "add", *words).code == Exit.INVALID
