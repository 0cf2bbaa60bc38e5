"""Which database and which bucket, from the environment: the one place that reads the clouds'."""

import ipaddress
from collections.abc import Mapping
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from modelworks.core.errors import InvalidError
from modelworks.core.home import Access, Stores

DATABASE: Final = "MODELWORKS_DATABASE"
ARTIFACTS: Final = "MODELWORKS_ARTIFACTS"
RECORDS: Final = "MODELWORKS_RECORDS"
HTTP: Final = "MODELWORKS_ARTIFACTS_HTTP"

_DATABASES: Final = ("postgresql", "postgres", "postgresql+psycopg", "sqlite")
_BUCKETS: Final = ("s3", "gs", "az", "abfss", "file")

# Setting of the object-store library <- the cloud's own variables, the first that is set.
_S3: Final = {
    "endpoint": ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"),
    "region": ("AWS_REGION", "AWS_DEFAULT_REGION"),
    "access_key_id": ("AWS_ACCESS_KEY_ID",),
    "secret_access_key": ("AWS_SECRET_ACCESS_KEY",),
    "session_token": ("AWS_SESSION_TOKEN",),
    "virtual_hosted_style_request": ("AWS_VIRTUAL_HOSTED_STYLE_REQUEST",),
    "checksum_algorithm": ("AWS_CHECKSUM_ALGORITHM",),
}
_GS: Final = {
    "base_url": ("GOOGLE_BASE_URL", "STORAGE_EMULATOR_HOST"),
    "bearer_token": ("GOOGLE_BEARER_TOKEN",),
    "service_account": ("GOOGLE_SERVICE_ACCOUNT",),
    "application_credentials": ("GOOGLE_APPLICATION_CREDENTIALS",),
}
_AZ: Final = {
    "account_name": ("AZURE_STORAGE_ACCOUNT_NAME", "AZURE_STORAGE_ACCOUNT"),
    "account_key": ("AZURE_STORAGE_ACCOUNT_KEY", "AZURE_STORAGE_KEY"),
    "sas_key": ("AZURE_STORAGE_SAS_TOKEN", "AZURE_STORAGE_SAS_KEY"),
    "endpoint": ("AZURE_STORAGE_ENDPOINT", "AZURE_ENDPOINT_URL"),
    "client_id": ("AZURE_CLIENT_ID",),
    "client_secret": ("AZURE_CLIENT_SECRET",),
    "tenant_id": ("AZURE_TENANT_ID",),
}
_OF_SCHEME: Final = {"s3": _S3, "gs": _GS, "az": _AZ, "abfss": _AZ}
_ENDPOINTS: Final = ("endpoint", "base_url")


def stores_of(environ: Mapping[str, str], database: str = "", artifacts: str = "") -> Stores:
    """The stores that a process is told to use; an empty variable counts as not set.

    Args:
        environ: environment variables.
        database: given on the command line, in place of `MODELWORKS_DATABASE`.
        artifacts: given on the command line, in place of `MODELWORKS_ARTIFACTS`.

    Raises:
        InvalidError: a kind of URL that is not known, or an endpoint without TLS that is not on
            this machine; `field` names the variable.
    """
    database = database or environ.get(DATABASE, "")
    artifacts = artifacts or environ.get(ARTIFACTS, "")
    _known(database, _DATABASES, DATABASE, "postgresql://user@host/database, or a SQLite file")
    records = environ.get(RECORDS, "")
    for place, variable in ((artifacts, ARTIFACTS), (records, RECORDS)):
        _known(place, _BUCKETS, variable, "s3://, gs://, az://, abfss://, or a folder")
    return Stores(
        _place(database),
        _place(artifacts),
        _access(artifacts, environ, ARTIFACTS),
        _place(records),
        _access(records, environ, RECORDS),
    )


def environment_of(stores: Stores) -> dict[str, str]:
    """The variables that tell a child process of these stores, never its command line."""
    return {DATABASE: stores.database, ARTIFACTS: stores.artifacts, RECORDS: stores.records}


def _known(text: str, schemes: tuple[str, ...], field: str, wanted: str) -> None:
    scheme, separator, _ = text.partition("://")
    if separator and scheme not in schemes:
        raise InvalidError(f"{field}: '{scheme[:20]}://' is not known; {wanted}", field=field)


def _place(text: str) -> str:
    """A path in full, whatever folder a child process runs in; a URL as it is."""
    if not text or "://" in text:
        return text
    try:
        return str(Path(text).expanduser().absolute())
    except RuntimeError as error:
        raise InvalidError(f"{text}: no such user's home; name the path in full") from error


def _access(place: str, environ: Mapping[str, str], field: str) -> Access:
    scheme = place.partition("://")[0] if "://" in place else ""
    config = {}
    for name, variables in _OF_SCHEME.get(scheme, {}).items():
        found = next((environ[v] for v in variables if environ.get(v)), "")
        if found:
            config[name] = found
    if scheme == "s3" and config.setdefault("checksum_algorithm", "sha256").lower() == "none":
        del config["checksum_algorithm"]  # for stores that know S3 without its checksums
    if environ.get("STORAGE_EMULATOR_HOST") and scheme == "gs":
        host = config["base_url"]
        config["base_url"] = host if "://" in host else f"http://{host}"
        config.setdefault("bearer_token", "emulator")
    endpoint = next((config[name] for name in _ENDPOINTS if name in config), "")
    return Access(config, http=_plain(endpoint, field, allowed=environ.get(HTTP) == "1"))


def _plain(endpoint: str, field: str, *, allowed: bool) -> bool:
    """Whether the endpoint goes without TLS.

    Raises:
        InvalidError: it does, to another machine, and nobody said that it may.
    """
    parts = urlsplit(endpoint)
    if parts.scheme != "http":
        return False
    if not allowed and not _here(parts.hostname or ""):
        raise InvalidError(
            f"{field}: the endpoint http://{parts.hostname} is on another machine and without "
            f"TLS: what lies there and credentials could be read and changed on the way; use "
            f"https, or say {HTTP}=1",
            field=field,
        )
    return True


def _here(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
