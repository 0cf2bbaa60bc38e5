"""Images to a registry and back, by the OCI's distribution specification 1.1.

Blobs that are there already do not travel; every byte that comes is checked against its digest
before it has its name. Whoever may do it is asked once a repository.
"""

import base64
import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlencode, urljoin, urlsplit

import urllib3

from modelworks.core.digest import of_bytes
from modelworks.core.errors import (
    CorruptError,
    InvalidError,
    ModelworksError,
    NotFoundError,
    UnavailableError,
)
from modelworks.packaging.oci.descriptor import (
    INDEXES,
    MANIFESTS,
    Descriptor,
    Platform,
)
from modelworks.packaging.oci.image import Image, read_image
from modelworks.packaging.oci.layout import Layout
from modelworks.packaging.oci.reference import Reference
from modelworks.packaging.oci.temporary import replacing

_ACCEPT: Final = ", ".join(sorted(MANIFESTS | INDEXES))
_BLOCK: Final = 1 << 20
_LARGEST: Final = 8 << 20  # of a manifest
_TIMEOUT: Final = urllib3.Timeout(connect=10, read=120)
_RETRIES: Final = urllib3.Retry(3, backoff_factor=0.3, status_forcelist={429, 502, 503, 504})
_CHALLENGE: Final = re.compile(r'([a-z_]+)="([^"]*)"')
_SAID: Final = 300


