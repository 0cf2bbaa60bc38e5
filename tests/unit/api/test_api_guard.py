"""What a browser can be tricked into sending is turned away; bodies have a limit."""

import pytest

from modelworks.api.app import BODY_BYTES

pytestmark = pytest.mark.unit

MODELS, COLLECT = "/api/v1/models", "/api/v1/collect"
JSON = {"content-type": "application/json"}


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.0.0.1:8080",
        "127.8.8.8",
        "localhost:1",
        "LOCALHOST",
        "[::1]:8080",
        "console.example",
    ],
)
def test_our_own_names_are_served(unchanged, host):
    assert unchanged.client.get(MODELS, headers={"host": host}).status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        "",
        "evil.example",
        "evil.example:8080",
        "127.0.0.1.evil.example",
        "localhost.evil.example",
        "evil.example@127.0.0.1.evil.example",
        "10.0.0.1",
        "0.0.0.0",
        "[::2]",
        "[",
        "[::1",
    ],
)
def test_other_names_are_refused_whatever_they_resolve_to(unchanged, host):
    answer = unchanged.client.get(MODELS, headers={"host": host})
    assert answer.status_code == 403
    assert answer.json()["field"] == "host"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"origin": "http://127.0.0.1"}, 200),
        ({"origin": "http://127.0.0.1", "sec-fetch-site": "same-origin"}, 200),
        ({"sec-fetch-site": "none"}, 200),
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "http://127.0.0.1:9999"}, 403),
        ({"origin": "http://127.0.0.1.evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": ""}, 403),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"sec-fetch-site": "same-site"}, 403),
    ],
)
def test_changes_come_from_our_own_pages_only(unchanged, headers, status):
    answer = unchanged.client.post(COLLECT, headers=headers)
    assert answer.status_code == status
    if status == 403:
        assert answer.json()["field"] == "origin"


def test_reading_from_another_page_is_not_ours_to_refuse(unchanged):
    """Without CORS headers the browser does not show the answer to the page."""
    answer = unchanged.client.get(MODELS, headers={"origin": "http://evil.example"})
    assert answer.status_code == 200
    assert not [name for name in answer.headers if name.startswith("access-control")]


@pytest.mark.parametrize("announced", [True, False])
def test_a_body_over_the_limit(unchanged, announced):
    size = BODY_BYTES + 1
    content = b"x" * size if announced else iter([b"x" * 65536] * (size // 65536 + 1))
    answer = unchanged.client.put(f"{MODELS}/fraud/aliases/champion", content=content, headers=JSON)
    assert answer.status_code == 413
    assert answer.json()["field"] == "body"


def test_an_upload_over_its_limit(unchanged):
    answer = unchanged.client.post("/api/v1/imports", files={"file": ("m.onnx", b"x" * (2 << 20))})
    assert answer.status_code == 413
    chunks = iter(
        [
            b'--b\r\nContent-Disposition: form-data; name="file"; filename="m"\r\n\r\n',
            *[b"x" * 65536] * 20,
        ]
    )
    answer = unchanged.client.post(
        "/api/v1/imports",
        content=chunks,
        headers={"content-type": "multipart/form-data; boundary=b"},
    )
    assert answer.status_code == 413
    assert list(unchanged.factory.home.run.iterdir()) == []


@pytest.mark.parametrize("length", ["-1", "x", "9" * 40])
def test_a_length_that_lies_is_no_way_around(unchanged, length):
    answer = unchanged.client.put(
        f"{MODELS}/fraud/aliases/champion",
        content=iter([b"x" * 65536] * 20),
        headers={**JSON, "content-length": length},
    )
    assert answer.status_code == 413
