"""The server's settings: where they come from, and what is refused."""

from dataclasses import replace

import pytest

from modelworks.apps.server_announce import url_of, warn_if_open
from modelworks.apps.server_settings import AUTO, ServerSettings
from modelworks.core.errors import InvalidError

pytestmark = pytest.mark.unit


def read(*arguments, **environ):
    return ServerSettings.read(arguments, {f"MODELWORKS_SERVER_{k}": v for k, v in environ.items()})


def test_defaults_are_safe():
    found = read("--served", "list.json")
    assert (found.host, found.port, found.workers) == ("127.0.0.1", 8000, 1)
    assert not found.with_parent
    assert found.single() is None


def test_the_command_line_wins_over_the_environment():
    found = read("--port", "9", SERVED="list.json", PORT="7", WORKERS="3", WITH_PARENT="1")
    assert (found.served, found.port, found.workers) == ("list.json", 9, 3)
    assert found.with_parent


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        ({"WORKRES": "2"}, "WORKRES is no setting"),
        ({"WORKER": "x"}, "no setting"),
        ({"PORT": "many"}, "no int"),
        ({"WITH_PARENT": "yes"}, "0 or 1"),
        ({"PORT": "65536"}, "65535"),
        ({"THREADS": "0"}, "nor auto"),
        ({"WORKERS": "automatic"}, "nor auto"),
        ({"FILE": "b.onnx"}, "one of them"),
        ({"SHARE_PORT": "1", "PORT": "0"}, "goes with a port"),
        ({"SHARE_PORT": "maybe"}, "0 or 1"),
    ],
)
def test_what_cannot_be_meant_is_refused(environ, said):
    with pytest.raises(InvalidError, match=said):
        read(**{"SERVED": "list.json", **environ})


def test_workers_and_threads_may_be_left_to_a_calibration():
    assert read("--workers", "auto", SERVED="l").workers == AUTO
    assert read(SERVED="l", WORKERS="auto", THREADS="2") == replace(
        read("--threads", "2", SERVED="l"), workers=AUTO
    )


def test_other_programs_keys_are_not_ours():
    found = ServerSettings.read(["--file", "a"], {"MODELWORKS_SERVER": "http://x", "HOME": "/"})
    assert found.file == "a"


@pytest.mark.parametrize(
    ("file", "name", "wanted"),
    [
        ("Fraud Model.v2.onnx", "", "fraud-model-v2"),
        ("___.onnx", "", "model"),
        ("a.onnx", "fraud", "fraud"),
    ],
)
def test_one_file_is_a_list_of_one(file, name, wanted):
    served = ServerSettings(file=file, name=name).single()
    assert [model.name for model in served.models] == [wanted]


def test_a_name_that_is_none_is_refused():
    with pytest.raises(InvalidError, match="no model name"):
        ServerSettings(file="a.onnx", name="No Name").single()


@pytest.mark.parametrize(
    ("host", "url", "open_"),
    [
        ("127.0.0.1", "http://127.0.0.1:80", False),
        ("localhost", "http://localhost:80", False),
        ("::1", "http://[::1]:80", False),
        ("0.0.0.0", "http://127.0.0.1:80", True),
        ("::", "http://[::1]:80", True),
        ("10.0.0.5", "http://10.0.0.5:80", True),
    ],
)
def test_urls_and_warnings(host, url, open_):
    assert url_of(host, 80) == url
    settings = ServerSettings(file="a.onnx", host=host)
    assert ("everybody who reaches" in warn_if_open(settings)) is open_
    told = warn_if_open(replace(settings, keys="k"))
    assert ("without TLS" in told) is open_  # the keys themselves could be read on the way
    assert warn_if_open(replace(settings, keys="k", tls_cert="c")) == ""
