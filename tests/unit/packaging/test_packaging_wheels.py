"""Wheels as files of an image, and the bill of what is inside."""

import hashlib

import pytest
from wheel_maker import line, write_wheel

from modelworks.core.errors import CorruptError, InvalidError
from modelworks.packaging.oci import write_layer
from modelworks.packaging.sbom import ModelPart, bill
from modelworks.packaging.wheels import read_wheel, read_wheels, unpacked

pytestmark = pytest.mark.unit
METADATA = """\
Metadata-Version: 2.4
Name: Tiny_Thing
Version: 1.0
License-Expression: MIT
Project-URL: Source, https://example.com/tiny

Words: not a field
"""
FILES = {
    "tiny/__init__.py": b"x = 1\n",
    "tiny/native.so": b"\x7fELF",
    "tiny_thing-1.0.data/purelib/more.py": b"",
    "tiny_thing-1.0.data/scripts/tiny": b"#!python\n",
    "tiny_thing-1.0.dist-info/METADATA": METADATA.encode(),
}
OTHER_RECORD = "".join(line(*i) for i in (FILES | {"tiny/__init__.py": b"other"}).items())
RECORD = "tiny_thing-1.0.dist-info/RECORD"


def wheel(folder, files=FILES, record=None, name="tiny_thing-1.0-py3-none-any.whl"):
    return write_wheel(folder / name, files, "tiny_thing-1.0.dist-info", record)


def write_layer_of(found, folder):
    with unpacked([found], "/opt/site") as every:
        write_layer(every, folder)


def test_a_wheel_says_what_it_is(tmp_path):
    path = wheel(tmp_path)
    found = read_wheel(path)
    assert (found.name, found.version, found.license) == ("Tiny_Thing", "1.0", "MIT")
    assert found.homepage == "https://example.com/tiny"
    assert found.pure
    assert found.purl == "pkg:pypi/tiny-thing@1.0"
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert found.requirement() == f"tiny-thing==1.0 --hash=sha256:{digest}"
    assert read_wheels(tmp_path) == (found,)


def test_its_files_lie_in_the_site_and_its_programs_nowhere(tmp_path):
    found, contents = {}, {}
    with unpacked([read_wheel(wheel(tmp_path))], "/opt/site") as every:
        for entry in every:
            found[entry.path] = entry
            with entry.content.open() as file:
                contents[entry.path] = file.read()
    assert sorted(found) == [
        "/opt/site/more.py",
        "/opt/site/tiny/__init__.py",
        "/opt/site/tiny/native.so",
        "/opt/site/tiny_thing-1.0.dist-info/METADATA",
        "/opt/site/tiny_thing-1.0.dist-info/RECORD",
    ]
    assert found["/opt/site/tiny/native.so"].mode == 0o755
    assert contents["/opt/site/tiny/__init__.py"] == b"x = 1\n"


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"record": ""}, InvalidError, "has no RECORD"),
        ({"record": f"{RECORD},,\n"}, CorruptError, "no digest of 'tiny/__init__.py'"),
        ({"record": OTHER_RECORD}, CorruptError, "is not what its record"),
        ({"files": FILES | {"../out": b""}}, InvalidError, "cannot lie in a wheel"),
        ({"files": FILES | {"/etc/x": b""}}, InvalidError, "cannot lie in a wheel"),
    ],
)
def test_a_wheel_that_is_not_what_it_says_is_refused(tmp_path, change, error, words):
    found = read_wheel(wheel(tmp_path, **change))
    with pytest.raises(error, match=words):
        write_layer_of(found, tmp_path)


def test_what_is_no_wheel_is_refused(tmp_path):
    with pytest.raises(InvalidError, match=r"holds no \*\.whl"):
        read_wheels(tmp_path)
    bad = tmp_path / "bad-1.0-py3-none-any.whl"
    bad.write_bytes(b"no zip")
    with pytest.raises(InvalidError, match="is no wheel"):
        read_wheel(bad)
    with pytest.raises(InvalidError, match="not named like a wheel"):
        read_wheel(wheel(tmp_path, name="tiny.whl"))
    files = {name: data for name, data in FILES.items() if "METADATA" not in name}
    with pytest.raises(InvalidError, match="is no wheel"):
        read_wheel(wheel(tmp_path, files))


def test_two_of_one_thing_are_refused(tmp_path):
    wheel(tmp_path)
    wheel(tmp_path, name="tiny_thing-1.0-cp311-cp311-linux_x86_64.whl")
    with pytest.raises(InvalidError, match="two wheels of Tiny_Thing"):
        read_wheels(tmp_path)


def test_the_bill_lists_what_is_inside_and_is_the_same_every_time(tmp_path):
    found = read_wheel(wheel(tmp_path))
    model = ModelPart("fraud", "1.4.0", "sha256:1", (("model.onnx", "sha256:ab"),))
    made = bill("fraud:1.4.0", [model], [found], 1)
    assert made == bill("fraud:1.4.0", [model], [found], 1)
    assert made["serialNumber"] != bill("fraud:1.4.0", [], [found], 1)["serialNumber"]
    first, second = made["components"]
    assert first["components"][0]["hashes"] == [{"alg": "SHA-256", "content": "ab"}]
    assert second["purl"] == "pkg:pypi/tiny-thing@1.0"
    assert second["hashes"][0]["content"] == found.digest
    assert made["dependencies"][0]["dependsOn"] == ["model:fraud:1.4.0", "pkg:pypi/tiny-thing@1.0"]
