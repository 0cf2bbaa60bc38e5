"""An engine over its API: what it says, as the errors of this house."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import docker
import requests
from docker.errors import APIError, DockerException, NotFound
from docker.tls import TLSConfig

from modelworks.core.errors import ConflictError, InvalidError, NotFoundError, UnavailableError
from modelworks.ext.targets.containers import names

SETTINGS: Final[Mapping[str, str]] = {
    "host": "address of the engine: unix:///var/run/docker.sock, ssh://user@host or "
    "tcp://host:2376; unset = as DOCKER_HOST says, else this machine's",
    "certificates": "folder with ca.pem, cert.pem and key.pem, for tcp:// with TLS",
}
"""How an engine is reached."""
_WAIT_S: Final = 30
_PULL_S: Final = 900
_WORDS: Final = 300
_HERE: Final = "127.0.0.1"
_TAKEN: Final = ". Somebody else has the port: say another in access.port"
_KNOWN: Final = (
    ("port is already allocated", "access.port", _TAKEN),
    ("address already in use", "access.port", _TAKEN),
    ("CPUs", "resources.cpu_limit", ""),
    (
        "tcp_migrate_req",
        "target.settings.network",
        ". The engine's kernel is older than Linux 5.14: say target.settings.network: host",
    ),
)
"""Words of the engine, the field that they are about, and the cure."""


def known(settings: Mapping[str, str], names_of: Mapping[str, str]) -> None:
    """Refuse settings that a target has not.

    Raises:
        InvalidError: there is one; `field` names it.
    """
    for name in settings:
        if name not in names_of:
            listed = ", ".join(sorted(names_of))
            raise InvalidError(
                f"'{name}' is no setting of this target; known are: {listed}",
                field=f"target.settings.{name}",
            )


def network_of(settings: Mapping[str, str], choices: Sequence[str]) -> str:
    """The setting `network`; the first choice where it is not said.

    Raises:
        InvalidError: it is none of them.
    """
    said = settings.get("network", choices[0])
    if said not in choices:
        listed = " or ".join(choices)
        raise InvalidError(f"network is {listed}, not '{said}'", field="target.settings.network")
    return said


class Engine:
    """One engine; reached when it is first asked.

    Args:
        settings: of the target, see `SETTINGS`.
    """

    def __init__(self, settings: Mapping[str, str]) -> None:
        self._host = settings.get("host", "")
        self._certificates = settings.get("certificates", "")
        if self._host and urlsplit(self._host).scheme not in {"unix", "ssh", "tcp", "http+unix"}:
            raise InvalidError(
                f"'{self._host}' is no address of an engine: unix://, ssh:// or tcp:// is wanted",
                field="target.settings.host",
            )

    @property
    def address(self) -> str:
        """What DOCKER_HOST would say; "" = nothing."""
        return self._host

    @property
    def certificates(self) -> str:
        """The folder of them; "" = there is none."""
        return self._certificates

    @property
    def name(self) -> str:
        """Host at which published ports answer."""
        return urlsplit(self.api.base_url).hostname or _HERE if self.remote else _HERE

    @property
    def remote(self) -> bool:
        """Whether it is another machine's."""
        base = urlsplit(self.api.base_url)
        return base.scheme in {"http", "https", "ssh"} and base.hostname not in {
            None,
            "localhost",
            _HERE,
            "localunixsocket",
        }

    @cached_property
    def api(self) -> Any:
        """Of the SDK, one method a call of the Engine's API.

        Raises:
            UnavailableError: nobody answers there.
        """
        with asked("the engine"):
            if not self._host:
                return docker.from_env(version="auto", timeout=_WAIT_S).api
            return docker.APIClient(self._host, "auto", _WAIT_S, tls=self._tls())

    def containers(self, deployment: str) -> list[dict[str, Any]]:
        """All containers of a deployment as `inspect` shows them, by name."""
        filters = {"label": f"{names.DEPLOYMENT}={deployment}"}
        with asked("the list of containers"):
            listed = self.api.containers(all=True, filters=filters)
        found = [self.inspect(one["Id"]) for one in listed]
        return sorted((one for one in found if one), key=lambda one: str(one["Name"]))

    def inspect(self, container: str) -> dict[str, Any] | None:
        """One container; None = there is none."""
        with asked(f"the container {container}"):
            try:
                seen: dict[str, Any] = self.api.inspect_container(container)
            except NotFound:
                return None
        return seen

    def words(self, container: str) -> str:
        """The last line of its log; "" = it said nothing, or it is gone."""
        try:
            said: bytes = self.api.logs(container, tail=5)
        except (DockerException, requests.RequestException):
            return ""
        lines = [line.strip() for line in said.decode(errors="replace").splitlines()]
        last = next((line for line in reversed(lines) if line), "")
        return last if len(last) <= _WORDS else f"{last[: _WORDS - 3]}..."

    def provide(self, image: str, pull: str) -> None:
        """Have an image.

        Args:
            image: by digest, or an engine's own id.
            pull: `missing`, `always` or `never`.

        Raises:
            InvalidError: there is none of this name.
            UnavailableError: the registry does not answer.
        """
        if pull != "always" or image.startswith("sha256:"):
            with asked(f"the image {image}"):
                try:
                    self.api.inspect_image(image)
                except NotFound:
                    if pull == "never":
                        raise InvalidError(
                            f"the engine has no image {image}, and image.pull is never",
                            field="image.pull",
                        ) from None
                else:
                    return
        self._pull(image)

    def take(self, archive: Path, name: str) -> str:
        """Have an image of this machine; what the engine calls it: see `TakesImages`.

        Raises:
            UnavailableError: the engine does not answer, or has no room.
        """
        with asked(f"the image {name}"):
            try:
                return str(self.api.inspect_image(name)["Id"])
            except NotFound:
                pass
            with archive.open("rb") as file:
                for line in self.api.load_image(file):
                    if "error" in line:
                        raise UnavailableError(f"{name} was not taken: {line['error']}")
            return str(self.api.inspect_image(name)["Id"])

    def _pull(self, image: str) -> None:
        try:
            said = self._pulled(image)
        except (NotFoundError, ConflictError, InvalidError, UnavailableError) as error:
            said = error.message
        if said:
            raise _refused(image, said)

    def _pulled(self, image: str) -> str:
        """Ask the registry for an image; why it does not come, "" = it is there."""
        end = time.monotonic() + _PULL_S
        with asked(f"the image {image}"):
            for line in self.api.pull(image, stream=True, decode=True):
                if "error" in line:
                    return str(line["error"])
                if time.monotonic() > end:
                    return f"it was not here within {_PULL_S} s"
        return ""

    def _tls(self) -> TLSConfig | None:
        if not self._certificates:
            return None
        folder = Path(self._certificates)
        pair = (str(folder / "cert.pem"), str(folder / "key.pem"))
        try:
            return TLSConfig(client_cert=pair, ca_cert=str(folder / "ca.pem"), verify=True)
        except DockerException as error:
            raise InvalidError(
                f"{folder} holds no ca.pem, cert.pem and key.pem: {error}",
                field="target.settings.certificates",
            ) from None


