"""The control plane and `modelworks up` behind API keys and TLS, as processes."""

import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
from urllib.parse import urlencode, urlsplit

import pytest

import modelworks
from certificates import Authority
from modelworks.client.http import HttpTransport
from modelworks.client.tls import ClientTls
from modelworks.control.service import Factory
from modelworks.core.errors import ForbiddenError, UnauthenticatedError, UnavailableError
from modelworks.core.key_file import KeyFile
from modelworks.core.keys import Role
from modelworks.core.tensor import Datatype, Layout, Signature, TensorSpec
from modelworks.testing import onnx_models as models
from modelworks.testing.candidates import candidate

pytestmark = pytest.mark.real
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def pair(authority, tmp_path):
    made = authority.pair("server")
    found = tmp_path / "cert.pem", tmp_path / "key.pem"
    shutil.copy(made.certificate, found[0])
    shutil.copy(made.key, found[1])
    found[1].chmod(0o600)
    return found


@pytest.fixture
def file(tmp_path):
    return KeyFile(tmp_path / "keys")


def until(true, seconds=30.0):
    end = time.monotonic() + seconds
    while not (found := true()):
        assert time.monotonic() < end, "it did not come about in time"
        time.sleep(0.05)
    return found


@contextlib.contextmanager
def ended(process):
    """Ended by a signal, whatever happens."""
    try:
        yield process
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate(timeout=30)


@contextlib.contextmanager
def control(home, tmp_path, pair, *more):
    announce = tmp_path / "announce.json"
    command = [sys.executable, "-m", "modelworks.apps.control", "--home", str(home.root)]
    command += ["--port", "0", "--announce", str(announce), "--keys", str(tmp_path / "keys")]
    command += ["--tls-cert", str(pair[0]), "--tls-key", str(pair[1]), *more]
    log = (tmp_path / "log").open("wb")
    with log, ended(subprocess.Popen(command, stderr=log, stdout=log)) as process:
        until(lambda: announce.exists() or process.poll() is not None)
        yield json.loads(announce.read_text())["url"]


def served_by(url, authority):
    """The certificate that a new handshake is shown."""
    client = ssl.create_default_context(cafile=authority.certificate)
    parts = urlsplit(url)
    with (
        socket.create_connection((parts.hostname, parts.port), timeout=10) as sock,
        client.wrap_socket(sock, server_hostname="127.0.0.1") as secure,
    ):
        return secure.getpeercert(binary_form=True)


def test_keys_and_tls(home, tmp_path, pair, file, authority):
    ana, ops = file.add("ana", Role.READ), file.add("ops", Role.ADMIN)
    with Factory(home) as factory:
        factory.publish(candidate(tmp_path / "work", b"model", "fraud"))
    tls = ClientTls(ca=str(authority.certificate))
    with control(home, tmp_path, pair) as url, contextlib.ExitStack() as stack:
        assert url.startswith("https://")

        def asked(key, given=tls):
            transport = HttpTransport(url, given, key)
            stack.callback(transport.close)
            return transport

        assert [model.name for model in asked(ana).models()] == ["fraud"]
        assert asked(ops).set_alias("fraud", "champion", "1.0.0").name == "champion"
        version = asked(ana).show("fraud@champion")
        assert asked(ana).materialise(version, tmp_path / "cache").is_dir()
        with pytest.raises(ForbiddenError):
            asked(ana).remove_alias("fraud", "champion")
        with pytest.raises(UnauthenticatedError, match="MODELWORKS_KEY"):
            asked("").models()
        with pytest.raises(UnavailableError, match="not trusted"):
            asked(ana, ClientTls()).models()
        open_one = asked(ana)
        assert open_one.models()
        file.revoke("ana")
        time.sleep(2)
        with pytest.raises(UnauthenticatedError, match="revoked"):
            open_one.models()
        assert asked(ops).models()
        first = served_by(url, authority)
        kept = asked(ops)
        assert kept.models()
        renewed = authority.pair("renewed")
        shutil.copy(renewed.certificate, pair[0])  # for a moment, it does not fit its key
        time.sleep(1.5)
        assert served_by(url, authority) == first
        shutil.copy(renewed.key, pair[1])
        until(lambda: served_by(url, authority) != first)
        assert kept.models()  # a connection that was open stays so
        assert asked(ops).models()
    log = (tmp_path / "log").read_text()
    assert "the last ones stay" in log
    assert not [key for key in (ana, ops) if key in log]


