"""Images to a registry and back; who may, and what comes that was not asked for."""

import base64
import json
import socket

import pytest
from fake_registry import Kept, registry

from modelworks.core.errors import CorruptError, InvalidError, NotFoundError, UnavailableError
from modelworks.packaging.oci import (
    Change,
    Entry,
    Layout,
    Platform,
    Registry,
    extend,
    parse,
    read_image,
    verify,
)
from modelworks.packaging.oci.descriptor import INDEX, canonical

pytestmark = pytest.mark.unit


@pytest.fixture
def layout(tmp_path):
    return Layout.create(tmp_path / "here")


@pytest.fixture
def image(layout):
    layers = [layout.add_layer([Entry(f"/{name}", data=name.encode() * 1000)]) for name in "ab"]
    return extend(layout, None, layers, Change(entrypoint=("a",)))


def names(tmp_path, host, password):
    path = tmp_path / "config.json"
    told = base64.b64encode(password.encode()).decode()
    path.write_text(json.dumps({"auths": {host: {"auth": told}}}))
    return path


@pytest.mark.parametrize(("password", "bearer"), [("", False), ("me:x", False), ("me:x", True)])
def test_there_and_back(tmp_path, layout, image, password, bearer):
    kept = Kept(password, bearer=bearer)
    with registry(kept) as host:
        known = names(tmp_path, host, password) if password else None
        reference = parse(f"{host}/models/fraud:1.4.0")
        assert Registry(reference, known).push(layout, image) == image.descriptor.digest
        assert len(kept.blobs) == 3
        other = Layout.create(tmp_path / "there")
        found = Registry(reference, known).pull(other)
        assert found == image
        verify(other, found)
        assert read_image(other, str(reference)) == image
        kept.asked.clear()
        Registry(reference, known).push(layout, image)
        assert not [one for one in kept.asked if one.startswith("POST")]  # all of it is there
        Registry(parse(f"{host}/models/fraud@{image.descriptor.digest}"), known).pull(other)


def test_of_an_index_only_what_is_for_this_platform_comes(tmp_path, layout, image):
    kept = Kept()
    arm = extend(layout, None, [], Change(), platform=Platform(architecture="arm64"))
    with registry(kept) as host:
        reference = parse(f"{host}/fraud:1")
        Registry(reference).push(layout, image)
        Registry(parse(f"{host}/fraud:arm")).push(layout, arm)
        listed = [
            one.descriptor.document() | {"platform": {"os": "linux", "architecture": name}}
            for one, name in ((arm, "arm64"), (image, "amd64"))
        ]
        data = canonical({"schemaVersion": 2, "mediaType": INDEX, "manifests": listed})
        kept.manifests["1"] = INDEX, data
        other = Layout.create(tmp_path / "there")
        assert Registry(reference).pull(other) == image
        assert not other.path(arm.descriptor).exists()
        with pytest.raises(NotFoundError, match="nothing for linux/s390x"):
            Registry(reference).pull(other, Platform(architecture="s390x"))


def test_who_is_not_known_is_told_what_to_do(tmp_path, layout, image):
    for bearer in (False, True):
        with registry(Kept("me:x", bearer=bearer)) as host:
            reference = parse(f"{host}/fraud:1")
            for known in (None, names(tmp_path, host, "me:wrong"), tmp_path / "gone"):
                with pytest.raises(InvalidError, match=f"docker login {host}"):
                    Registry(reference, known).push(layout, image)


def test_what_comes_is_checked(tmp_path, layout, image):
    kept = Kept()
    with registry(kept) as host:
        reference = parse(f"{host}/fraud:1")
        Registry(reference).push(layout, image)
        other = Layout.create(tmp_path / "there")
        kept.broken = True
        with pytest.raises(CorruptError, match="not what was asked for"):
            Registry(reference).pull(other)
        assert not [path for path in other.blobs.iterdir() if path.name.startswith(".")]
        kept.broken = False
        kind, data = kept.manifests[image.descriptor.digest]
        kept.manifests[image.descriptor.digest] = kind, data + b" "
        with pytest.raises(CorruptError, match="another digest"):
            Registry(parse(f"{host}/fraud@{image.descriptor.digest}")).pull(other)
        with pytest.raises(NotFoundError, match="has no"):
            Registry(parse(f"{host}/fraud:2")).pull(other)


def test_nobody_there(layout, image):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        reference = parse(f"127.0.0.1:{taken.getsockname()[1]}/fraud:1")
        with pytest.raises(UnavailableError, match="cannot be reached"):
            Registry(reference).push(layout, image)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("r.example.com/a/b:1.0", ("r.example.com", "a/b", "1.0", "")),
        ("localhost:5000/a", ("localhost:5000", "a", "", "")),
        ("host:80/a_b/c--d@sha256:" + "0" * 64, ("host:80", "a_b/c--d", "", "sha256:" + "0" * 64)),
        ("[::1]:5000/a:x", ("[::1]:5000", "a", "x", "")),
    ],
)
def test_references(text, parts):
    found = parse(text)
    assert (found.host, found.repository, found.tag, found.digest) == parts
    assert str(found) == text


@pytest.mark.parametrize(
    "text",
    ["fraud", "me/fraud", "r.example.com/Fraud", "r.example.com/a:", "r.example.com/a b", "http://r/a",
     "r.example.com/a@sha256:1", "r.example.com/../a", ""],
)  # fmt: skip
def test_what_names_no_registry_is_refused(text):
    with pytest.raises(InvalidError, match="is no image"):
        parse(text)


def test_only_this_machine_is_asked_without_tls():
    assert parse("localhost/a").here
    assert parse("127.0.0.1:5000/a").here
    assert parse("[::1]:5000/a").here
    assert not parse("localhost.example.com/a").here
    assert not parse("r.example.com:5000/a").here


def test_one_registry_has_another_server_than_its_name():
    hub = parse("docker.io/library/python:3.11")
    assert (hub.server, hub.login) == ("registry-1.docker.io", "https://index.docker.io/v1/")
    other = parse("registry.example.com/fraud:1")
    assert (other.server, other.login) == (other.host, other.host)
