"""Settings of the edge: what is refused, what reaches the listener; open files for connections."""

import resource

import pytest

from modelworks.apps.server_doors import bind_grpc, with_files
from modelworks.apps.server_edge import EdgeSettings, arguments_of_edge
from modelworks.apps.server_settings import ServerSettings
from modelworks.core.errors import ConflictError, InvalidError
from modelworks.edge.limits import Limits
from modelworks.edge.listener import bind

pytestmark = pytest.mark.unit


def test_defaults_are_the_edges_own():
    found = EdgeSettings()
    found.check_edge()
    assert found.limits == Limits()
    assert found.tls is None
    assert found.mode == 0o600


def test_what_is_said_reaches_the_edge():
    said = ["--max-body", "100", "--header-seconds", "2", "--tls-cert", "c", "--client-ca", "a"]
    found = ServerSettings.read(
        ["--file", "m.onnx", *said], {"MODELWORKS_SERVER_IDLE_SECONDS": "5"}
    )
    limits = found.limits
    assert (limits.max_body_bytes, limits.header_timeout_s, limits.idle_timeout_s) == (100, 2, 5)
    assert found.tls is not None
    assert found.tls.key == found.tls.certificate
    assert str(found.tls.client_ca) == "a"


def test_a_body_may_be_larger_than_all_together_were():
    assert EdgeSettings(max_body=1 << 33).limits.max_buffered_bytes == 1 << 33


def test_the_second_port_is_another_one():
    assert bind_grpc(ServerSettings(file="m.onnx")) is None
    with pytest.raises(InvalidError, match="speaks gRPC too"):
        bind_grpc(ServerSettings(file="m.onnx", port=8001, grpc_port=8001))
    with bind("127.0.0.1", 0) as taken:
        taken.listen(1)
        port = taken.getsockname()[1]
        with pytest.raises(ConflictError, match="taken by another program"):
            bind_grpc(ServerSettings(file="m.onnx", grpc_port=port))


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"tls_key": "k"}, "tls_key"),
        ({"client_ca": "a"}, "client_ca"),
        ({"unix_only": True}, "unix_only"),
        ({"unix": "s", "unix_only": True, "tls_cert": "c"}, "tls_cert"),
        ({"unix": "s", "unix_only": True, "grpc_port": 8001}, "grpc_port"),
        ({"grpc_port": 70000}, "grpc_port"),
        ({"unix_mode": "0999"}, "unix_mode"),
        ({"unix_mode": "-1"}, "unix_mode"),
        ({"unix_mode": "7777"}, "unix_mode"),
        ({"access_log_format": "xml"}, "access_log_format"),
        ({"max_body": 0}, "max_body"),
        ({"max_inflated": 1 << 50}, "max_inflated"),
        ({"max_connections": 0}, "max_connections"),
        ({"header_seconds": 0}, "header_seconds"),
        ({"body_seconds": -1}, "body_seconds"),
        ({"idle_seconds": float("nan")}, "idle_seconds"),
        ({"idle_seconds": float("inf")}, "idle_seconds"),
    ],
)
def test_what_cannot_be_meant(wrong, field):
    with pytest.raises(InvalidError) as caught:
        EdgeSettings(**wrong).check_edge()
    assert caught.value.field == field


def test_options_and_back():
    given = {"tls_cert": "c", "unix_only": True, "unix": "s", "max_body": 5, "client_ca": None}
    del given["tls_cert"]
    assert arguments_of_edge(given) == ["--unix-only", "--unix", "s", "--max-body", "5"]
    found = ServerSettings.read(["--file", "m", *arguments_of_edge(given)], {})
    assert (found.unix_only, found.unix, found.max_body) == (True, "s", 5)
    with pytest.raises(InvalidError):
        arguments_of_edge({"max_body": 0})


@pytest.fixture
def files():
    """The limit of open files, put back afterwards."""
    old = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield lambda soft: resource.setrlimit(resource.RLIMIT_NOFILE, (soft, old[1]))
    resource.setrlimit(resource.RLIMIT_NOFILE, old)


def test_the_soft_limit_of_files_is_raised(files):
    files(300)
    limits = Limits(max_connections=400)
    assert with_files(limits) is limits
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == 2 * 400 + 256


def test_connections_are_no_more_than_files(files, monkeypatch, caplog):
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1024, 1024))
    monkeypatch.setattr(resource, "setrlimit", lambda *_: None)
    assert with_files(Limits()).max_connections == 1024 - 256
    assert "ulimit -n" in caplog.text
