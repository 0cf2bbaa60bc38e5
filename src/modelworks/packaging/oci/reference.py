"""What images are called: `registry.example.com:5000/models/fraud:1.4.0`."""

import re
from dataclasses import dataclass
from typing import Final

from modelworks.core.errors import InvalidError

_PART: Final = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_FORM: Final = re.compile(
    r"(?P<host>(?:[a-zA-Z0-9-]+(?:\.[a-zA-Z0-9-]+)+|localhost|\[[0-9a-fA-F:]+\])(?::[0-9]{1,5})?"
    r"|[a-zA-Z0-9-]+:[0-9]{1,5})"
    rf"/(?P<repository>{_PART}(?:/{_PART})*)"
    r"(?::(?P<tag>[A-Za-z0-9_][A-Za-z0-9._-]{0,127}))?"
    r"(?:@(?P<digest>sha256:[0-9a-f]{64}))?"
)
_LONGEST: Final = 255
_HUB: Final = "docker.io"
_HUB_SERVER: Final = "registry-1.docker.io"
_HUB_LOGIN: Final = "https://index.docker.io/v1/"


@dataclass(frozen=True, slots=True)
class Reference:
    """Where an image is.

    Attributes:
        host: of the registry, with its port.
        repository: in it.
        tag: empty = none.
        digest: of the manifest; empty = whatever the tag points at.
    """

    host: str
    repository: str
    tag: str = ""
    digest: str = ""

    def __str__(self) -> str:
        """As it was written."""
        tag = f":{self.tag}" if self.tag else ""
        return f"{self.host}/{self.repository}{tag}" + (f"@{self.digest}" if self.digest else "")

    @property
    def target(self) -> str:
        """What the registry is asked for."""
        return self.digest or self.tag or "latest"

    @property
    def server(self) -> str:
        """Who is asked: one registry is known by another name than its server's."""
        return _HUB_SERVER if self.host == _HUB else self.host

    @property
    def login(self) -> str:
        """What `docker login` files the password under."""
        return _HUB_LOGIN if self.host == _HUB else self.host

    @property
    def here(self) -> bool:
        """Whether the registry is this machine: it is then asked without TLS, as Docker does."""
        name = self.host.rpartition(":")[0] if ":" in self.host else self.host
        return name in {"localhost", "127.0.0.1", "[::1]"}


def parse(text: str) -> Reference:
    """Read a reference that names its registry.

    Raises:
        InvalidError: any other form; Docker's short names (`fraud`, `me/fraud`) are of a registry
            that nobody named.
    """
    found = _FORM.fullmatch(text)
    if found is None or len(found["repository"]) > _LONGEST:
        raise InvalidError(
            f"'{text[:120]}' is no image: HOST/REPOSITORY:TAG, as registry.example.com/fraud:1.0",
            field="image",
        )
    return Reference(found["host"], found["repository"], found["tag"] or "", found["digest"] or "")
