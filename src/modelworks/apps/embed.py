"""Composition root of the SDK and the command line: which home, control plane and server."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from modelworks.apps.limits import limits_of
from modelworks.apps.stores import stores_of
from modelworks.client.client import BaseClient
from modelworks.client.tls import ClientTls
from modelworks.client.transport import Transport
from modelworks.core.errors import InvalidError, MissingExtraError
from modelworks.core.home import Home, Stores
from modelworks.sandbox.limits import Limits

if TYPE_CHECKING:
    from modelworks.control.service import Factory

DEFAULT_SERVER = "http://127.0.0.1:8000"
_AT_HOME = Stores()
_LIMITS = Limits()
_NO_TLS = ClientTls()


@dataclass(frozen=True, slots=True)
class Settings:
    """What the environment says.

    Attributes:
        home: the data folder (`MODELWORKS_HOME`).
        url: of a control plane (`MODELWORKS_URL`); empty = the registry in `home`, in-process.
        server: of the model server that predictions go to (`MODELWORKS_SERVER`).
        stores: of the registry in this process (`MODELWORKS_DATABASE`, `MODELWORKS_ARTIFACTS`).
        limits: of imports in this process (`MODELWORKS_IMPORT_MEMORY`,
            `MODELWORKS_IMPORT_SECONDS`).
        tls: of both, where they speak https (`MODELWORKS_CA`, `MODELWORKS_CLIENT_CERT`,
            `MODELWORKS_CLIENT_KEY`).
        key: an API key for both (`MODELWORKS_KEY`); empty = none.
    """

    home: Home
    url: str = ""
    server: str = DEFAULT_SERVER
    stores: Stores = _AT_HOME
    limits: Limits = _LIMITS
    tls: ClientTls = _NO_TLS
    key: str = field(default="", repr=False)

    @classmethod
    def read(cls, environ: Mapping[str, str] | None = None) -> "Settings":
        """From environment variables; an empty one counts as not set."""
        found = os.environ if environ is None else environ
        root = found.get("MODELWORKS_HOME") or "~/.modelworks"
        return cls(
            home=Home(_folder(root)),
            url=found.get("MODELWORKS_URL", ""),
            server=found.get("MODELWORKS_SERVER") or DEFAULT_SERVER,
            stores=stores_of(found),
            limits=limits_of(found),
            tls=ClientTls(
                ca=found.get("MODELWORKS_CA", ""),
                certificate=found.get("MODELWORKS_CLIENT_CERT", ""),
                key=found.get("MODELWORKS_CLIENT_KEY", ""),
            ),
            key=found.get("MODELWORKS_KEY", ""),
        )


def _folder(text: str) -> Path:
    """The folder, `~` spelt out.

    Raises:
        InvalidError: nobody has such a home.
    """
    try:
        return Path(text).expanduser()
    except RuntimeError as error:
        raise InvalidError(
            f"data folder {text}: no such user's home; name the folder in full",
            field="MODELWORKS_HOME",
        ) from error


def settings_of(
    url: str | None = None, home: str | Path | None = None, server: str | None = None
) -> Settings:
    """What a caller gave, over what the environment says.

    Args:
        url: of a control plane.
        home: data folder; without `url` it means the registry in it, wherever the environment
            says that another one keeps its stores.
        server: of the model server.
    """
    found = Settings.read()
    local = home is not None and url is None
    return Settings(
        home=Home(_folder(str(home))) if home is not None else found.home,
        url=url if url is not None else "" if local else found.url,
        server=server or found.server,
        stores=found.stores if home is None else _AT_HOME,
        limits=found.limits,
        tls=found.tls,
        key=found.key,
    )


def local(home: Home, stores: Stores = _AT_HOME, limits: Limits = _LIMITS) -> "Factory":
    """The registry and everything that needs it, in this process.

    Args:
        home: the data folder.
        stores: where rows and files are, where that is not the data folder.
        limits: of imports.

    Raises:
        MissingExtraError: its libraries are not installed.
    """
    try:
        from modelworks.control.service import Factory  # noqa: PLC0415 - SQLAlchemy is an extra

        return Factory(home, stores=stores, limits=limits)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("modelworks"):
            raise
        raise MissingExtraError("the registry", "platform", error.name) from error


def connect(settings: Settings) -> Transport:
    """The control plane: over HTTP where a URL is given, else in this process.

    Raises:
        MissingExtraError: the registry's libraries are not installed.
    """
    if settings.url:
        from modelworks.client.http import HttpTransport  # noqa: PLC0415 - not needed in-process

        return HttpTransport(settings.url, settings.tls, settings.key)
    return local(settings.home, settings.stores, settings.limits)


class Client(BaseClient):
    """Everything that the command line does, from Python.

        client = modelworks.Client()
        version = client.import_model(ImportRequest(file=Path("model.joblib"), name="fraud"))
        client.predict("fraud", [{"age": 41, "income": 52000}])

    Args:
        url: of a control plane; None = `MODELWORKS_URL`, or else the registry on this machine.
        home: data folder of that registry; None = `MODELWORKS_HOME` or `~/.modelworks`. Giving
            it means the registry in it even where `MODELWORKS_URL` or `MODELWORKS_DATABASE` is
            set.
        server: of the model server for `predict` and `infer`; None = `MODELWORKS_SERVER`, or
            else http://127.0.0.1:8000. `unix:///path` is a server's Unix socket.
        tls: for https; None = `MODELWORKS_CA`, `MODELWORKS_CLIENT_CERT`, `MODELWORKS_CLIENT_KEY`.
        key: an API key for both; None = `MODELWORKS_KEY`.
    """

    def __init__(
        self,
        url: str | None = None,
        home: str | Path | None = None,
        server: str | None = None,
        tls: ClientTls | None = None,
        key: str | None = None,
    ) -> None:
        settings = settings_of(url, home, server)
        settings = settings if tls is None else replace(settings, tls=tls)
        settings = settings if key is None else replace(settings, key=key)
        super().__init__(lambda: connect(settings), settings.server, settings.tls, settings.key)
