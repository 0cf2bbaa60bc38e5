"""How a server is told to keep answers and sequences: options, variables, manifests."""

import json

import pytest
from pydantic import ValidationError

from modelworks.apps.server_kept import keeps_sequences
from modelworks.apps.server_models import policy_of
from modelworks.apps.server_settings import ServerSettings
from modelworks.core.caching import AnswerCache
from modelworks.core.errors import InvalidError
from modelworks.core.served import ServedList, ServedModel, read_served, write_served
from modelworks.core.stateful import Sequences, State
from modelworks.protocol.manifest.deployment import DeploymentSpec
from modelworks.protocol.manifest.server import Places, variables

pytestmark = pytest.mark.unit
REMEMBERS = Sequences((State("h", "h_out", axis=1), State("c", "c_out", "begin.npy")), max=7)
STATED = '{"state": [{"input": "h", "output": "h_out"}]}'


def told(*arguments, **environ):
    return ServerSettings.read(["--file", "m.onnx", *arguments], environ)


def spec(**said):
    return DeploymentSpec.model_validate({"model": "fraud:1.0.0", "target": "local", **said})


def test_on_is_the_default_cache_and_a_file_is_read(tmp_path):
    assert policy_of(told()).cache is None
    assert policy_of(told("--cache", "on")).cache == AnswerCache()
    path = tmp_path / "cache.json"
    path.write_text('{"max_bytes": 5000, "ttl_s": 7}')
    assert policy_of(told("--cache", str(path))).cache == AnswerCache(5000, 7)
    own = ServedModel("m", "1.0.0", "/m", "d", cache=AnswerCache(6000))
    policy = policy_of(told("--cache", "on"))
    assert policy.line(own).cache == AnswerCache(6000)
    assert policy.line(ServedModel("m", "1.0.0", "/m", "d")).cache == AnswerCache()
    for other in (
        ServedModel("m", "1.0.0", "/m", "d", format="graph"),
        ServedModel("m", "1.0.0", "/m", "d", sequences=REMEMBERS),
    ):
        assert policy.line(other).cache is None


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--cache", "nowhere.json"], "cannot be read"),
        (["--cache", "{"], "is no JSON"),
        (["--cache", '{"size": 1}'], "cache.size: unknown key"),
        (["--cache", '{"ttl_s": "x"}'], "cache.ttl_s"),
        (["--cache", '{"backend": "redis://a"}'], "give ttl_s"),
        (["--sequences", "{}"], "sequences.state: missing"),
        (["--sequences", STATED, "--cache", "on"], "say one of them"),
    ],
)
def test_what_cannot_be(arguments, said):
    with pytest.raises(InvalidError, match=said.replace(".", r"\.")):
        told(*arguments)


def test_whether_one_process_is_wanted(tmp_path):
    assert not keeps_sequences(told())
    assert keeps_sequences(told("--sequences", STATED))
    path = tmp_path / "served.json"
    for sequences in (None, REMEMBERS):
        model = ServedModel("m", "1.0.0", "/m", "d", sequences=sequences)
        write_served(path, ServedList(1, (model,)))
        settings = ServerSettings.read(["--served", str(path)], {})
        assert keeps_sequences(settings) == (sequences is not None)
        assert read_served(path).models == (model,)
    path.write_text("no list")
    assert not keeps_sequences(settings)


def test_what_a_manifest_says_is_what_the_server_reads():
    cache = {"max_bytes": "8Mi", "ttl_s": 60, "backend": "redis://cache:6379/1", "timeout_ms": 5}
    environ = variables(spec(cache=cache), Places())
    found = policy_of(told(**environ)).cache
    assert found == AnswerCache(8 << 20, 60, "redis://cache:6379/1", 5)
    states = [
        {"input": "h", "output": "h_out", "axis": 1},
        {"input": "c", "output": "c_out", "initial": "begin.npy"},
    ]
    environ = variables(spec(sequences={"state": states, "max": 7}), Places())
    assert policy_of(told(**environ)).sequences == REMEMBERS
    plain = variables(spec(), Places())
    assert not any("CACHE" in name or "SEQUENCES" in name for name in plain)


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ({"cache": {"ttl_s": -1}}, "ttl_s: -1.0 is not from"),
        ({"cache": {"backend": "redis://cache"}}, "give ttl_s"),
        ({"cache": {"backend": "redis://:a@cache", "ttl_s": 1}}, "from secrets"),
        ({"cache": {"size": 1}}, "Extra inputs"),
        ({"sequences": {"state": []}}, "at least 1"),
        ({"sequences": json.loads(STATED), "cache": {}}, "has no answer to keep"),
        ({"sequences": json.loads(STATED), "replicas": 2}, "can only be 1"),
        ({"sequences": json.loads(STATED), "server": {"workers": 2}}, "can only be 1"),
        ({"sequences": json.loads(STATED), "autoscaling": {"max": 2}}, "can only be 1"),
        ({"server": {"instances": [{"count": 33}, {"count": 32}]}}, "64 copies at most"),
    ],
)
def test_what_a_manifest_may_not_say(said, why):
    with pytest.raises(ValidationError, match=why):
        spec(**said)