def test_a_model_inside_a_program_brings_the_key(
    home, tmp_path, pair, file, authority, monkeypatch
):
    shop, ana = file.add("shop", Role.PREDICT), file.add("ana", Role.READ)
    model = models.double(tmp_path / "double.onnx")
    tensors = [(TensorSpec(name, Datatype.FP32, (None, 3)),) for name in "xy"]
    signature = Signature(*tensors, Layout.MATRIX)
    with Factory(home) as factory:
        content = model.read_bytes()
        factory.publish(candidate(tmp_path / "work", content, "double", signature=signature))
    monkeypatch.setenv("MODELWORKS_CA", str(authority.certificate))
    with control(home, tmp_path, pair) as url:

        def loaded(key):
            monkeypatch.setenv("MODELWORKS_KEY", key)
            return modelworks.load("double", url=url, home=tmp_path / "elsewhere")

        with loaded(ana) as session:
            assert session.predict([[1, 2, 3]])[0]["outputs"] == {"y": [2.0, 4.0, 6.0]}
        shutil.rmtree(tmp_path / "elsewhere")
        with pytest.raises(ForbiddenError, match="predict"):
            loaded(shop)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--keys", "{}/none"], "no key file"),
        (["--tls-cert", "{}/none"], "cannot be read"),
        (["--tls-cert", "", "--tls-key", "{}/key.pem"], "goes with tls_cert"),
    ],
)
def test_what_cannot_be_used_is_said(home, tmp_path, pair, file, more, words):
    file.add("ana", Role.READ)
    told = [word.format(tmp_path) for word in more]
    with pytest.raises(FileNotFoundError), control(home, tmp_path, pair, *told):
        pass
    assert words in (tmp_path / "log").read_text()


def test_up_behind_keys_and_tls(home, tmp_path, pair, file, authority):
    ana = file.add("ana", Role.READ)
    with Factory(home) as factory:
        factory.publish(candidate(tmp_path / "work", b"model", "fraud"))
    command = [sys.executable, "-m", "modelworks.cli.main", "up", "--port", "0", "--json"]
    command += ["--control-port", "0", "--keys", str(tmp_path / "keys")]
    command += ["--tls-cert", str(pair[0]), "--tls-key", str(pair[1])]
    environ = {**os.environ, "MODELWORKS_HOME": str(home.root)}
    with ended(
        subprocess.Popen(command, stdout=subprocess.PIPE, env=environ, text=True)
    ) as process:
        urls = json.loads(process.stdout.readline())
        assert all(url.startswith("https://") for url in urls.values())
        environ |= {"MODELWORKS_CA": str(authority.certificate), "MODELWORKS_URL": urls["control"]}

        def typed(key, *words):
            told = {**environ, "MODELWORKS_KEY": key}
            line = [sys.executable, "-m", "modelworks.cli.main", *words]
            return subprocess.run(line, env=told, capture_output=True, text=True, check=False)

        assert "fraud" in typed(ana, "models").stdout
        refused = typed("", "models")
        assert refused.returncode == 4
        assert "MODELWORKS_KEY" in refused.stderr
        spaced = typed(f"{ana}\n", "models")
        assert spaced.returncode == 4
        assert ana not in spaced.stderr
        client = ssl.create_default_context(cafile=authority.certificate)
        parts = urlsplit(urls["control"])
        browser = http.client.HTTPSConnection(parts.hostname, parts.port, context=client)
        with contextlib.closing(browser):
            browser.request("POST", "/console/login", urlencode({"key": ana}), FORM)
            answer = browser.getresponse()
            answer.read()
            assert answer.status == 303
            cookie = answer.headers["Set-Cookie"].partition(";")[0]
            assert "Secure" in answer.headers["Set-Cookie"]

            def page():
                browser.request("GET", "/", headers={"Cookie": cookie})
                return browser.getresponse().read().decode()

            # The server's figures come over its TLS port, of which all that is asked is open.
            until(lambda: urls["server"] in page() and "does not answer" not in page())
