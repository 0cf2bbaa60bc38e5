"""Our images in the hands of others: skopeo reads them, a registry takes and gives them."""

import json
import os
import subprocess

import pytest

from containers import program, registry
from modelworks.core.errors import NotFoundError
from modelworks.packaging.oci import (
    Change,
    Entry,
    Layout,
    Registry,
    archive,
    extend,
    parse,
    read_image,
    verify,
)

pytestmark = pytest.mark.real
NAME = "registry.example.com/models/fraud:1.4.0"


def skopeo(*words):
    done = subprocess.run(
        [program("/usr/bin/skopeo", "skopeo"), "--insecure-policy", *map(str, words)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def layout(tmp_path):
    return Layout.create(tmp_path / "layout")


@pytest.fixture
def image(layout):
    base = extend(
        layout,
        None,
        [layout.add_layer([Entry("/bin/tool", data=b"tool", mode=0o755)])],
        Change(environment={"PATH": "/bin"}),
    )
    layers = [
        layout.add_layer([Entry("/opt/a", data=os.urandom(3_000_000), owner=10001)]),
        layout.add_layer([Entry("/opt/b", link="a")]),
    ]
    change = Change(entrypoint=("tool",), user="10001:10001", labels={"a.b/c": "d"})
    return extend(layout, base, layers, change)


def test_skopeo_reads_a_layout(layout, image):
    layout.name(image.descriptor, "fraud:1.4.0", image.platform)
    told = json.loads(skopeo("inspect", f"oci:{layout.folder}:fraud:1.4.0"))
    assert told["Digest"] == image.descriptor.digest
    assert told["Layers"] == [layer.digest for layer in image.layers]
    assert told["Labels"] == {"a.b/c": "d"}
    assert told["Architecture"] == "amd64"


@pytest.mark.parametrize("kind", ["oci-archive", "docker-archive"])
def test_skopeo_reads_an_archive_in_both_ways(layout, image, tmp_path, kind):
    archive(layout, image, NAME, tmp_path / "image.tar")
    skopeo("copy", f"{kind}:{tmp_path / 'image.tar'}", f"oci:{tmp_path / 'there'}:one")
    there = Layout.open(tmp_path / "there")
    found = read_image(there, "one")
    verify(there, found)
    assert found.config["config"]["User"] == "10001:10001"
    assert found.config["rootfs"] == image.config["rootfs"]


def test_a_registry_takes_it_and_gives_it_to_others_and_back(layout, image, tmp_path):
    with registry(tmp_path) as host:
        reference = parse(f"{host}/models/fraud:1.4.0")
        assert Registry(reference).push(layout, image) == image.descriptor.digest
        told = json.loads(skopeo("inspect", "--tls-verify=false", f"docker://{reference}"))
        assert told["Digest"] == image.descriptor.digest
        there = Layout.create(tmp_path / "there")
        found = Registry(reference).pull(there)
        assert found == image
        verify(there, found)
        with pytest.raises(NotFoundError):
            Registry(parse(f"{host}/models/fraud:2")).pull(there)


def test_what_others_pushed_is_a_base_for_ours(layout, image, tmp_path):
    archive(layout, image, NAME, tmp_path / "image.tar")
    with registry(tmp_path) as host:
        where = f"docker://{host}/base:1"
        skopeo(
            *("copy", "--dest-tls-verify=false", "--format", "v2s2"),
            *(f"docker-archive:{tmp_path / 'image.tar'}", where),
        )
        there = Layout.create(tmp_path / "there")
        base = Registry(parse(f"{host}/base:1")).pull(there)
        own = extend(there, base, [there.add_layer([Entry("/x", data=b"x")])], Change())
        reference = parse(f"{host}/own:1")
        Registry(reference).push(there, own)
        told = json.loads(skopeo("inspect", "--tls-verify=false", f"docker://{reference}"))
        assert told["Layers"][:-1] == [layer.digest for layer in base.layers]
