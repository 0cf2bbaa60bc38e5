"""OpenAI's API behind routes: keys open their models alone, and their quotas of tokens count."""

import hashlib
import time

import httpx
import openai
import orjson
import pytest

from modelworks.core.codec import encode
from modelworks.core.errors import UnsupportedError
from modelworks.core.routes import Arm, Limit, Pass, Route, Shadow, Snapshot
from modelworks.core.served import ServedModel
from modelworks.protocol.routes import spans
from modelworks.testing.servers import Server, serve_list
from tiny_decoder import tiny_decoder

pytestmark = pytest.mark.real
REST = " two three four five six seven eight nine ten."


def line(name, path, version="1.0.0", **more):
    return ServedModel(
        name, version, str(path), f"sha256:{name}", format="genai", engine="genai", **more
    )


def digest(key):
    return hashlib.sha256(key.encode()).hexdigest()


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("routed")
    story = tiny_decoder(folder / "story")
    models = [line("story", story), line("other", story), line("theirs", story, tenant="b")]
    routes = (
        Route("tale", (Arm("only", "story", "1.0.0"),), spans((), {"only": 1}), model="tale"),
        Route(
            *("copied", (Arm("only", "story", "1.0.0"), Arm("next", "other", "1.0.0"))),
            spans((), {"only": 1}),
            model="copied",
            shadows=(Shadow("next", 1.0),),
        ),
    )
    keys = {
        digest("all"): Pass("all"),
        digest("story"): Pass("story", models=("story", "tale")),
        digest("short"): Pass("short", tokens=60, tokens_s=3600.0),
        digest("once"): Pass("once", tokens=60, tokens_s=3600.0),
        digest("rare"): Pass("rare", limit=Limit(quota=2)),
    }
    file = folder / "routes.json"
    file.write_bytes(orjson.dumps(encode(Snapshot(1, routes, keys))))
    listed = serve_list(folder / "served.json", models)
    with Server(["--served", str(listed), "--routes", str(file)]) as server:
        end = time.monotonic() + 60
        while httpx.get(f"{server.url}/v2/health/ready").status_code != 200:
            assert time.monotonic() < end, "it did not become ready"
            time.sleep(0.02)
        yield server


@pytest.fixture
def client(server):
    made = []

    def of(key):
        made.append(openai.OpenAI(base_url=f"{server.url}/v1", api_key=key, max_retries=0))
        return made[-1]

    yield of
    for one in made:
        one.close()


def say(client, model="story", **more):
    found = client.chat.completions.create(
        model=model, messages=[{"role": "user", "content": "hello"}], temperature=0, **more
    )
    return found.choices[0].message.content


def test_a_key_opens_its_models_and_no_others(client):
    mine = client("story")
    assert say(mine) == say(mine, "tale") == REST
    assert {model.id for model in mine.models.list()} == {
        *("story", "story:1.0.0", "story:backwards"),
    }
    with pytest.raises(openai.PermissionDeniedError):
        say(mine, "other")
    for missing in ("other", "nobody"):
        with pytest.raises(openai.NotFoundError) as caught:
            mine.models.retrieve(missing)
        assert "theirs" not in caught.value.message
    with pytest.raises(openai.NotFoundError):
        say(client("all"), "theirs")
    assert "theirs" not in {model.id for model in client("all").models.list()}
    with pytest.raises(openai.NotFoundError):
        say(client("all"), "nobody")


@pytest.mark.parametrize("path", ["chat/completions", "completions", "embeddings"])
def test_nobody_without_a_key_learns_what_is_wrong_with_his_request(server, path):
    found = httpx.post(f"{server.url}/v1/{path}", content=b"{")
    assert found.status_code == 401
    assert "JSON" not in found.text


def test_models_are_told_to_nobody_without_a_key(server, client):
    assert httpx.get(f"{server.url}/v1/models").status_code == 401
    assert httpx.get(f"{server.url}/v1/models/story").status_code == 401
    with pytest.raises(openai.AuthenticationError):
        say(client("wrong"))


def test_requests_are_counted_as_all_others(client):
    rare = client("rare")
    assert say(rare) == say(rare) == REST
    with pytest.raises(openai.RateLimitError):
        say(rare)


def test_a_quota_of_tokens_is_used_up_and_generate_counts_on_it_too(server, client):
    short = client("short")
    assert say(short) == REST  # more than half of the quota, with its prompt
    url = f"{server.url}/v2/models/story/generate"
    headers = {"Authorization": "Bearer short"}
    body = {"text_input": "one two", "temperature": 0}
    statuses = [httpx.post(url, json=body, headers=headers).status_code for _ in range(4)]
    assert statuses[0] == 200
    assert statuses[-1] == 429
    with pytest.raises(openai.RateLimitError) as caught:
        say(short)
    assert "tokens of key default short" in caught.value.message
    assert int(caught.value.response.headers["retry-after"]) > 60
    assert say(client("all")) == REST


def test_copies_for_shadows_are_not_charged(server, client):
    once = client("once")
    assert say(once, "copied") == REST  # more than half of the quota
    counted = 'modelworks_route_copies_total{route="copied",arm="next",outcome="answered"} 1'
    end = time.monotonic() + 60
    while counted not in httpx.get(f"{server.url}/metrics").text:
        assert time.monotonic() < end, "the copy was not answered"
        time.sleep(0.02)
    assert say(once) == REST
    with pytest.raises(openai.RateLimitError):
        say(once)


def test_a_gateway_refuses_what_it_cannot_count():
    from modelworks.gateway.table import _refuse_tokens

    with pytest.raises(UnsupportedError, match="gateway counts none"):
        _refuse_tokens(Snapshot(1, (), {digest("a"): Pass("a", tokens=1)}))
