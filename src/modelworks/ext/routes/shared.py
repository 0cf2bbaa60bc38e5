"""What all writers of proxies' configuration share."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from modelworks.core.errors import InvalidError, UnavailableError
from modelworks.core.proxies import Listen
from modelworks.core.routes import BUCKETS, Arm, Route, Snapshot

READY: Final = "/v2/health/ready"
"""What a server answers with 200 where it takes requests."""
LOOK_S: Final = 1
"""Seconds between two looks at a server."""
BODY: Final = 64 << 20
"""Bytes of a body, as our servers take them."""
_CHECK_S: Final = 30.0
_PLAIN: Final = re.compile(r"[A-Za-z0-9._~/:@%+=,*-]+")
_SPACED: Final = re.compile(r"[A-Za-z0-9._~/:@%+=,*;()<>!?&# -]*")


@dataclass(frozen=True, slots=True)
class Server:
    """An endpoint, taken apart.

    Attributes:
        host: name or address; of a socket its path.
        port: of it; 0 = a socket.
        tls: whether it speaks TLS.
        near: of the proxy's own zone.
    """

    host: str
    port: int
    tls: bool
    near: bool

    @property
    def address(self) -> str:
        """`host:port`, IPv6 in brackets."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


def servers(arm: Arm, where: str) -> list[Server]:
    """The endpoints of an arm, the near ones first.

    Raises:
        InvalidError: none, one that is no URL of a server, or some with TLS and some without.
    """
    found = []
    for number, endpoint in enumerate(arm.endpoints):
        field = f"{where}.endpoints[{number}].url"
        scheme, near = urlsplit(endpoint.url), not endpoint.zone
        if scheme.scheme == "unix":
            found.append(Server(word(scheme.path, field), 0, tls=False, near=near))
        elif scheme.scheme in {"http", "https"} and scheme.hostname:
            tls = scheme.scheme == "https"
            port = scheme.port or (443 if tls else 80)
            found.append(Server(word(scheme.hostname, field), port, tls, near))
        else:
            raise InvalidError(
                f"{field}: '{endpoint.url[:80]}' is no http://, https:// or unix: URL", field=field
            )
    if not found:
        raise InvalidError(f"{where}.endpoints: nobody answers for '{arm.name}'", field=where)
    if len({server.tls for server in found}) > 1:
        raise InvalidError(f"{where}.endpoints: http and https cannot be mixed", field=where)
    return sorted(found, key=lambda server: not server.near)


def ordered(snapshot: Snapshot) -> list[tuple[str, Route]]:
    """The routes with a short name each, in the order in which the first that fits is taken.

    Raises:
        InvalidError: a name that a configuration cannot hold.
    """
    routes = sorted(
        snapshot.routes,
        key=lambda route: (not route.model, -len(route.path), not route.host, "*" in route.host),
    )
    for route in routes:
        word(route.name, "name")
    return [(f"r{number}", route) for number, route in enumerate(routes)]


def paths(route: Route) -> list[str]:
    """Where the paths of a route begin, in whole parts, without a slash at the end; "" = all."""
    if route.model:
        return [f"/v2/models/{route.model}", f"/predict/{route.model}"]
    path = route.path.rstrip("/")
    return [word(path, f"{route.name}.path") if path else ""]


def salt(route: Route) -> str:
    """Of its hash."""
    return word(route.salt or route.name, f"{route.name}.salt")


def shares(route: Route) -> list[tuple[Arm, int]]:
    """The arms with their buckets; whoever has none is asked by name or as a shadow only.

    Candidates first, the stable one last: a share that grows then takes callers from the stable one
    and moves nobody else.
    """
    widths = {arm.name: 0 for arm in route.arms}
    for span in route.spans:
        widths[span.arm] += span.end - span.first
    arms = [*route.arms[1:], route.arms[0]]
    return [(arm, widths[arm.name]) for arm in arms]


def ranges(route: Route) -> Iterator[tuple[int, int, Arm]]:
    """Buckets from, to (exclusive), and whose."""
    at = 0
    for arm, width in shares(route):
        if width:
            yield at, at + width, arm
        at += width
    if at != BUCKETS:
        raise InvalidError(f"{route.name}: its spans hold {at} of {BUCKETS} buckets", field="spans")


def pool(short: str, route: Route, arm: Arm) -> str:
    """The name of an arm's servers in a configuration: unique, and says whose they are."""
    number = [one.name for one in route.arms].index(arm.name)
    return f"{short}_{number}_{re.sub(r'[^A-Za-z0-9]+', '_', arm.name)}"


def arm_of(route: Route, name: str) -> Arm:
    """An arm by name."""
    return next(arm for arm in route.arms if arm.name == name)


def no_status(tried: frozenset[int], statuses: Sequence[int], _: object) -> str:
    """Which statuses of `retries.statuses` a proxy that tries these again cannot; empty = none."""
    other = sorted({*statuses} - tried)
    return f"it retries none of {other}" if other else ""


def word(text: str, field: str) -> str:
    """A name that means itself in every configuration.

    Raises:
        InvalidError: a character that might not.
    """
    if not _PLAIN.fullmatch(text):
        raise InvalidError(f"{field}: '{text[:80]}' cannot stand in a configuration", field=field)
    return text


def value(text: str, field: str) -> str:
    """The value of a header, as `word`, with spaces and some signs."""
    if not _SPACED.fullmatch(text):
        raise InvalidError(f"{field}: '{text[:80]}' cannot stand in a configuration", field=field)
    return text


def bound(listen: Listen) -> str:
    """`host:port`, IPv6 in brackets."""
    host = f"[{listen.host}]" if ":" in listen.host else listen.host
    return f"{host}:{listen.port}"


def ask(command: Sequence[str], install: str) -> None:
    """Let a program check its configuration.

    Raises:
        InvalidError: it refuses it.
        UnavailableError: it is not there, or does not end.
    """
    command = [_located(command[0], install), *command[1:]]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_CHECK_S, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise UnavailableError(f"{command[0]} did not end within {_CHECK_S:.0f} s") from error
    if done.returncode:
        said = (done.stderr or done.stdout).strip()[-2000:]
        raise InvalidError(f"{Path(command[0]).name} refuses its configuration: {said}")


def overheard(command: Sequence[str], seconds: float, install: str) -> str:
    """What a program says while it runs for so long; it is ended then.

    Raises:
        UnavailableError: it is not there.
    """
    command = [_located(command[0], install), *command[1:]]
    with subprocess.Popen(  # at the root: some read what lies in the folder they are started in
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd="/"
    ) as running:
        try:
            said, _ = running.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            running.terminate()
            said, _ = running.communicate(timeout=_CHECK_S)
    return said.decode(errors="replace")


def _located(program: str, install: str) -> str:
    """Its path: of the system, or of this environment, which need not be the active one."""
    places = f"{os.environ.get('PATH', os.defpath)}:{Path(sys.executable).parent}"
    found = shutil.which(program, path=places)
    if found is None:
        raise UnavailableError(f"{program} is not installed here: {install}")
    return found