@contextmanager
def asked(what: str) -> Iterator[None]:
    """Errors of the SDK as ours; its `NotFound` may be caught inside.

    Args:
        what: that was asked for.

    Raises:
        NotFoundError: there is none.
        ConflictError: it is there already, or in use.
        InvalidError: the engine refuses it.
        UnavailableError: nobody answers, or the engine is in trouble.
    """
    try:
        yield
    except APIError as error:
        raise _told(what, error) from None
    except (DockerException, requests.RequestException, OSError) as error:
        raise UnavailableError(f"{what}: the engine does not answer: {error}") from None


def _told(
    what: str, error: APIError
) -> NotFoundError | ConflictError | InvalidError | UnavailableError:
    said = str(error.explanation or error).strip().replace("\n", " ")
    status = error.status_code or 500
    for words, field, cure in _KNOWN:
        if words in said:
            return InvalidError(f"{what}: {said}{cure}", field=field)
    if status == 404:
        return NotFoundError(f"{what}: {said}")
    if status == 409:
        return ConflictError(f"{what}: {said}")
    if status < 500:
        return InvalidError(f"{what}: the engine refuses it: {said}")
    return UnavailableError(f"{what}: {said}")


def _refused(image: str, said: str) -> InvalidError | UnavailableError:
    """Why an image is not to be had: a registry that is down may be up later."""
    gone = ("not found", "manifest unknown", "denied", "no such image", "unauthorized", "invalid")
    if any(word in said.lower() for word in gone):
        return InvalidError(f"the image {image} is not to be had: {said}", field="image.repository")
    return UnavailableError(f"the image {image} cannot be pulled now: {said}")
