"""Records of containers: the folder that is bound, and where they are refused."""

import json
import os
import stat
import subprocess
import sys

import pytest
import yaml

from modelworks.core.deployment import Share, Wanted
from modelworks.core.errors import InvalidError
from modelworks.core.home import Home
from modelworks.ext.targets.compose import ComposeTarget
from modelworks.ext.targets.containers import bound
from modelworks.ext.targets.containers.bound import Bound
from modelworks.ext.targets.containers.container import RECORDS, Shelf, container_of
from modelworks.ext.targets.docker import DockerTarget
from modelworks.protocol.records import SegmentWriter
from modelworks.protocol.records.fields import KEY, hash_key
from modelworks.testing.records import record
from modelworks.testing.target_fields import revision_of, spec_of
from modelworks.testing.target_tables import refusals

pytestmark = pytest.mark.unit
SAID = {"monitoring": {"records": {"sample": 1, "subject": "header:X-User"}}}
AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="records of containers take root")


class Near:
    remote = False


class Far:
    remote = True


@pytest.fixture
def target(tmp_path):
    return tmp_path / "home" / "targets" / "docker"


def wanted(kind, said):
    return Wanted("fraud", (Share(revision_of(spec_of(kind.name, said), images=True), 2),))


def container(folder):
    one = wanted(DockerTarget, SAID)
    return container_of(one, one.shares[0].revision, own_network=True, shelf=Shelf(str(folder)))


@AS_ROOT
def test_a_replica_has_the_folder_of_its_deployment(target):
    source = str(Home(target.parent.parent).recorded / "fraud")
    [replica, network] = [json.loads(one.text) for one in opened(DockerTarget, target)]
    mounts = replica["create"]["HostConfig"]["Mounts"]
    assert mounts == [{"Type": "bind", "Source": source, "Target": RECORDS}]
    assert "Mounts" not in network["create"]["HostConfig"]
    told = dict(line.split("=", 1) for line in replica["create"]["Env"])
    assert told["MODELWORKS_SERVER_RECORDS"] == RECORDS
    assert told["MODELWORKS_SERVER_REVISION"] == "fraud/1"
    assert json.loads(told["MODELWORKS_SERVER_RECORD_POLICY"])["subject"] == "header:X-User"
    assert "GroupAdd" not in replica["create"]["HostConfig"]
    [file] = opened(ComposeTarget, target)
    service = yaml.safe_load(file.text)["services"]["r1"]
    assert service["volumes"] == [{"type": "bind", "source": source, "target": RECORDS}]


def test_who_is_not_root_shares_a_group_with_what_a_replica_writes(target, monkeypatch):
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    monkeypatch.setattr("os.getgid", lambda: 1001)
    [replica, _] = [json.loads(one.text) for one in opened(DockerTarget, target)]
    assert replica["create"]["HostConfig"]["GroupAdd"] == ["1001"]
    [file] = opened(ComposeTarget, target)
    assert yaml.safe_load(file.text)["services"]["r1"]["group_add"] == ["1001"]


def test_a_compose_file_that_records_is_valid(target, tmp_path, monkeypatch):
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    [file] = opened(ComposeTarget, target)
    (tmp_path / file.path).write_text(file.text)
    command = ["-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"]
    done = subprocess.run(
        [sys.executable, *command, tmp_path / file.path],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


def opened(kind, target):
    return kind().open({}, target).render(wanted(kind, SAID))


def test_who_records_nothing_has_no_folder(target):
    for one in DockerTarget().open({}, target).render(wanted(DockerTarget, {})):
        assert "records" not in one.text
    [file] = ComposeTarget().open({}, target).render(wanted(ComposeTarget, {}))
    assert "volumes" not in file.text


@pytest.mark.parametrize("kind", [DockerTarget, ComposeTarget])
def test_what_cannot_be_is_refused_before_anything_is_done(kind):
    def why(records, **settings):
        said = {"monitoring": {"records": records}}
        said["target"] = {"type": kind.name, "settings": settings}
        return refusals(kind, spec_of(kind.name, said))

    assert why({"sample": 1}) == {}
    assert why({"sample": 1}, host="unix:///run/docker.sock") == {}
    far = why({"sample": 1}, host="ssh://me@there")
    assert "run the reconciler there" in far["monitoring.records.sample"]
    fields = [{"field": "a", "act": "hash"}, {"field": "b", "act": "tokenize"}]
    assert list(why({"sample": 1, "fields": fields})) == ["monitoring.records.fields[1].act"]


@AS_ROOT
def test_the_folder_has_the_key_of_hashes_and_the_container_may_change_its_segments_only(target):
    home = Home(target.parent.parent).create()
    mine = Bound(target)
    folder = mine.folder("fraud")
    for _ in range(2):
        mine.provide(Near(), [container(folder)])
    assert (folder / KEY).read_bytes() == hash_key(home.records)
    owners = {
        path.name: (path.stat().st_uid, stat.S_IMODE(path.stat().st_mode))
        for path in (folder, folder / KEY, folder / "segments")
    }
    assert owners == {
        "fraud": (0, 0o755),
        KEY: (bound._USER, 0o400),
        "segments": (bound._USER, 0o700),
    }
    assert stat.S_IMODE(home.recorded.stat().st_mode) == 0o700
    (home.records / KEY).unlink()
    mine.provide(Near(), [container(folder)])
    assert (folder / KEY).read_bytes() == hash_key(home.records)


@AS_ROOT
def test_what_waits_to_be_taken_in_outlives_its_deployment(target):
    Home(target.parent.parent).create()
    mine = Bound(target)
    folder = mine.folder("fraud")
    mine.provide(Near(), [container(folder)])
    (folder / "segments" / "1.seg").touch()
    mine.leave("fraud")
    assert [path.name for path in folder.rglob("*")] == ["segments", "1.seg"]
    (folder / "segments" / "1.seg").unlink()
    mine.leave("fraud")
    assert not folder.exists()
    mine.leave("fraud")


def test_an_engine_elsewhere_is_refused_when_it_is_applied(target):
    mine = Bound(target)
    with pytest.raises(InvalidError, match="run the reconciler there"):
        mine.provide(Far(), [container(mine.folder("fraud"))])
    mine.provide(Far(), [])
    assert not target.parent.parent.exists()


def test_segments_in_a_folder_that_a_group_shares_are_the_groups(tmp_path):
    modes = {}
    for mode in (0o700, 0o2700, 0o2770):
        folder = tmp_path / f"{mode:o}"
        folder.mkdir()
        folder.chmod(mode)
        SegmentWriter(folder).write([record(1)])
        [path] = folder.iterdir()
        modes[mode] = stat.S_IMODE(path.stat().st_mode)
    assert modes == {0o700: 0o600, 0o2700: 0o600, 0o2770: 0o660}