class Registry:
    """One repository of one registry.

    Args:
        reference: the image; its tag is what is pushed and pulled.
        names: the file that `docker login` writes; None = nobody is told who we are.
        authorities: a file of certificate authorities; None = the system's.
    """

    def __init__(
        self, reference: Reference, names: Path | None = None, authorities: Path | None = None
    ) -> None:
        scheme = "http" if reference.here else "https"
        self._reference = reference
        self._names = names
        self._root = f"{scheme}://{reference.server}"
        self._base = f"{self._root}/v2/{reference.repository}"
        certificates = str(authorities) if authorities else None
        self._pool = urllib3.PoolManager(ca_certs=certificates, timeout=_TIMEOUT, retries=_RETRIES)
        self._authorization = ""

    def push(self, layout: Layout, image: Image) -> str:
        """Send an image; the digest that it is known by there.

        Raises:
            InvalidError: the registry refuses it, or us.
            UnavailableError: it cannot be reached.
        """
        data = layout.read(image.descriptor)
        for blob in (*image.layers, image.configuration):
            self._send(layout, blob)
        target = self._reference.tag or image.descriptor.digest
        kind = {"Content-Type": image.descriptor.media_type}
        answer = self._ask("PUT", f"{self._base}/manifests/{target}", "push", kind, data)
        self._expect(answer, 201)
        return image.descriptor.digest

    def pull(self, layout: Layout, platform: Platform | None = None) -> Image:
        """Fetch an image into `layout`, where it is called as it is here.

        Raises:
            NotFoundError: no such image, or nothing for that platform.
            CorruptError: what came is not what was asked for.
            InvalidError: the registry refuses us.
            UnavailableError: it cannot be reached.
        """
        found = self._manifest(layout, self._reference.target)
        layout.name(found, str(self._reference))
        if found.media_type in INDEXES:
            for one in json.loads(layout.read(found)).get("manifests") or ():
                listed = Descriptor.read(one, str(self._reference))
                if listed.platform in {None, platform or Platform()}:
                    self._manifest(layout, listed.digest)
        own = layout.manifest(str(self._reference), platform)
        document = json.loads(layout.read(own))
        for one in (document.get("config"), *(document.get("layers") or ())):
            self._fetch(layout, Descriptor.read(one, str(self._reference)))
        return read_image(layout, str(self._reference), platform)

    # -- sending

    def _send(self, layout: Layout, blob: Descriptor) -> None:
        url = f"{self._base}/blobs/{blob.digest}"
        if self._ask("HEAD", url, "push").status == 200:
            return
        begun = self._ask("POST", f"{self._base}/blobs/uploads/", "push")
        self._expect(begun, 202)
        place = urljoin(f"{self._root}/", begun.headers.get("Location", ""))
        if urlsplit(place).netloc != self._reference.server and self._authorization:
            raise InvalidError(
                f"{self._reference.host} sends uploads to {urlsplit(place).netloc}: "
                "a password goes nowhere else"
            )
        place += ("&" if "?" in place else "?") + f"digest={quote(blob.digest)}"
        headers = {
            "Content-Type": "application/octet-stream",
            "Content-Length": str(blob.size),
        }
        with layout.path(blob).open("rb") as file:
            self._expect(self._ask("PUT", place, "push", headers, file), 201)

    # -- fetching

    def _manifest(self, layout: Layout, target: str) -> Descriptor:
        url = f"{self._base}/manifests/{target}"
        answer = self._ask("GET", url, "pull", {"Accept": _ACCEPT})
        if answer.status == 404:
            raise NotFoundError(f"{self._reference.host} has no {self._reference}")
        self._expect(answer, 200)
        data = answer.data
        if len(data) > _LARGEST:
            raise InvalidError(f"{url}: {len(data):,} bytes are no manifest")
        if target.startswith("sha256:") and of_bytes(data) != target:
            raise CorruptError(f"{url}: what came has another digest")
        kind = answer.headers.get("Content-Type", "").partition(";")[0].strip()
        return layout.add(data, kind)

    def _fetch(self, layout: Layout, blob: Descriptor) -> None:
        if layout.holds(blob):
            return
        path = layout.path(blob)
        url = f"{self._base}/blobs/{blob.digest}"
        answer = self._ask("GET", url, "pull", stream=True)
        digest, size = hashlib.sha256(), 0
        try:
            self._expect(answer, 200)
            with replacing(path) as temporary:
                with temporary.open("wb") as file:
                    for block in _blocks(answer):
                        size += len(block)
                        if size > blob.size:
                            break
                        digest.update(block)
                        file.write(block)
                if size != blob.size or digest.hexdigest() != blob.hex:
                    raise CorruptError(f"{url}: what came is not what was asked for")
        finally:
            answer.release_conn()

    # -- asking

    def _ask(
        self,
        method: str,
        url: str,
        may: str,
        headers: dict[str, str] | None = None,
        body: Any = None,
        *,
        stream: bool = False,
    ) -> urllib3.BaseHTTPResponse:
        """Ask, and where that wants a name, once more with it."""
        answer = self._once(method, url, headers, body, stream=stream)
        if answer.status == 401 and not self._authorization:
            challenge = answer.headers.get("WWW-Authenticate", "")
            answer.release_conn()
            self._authorization = self._introduce(challenge, may)
            if hasattr(body, "seek"):
                body.seek(0)
            answer = self._once(method, url, headers, body, stream=stream)
        return answer

    def _once(
        self, method: str, url: str, headers: dict[str, str] | None, body: Any, *, stream: bool
    ) -> urllib3.BaseHTTPResponse:
        sent = dict(headers or {})
        if self._authorization and urlsplit(url).netloc == self._reference.server:
            sent["Authorization"] = self._authorization
        try:
            return self._pool.request(
                method, url, headers=sent, body=body, preload_content=not stream
            )
        except urllib3.exceptions.HTTPError as error:
            reason = getattr(error, "reason", None) or error
            raise UnavailableError(f"{self._reference.host} cannot be reached: {reason}") from error

    def _introduce(self, challenge: str, may: str) -> str:
        """The header that answers a challenge (RFC 7235; distribution's token scheme)."""
        scheme, _, rest = challenge.partition(" ")
        name = _name_for(self._reference.login, self._names)
        basic = f"Basic {name}" if name else ""
        if scheme.lower() == "basic" and basic:
            return basic
        told = dict(_CHALLENGE.findall(rest))
        if scheme.lower() != "bearer" or "realm" not in told:
            raise InvalidError(self._stranger())
        actions = "pull,push" if may == "push" else "pull"
        asked = {"scope": f"repository:{self._reference.repository}:{actions}"}
        if "service" in told:
            asked["service"] = told["service"]
        if not told["realm"].startswith("https://") and not self._reference.here:
            raise InvalidError(f"{self._reference.host} wants names told without TLS: refused")
        url = f"{told['realm']}?{urlencode(asked)}"
        try:
            answer = self._pool.request(
                "GET", url, headers={"Authorization": basic} if basic else {}
            )
            found = json.loads(answer.data) if answer.status == 200 else {}
        except (urllib3.exceptions.HTTPError, ValueError) as error:
            raise UnavailableError(f"{told['realm']} gives no token: {error}") from error
        token = found.get("token") or found.get("access_token")
        if not token:
            raise InvalidError(self._stranger())
        return f"Bearer {token}"

    def _stranger(self) -> str:
        return (
            f"{self._reference.host} does not know us: `docker login {self._reference.host}` "
            "writes a name for it"
        )

    def _expect(self, answer: urllib3.BaseHTTPResponse, status: int) -> None:
        if answer.status == status:
            return
        said = bytes(answer.data or b"")[:_SAID].decode(errors="replace").strip()
        if answer.status in {401, 403}:
            raise InvalidError(f"{self._stranger()} ({answer.status} {said})")
        kind: type[ModelworksError] = UnavailableError if answer.status >= 500 else InvalidError
        raise kind(f"{self._reference.host} answered {answer.status}: {said}")


def _blocks(answer: urllib3.BaseHTTPResponse) -> Iterator[bytes]:
    try:
        yield from answer.stream(_BLOCK)
    except urllib3.exceptions.HTTPError as error:
        raise UnavailableError(f"the registry broke off: {error}") from error


def _name_for(host: str, names: Path | None) -> str:
    """Name and password for a registry, in base64; empty = none is known.

    Credential helpers are programs of their own and are not asked.
    """
    if names is None:
        return ""
    try:
        told = json.loads(names.read_bytes())
        name = told["auths"][host]["auth"]
        base64.b64decode(name, validate=True)
    except (OSError, ValueError, KeyError, TypeError):
        return ""
    return str(name)
