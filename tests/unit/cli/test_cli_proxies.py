"""`modelworks proxies`: refused or written whole."""

import json

import pytest

from modelworks.cli.exits import Exit
from modelworks.core import codec
from modelworks.core.routes import Route, Sticky
from modelworks.testing.proxied import arm, snapshot

pytestmark = pytest.mark.unit
ARMS = [arm("fraud/1", "http://127.0.0.1:1"), arm("fraud/2", "http://127.0.0.1:2")]


@pytest.fixture
def asked(type_, tmp_path):
    """Write a snapshot for a proxy, unchecked."""

    def ask(proxy, **fields):
        path = tmp_path / "routes.json"
        path.write_text(json.dumps(codec.encode(snapshot(ARMS, [0.9, 0.1], **fields))))
        out = tmp_path / proxy
        return type_(
            "proxies", "write", proxy, "--snapshot", path, "-o", out, "--no-check", "--json"
        ), out

    return ask


@pytest.mark.parametrize("proxy", ["envoy", "haproxy", "nginx", "traefik"])
def test_written_whole_or_refused(asked, proxy):
    found, out = asked(proxy, override="x-arm")
    files = [one for one in out.iterdir() if one.is_file()]
    assert sorted(map(str, files)) == sorted(found.json["files"])
    told = {one["path"]: one["support"] for one in found.json["fields"]}
    assert told["routes[0].override"] == "honoured"
    before = {one: one.read_bytes() for one in files}
    found, _ = asked(proxy, sticky=Sticky("field", "user"))
    assert found.code == Exit.INVALID
    assert "sticky.field: it looks into no body" in found.json["error"]
    assert {one: one.read_bytes() for one in files} == before


def test_every_proxy_answers_every_field(type_):
    told = type_("proxies", "list", "--json").json
    assert [one["name"] for one in told] == ["envoy", "haproxy", "nginx", "traefik"]
    assert len({frozenset(one["fields"]) for one in told}) == 1
    assert [one["name"] for one in told if one["experimental"]] == ["traefik"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "no JSON"),
        ("[]", "an object wanted"),
        ('{"generation": 1, "routs": []}', "unknown key; did you mean 'routes'?"),
        ('{"generation": 1, "routes": [{"name": "a", "arms": [], "spans": []}]}', "routes[0]"),
    ],
)
def test_bad_snapshots(type_, tmp_path, text, said):
    path = tmp_path / "routes.json"
    path.write_text(text)
    found = type_("proxies", "write", "envoy", "--snapshot", path, "-o", tmp_path / "out")
    assert found.code == Exit.INVALID
    assert said in found.err
    assert not (tmp_path / "out").exists()


def test_no_snapshot_and_no_such_proxy(type_, tmp_path):
    path = tmp_path / "none.json"
    asked = ("proxies", "write", "envoy", "--snapshot", path, "-o", tmp_path / "out")
    assert type_(*asked).code == Exit.NOT_FOUND
    asked = ("proxies", "write", "caddy", "--snapshot", path, "-o", tmp_path / "out")
    assert type_(*asked).code == Exit.NOT_FOUND


def test_every_field_of_a_route_is_in_the_tables(type_):
    """A field that is added to `Route` and to no table is noticed here."""
    fields = set(type_("proxies", "list", "--json").json[0]["fields"])
    heads = {field.partition(".")[0] for field in fields}
    everybody = {"name", "arms", "spans", "model", "host", "path", "tenant"}
    assert {*Route.__dataclass_fields__} == heads | everybody
