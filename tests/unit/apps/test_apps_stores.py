"""What the environment says of stores, and what is refused before anything is reached."""

import pytest

from modelworks.apps.embed import Settings, settings_of
from modelworks.apps.stores import environment_of, stores_of
from modelworks.core.errors import InvalidError

pytestmark = pytest.mark.unit

KEYS = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "hush"}


def test_nothing_said_is_the_data_folder():
    found = stores_of({"MODELWORKS_DATABASE": "", "AWS_ACCESS_KEY_ID": "key"})
    assert (found.database, found.artifacts, found.access.config) == ("", "", {})


def test_the_command_line_is_over_the_environment():
    said = {"MODELWORKS_DATABASE": "postgresql://a/b", "MODELWORKS_ARTIFACTS": "s3://one/x"}
    found = stores_of(said, "postgresql://c/d", "gs://two")
    assert (found.database, found.artifacts) == ("postgresql://c/d", "gs://two")
    assert stores_of(said).database == "postgresql://a/b"
    assert environment_of(found)["MODELWORKS_ARTIFACTS"] == "gs://two"


def test_paths_are_told_in_full(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    found = stores_of({"MODELWORKS_DATABASE": "r.db", "MODELWORKS_ARTIFACTS": "blobs"})
    assert found.database == str(tmp_path / "r.db")
    assert found.artifacts == str(tmp_path / "blobs")


@pytest.mark.parametrize(
    ("artifacts", "environ", "config"),
    [
        (
            "s3://b",
            {**KEYS, "AWS_REGION": "eu-west-1", "AWS_ENDPOINT_URL": "https://minio:9000"},
            {
                "access_key_id": "key",
                "secret_access_key": "hush",
                "region": "eu-west-1",
                "endpoint": "https://minio:9000",
                "checksum_algorithm": "sha256",
            },
        ),
        ("s3://b", {"AWS_CHECKSUM_ALGORITHM": "none"}, {}),
        (
            "gs://b",
            {**KEYS, "GOOGLE_APPLICATION_CREDENTIALS": "/k.json"},
            {"application_credentials": "/k.json"},
        ),
        (
            "gs://b",
            {"STORAGE_EMULATOR_HOST": "localhost:4443"},
            {"base_url": "http://localhost:4443", "bearer_token": "emulator"},
        ),
        (
            "az://c",
            {"AZURE_STORAGE_ACCOUNT_NAME": "acc", "AZURE_STORAGE_SAS_TOKEN": "sv=1"},
            {"account_name": "acc", "sas_key": "sv=1"},
        ),
        ("blobs", KEYS, {}),
    ],
)
def test_each_cloud_has_its_own_variables(artifacts, environ, config):
    assert stores_of(environ, artifacts=artifacts).access.config == config


def test_secrets_are_not_shown():
    found = stores_of(KEYS, "postgresql://ada:hush@db/r", "s3://b")
    assert "hush" not in repr(found)
    assert "hush" not in repr(Settings.read({**KEYS, "MODELWORKS_ARTIFACTS": "s3://b"}))


@pytest.mark.parametrize(
    ("field", "text"),
    [
        ("MODELWORKS_DATABASE", "mysql://ada:hush@db/r"),
        ("MODELWORKS_DATABASE", "redis://db"),
        ("MODELWORKS_ARTIFACTS", "ftp://ada:hush@host/x"),
        ("MODELWORKS_ARTIFACTS", "memory://"),
    ],
)
def test_unknown_kinds_are_refused_with_the_known_ones(field, text):
    with pytest.raises(InvalidError) as caught:
        stores_of({field: text})
    assert caught.value.field == field
    assert "hush" not in caught.value.message
    assert "postgresql://" in caught.value.message or "s3://" in caught.value.message


@pytest.mark.parametrize("host", ["10.0.0.7:9000", "minio:9000", "127.0.0.1.example.com"])
def test_an_endpoint_without_tls_is_refused_unless_allowed(host):
    environ = {**KEYS, "AWS_ENDPOINT_URL": f"http://{host}"}
    with pytest.raises(InvalidError, match="without TLS"):
        stores_of(environ, artifacts="s3://b")
    allowed = stores_of({**environ, "MODELWORKS_ARTIFACTS_HTTP": "1"}, artifacts="s3://b")
    assert allowed.access.http
    assert stores_of(environ, artifacts="blobs").access.config == {}


@pytest.mark.parametrize("host", ["127.0.0.1:9000", "localhost:9000", "[::1]:9000"])
def test_this_machine_may_go_without_tls(host):
    assert stores_of({"AWS_ENDPOINT_URL": f"http://{host}"}, artifacts="s3://b").access.http
    assert not stores_of({"AWS_ENDPOINT_URL": "https://s3"}, artifacts="s3://b").access.http


def test_a_home_that_is_named_has_its_own_registry(monkeypatch, tmp_path):
    monkeypatch.setenv("MODELWORKS_DATABASE", "postgresql://db/r")
    assert settings_of().stores.database == "postgresql://db/r"
    assert settings_of(home=tmp_path).stores.database == ""
