"""Who answers a request: the routes that data planes go by, one snapshot for all of them.

`control` writes a snapshot, `protocol.routes` decides by it, the server and the gateway carry it
out. A snapshot is JSON (core.codec), replaced by atomic rename; `generation` rises with each. Every
name in it is resolved: nobody who reads it asks anybody else.
"""

from dataclasses import dataclass, field
from enum import StrEnum

BUCKETS = 10_000
"""Into so many a caller's key is hashed; a bucket belongs to one arm."""


class Source(StrEnum):
    """Where the key lies that keeps a caller with one arm."""

    HEADER = "header"
    COOKIE = "cookie"
    FIELD = "field"  # of the body's `parameters`, the only one for which a body is read


@dataclass(frozen=True, slots=True)
class Sticky:
    """What keeps a caller with one arm.

    Attributes:
        source: where the key lies.
        name: of the header, the cookie or the field; headers are lower case.
    """

    source: Source
    name: str


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One place that answers for an arm.

    Attributes:
        url: `http://10.0.0.3:8080`, `https://...`, `unix:/run/a.sock`; no path. Or what the gateway
            finds some by, `dns:models.example.com:8080`: see `core.discovery`.
        zone: of a cluster or cloud; the gateway prefers its own. Empty = its own.
    """

    url: str
    zone: str = ""


@dataclass(frozen=True, slots=True)
class Arm:
    """One of those that may answer a route: a revision, or a version inside one server.

    Attributes:
        name: unique in the route, `fraud/3`; what evidence and records call it.
        model: its name where it answers, which the path is rewritten to; empty = as it came.
        version: of the model; empty = the one that is served by default.
        endpoints: of the gateway; a server that carries the route itself needs none.
        headers: added to what is sent there.
    """

    name: str
    model: str = ""
    version: str = ""
    endpoints: tuple[Endpoint, ...] = ()
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Span:
    """Buckets that belong to an arm.

    Attributes:
        first: of them.
        end: the first that is not.
        arm: its name.
    """

    first: int
    end: int
    arm: str


@dataclass(frozen=True, slots=True)
class Shadow:
    """An arm that gets copies, and whose answers no caller sees.

    Attributes:
        arm: who gets them.
        share: of the requests, 0 to 1; the same requests whatever the other shadows get.
        compare: whether its answers are kept beside the caller's, as pairs.
    """

    arm: str
    share: float = 1.0
    compare: bool = True


@dataclass(frozen=True, slots=True)
class Retries:
    """What is tried again, on another endpoint: what is safe to, within a budget.

    Attributes:
        most: tries of one request beyond its first; 0 = none.
        budget: of all tries, the share that may be further ones (a fifth: five requests earn one).
        statuses: of answers that are tried again, besides connections that failed before a byte of
            the answer came.
    """

    most: int = 1
    budget: float = 0.2
    statuses: tuple[int, ...] = (502, 503)


@dataclass(frozen=True, slots=True)
class Breaker:
    """When an endpoint gets nothing for a while.

    Attributes:
        failures: in a row (connections, 5xx but 501) until it is ejected; 0 = never.
        rest_s: how long it then gets nothing; twice as long each time, 16 times at most.
        most_ejected: share of an arm's endpoints that may rest at once; the last one never does.
        outstanding: requests of one endpoint that may be under way; 0 = any.
    """

    failures: int = 5
    rest_s: float = 5.0
    most_ejected: float = 0.5
    outstanding: int = 1024


@dataclass(frozen=True, slots=True)
class Limit:
    """How much somebody may ask.

    Attributes:
        rate: requests a second; 0 = any.
        burst: requests that may come at once.
        quota: requests in `quota_s`; 0 = any.
        quota_s: from the first of them.
    """

    rate: float = 0.0
    burst: int = 1
    quota: int = 0
    quota_s: float = 86_400.0


@dataclass(frozen=True, slots=True)
class Route:
    """Which arm answers what.

    Attributes:
        name: of it.
        model: that callers name in the path (`/v2/models/MODEL/...`, `/predict/MODEL`); empty = the
            host and the path decide alone.
        host: lower case, `*.example.com`; empty = any.
        path: where paths begin, in whole parts: `/api` has `/api/x`, and not `/apix`.
        tenant: whose it is.
        salt: of the hash; another salt parts callers anew. Empty = the route's name.
        arms: by name unique; the first one is the stable one.
        spans: of the buckets, in order, without gap or overlap.
        sticky: None = each request falls by itself.
        override: header that names an arm, lower case; empty = there is none.
        shadows: who gets copies.
        timeout_s: for the whole answer; 0 = none. A caller's own deadline may be shorter.
        retries: what is tried again.
        hedge_ms: a second try of a safe request, elsewhere, when so long nothing came; 0 = none.
        breaker: when an endpoint rests.
        fallback: arm that is asked where the chosen one has nobody left; empty = 503.
        limit: of all callers together.
    """

    name: str
    arms: tuple[Arm, ...]
    spans: tuple[Span, ...]
    model: str = ""
    host: str = ""
    path: str = "/"
    tenant: str = "default"
    salt: str = ""
    sticky: Sticky | None = None
    override: str = ""
    shadows: tuple[Shadow, ...] = ()
    timeout_s: float = 0.0
    retries: Retries = field(default_factory=Retries)
    hedge_ms: float = 0.0
    breaker: Breaker = field(default_factory=Breaker)
    fallback: str = ""
    limit: Limit | None = None


@dataclass(frozen=True, slots=True)
class Pass:
    """Who a key lets in.

    Attributes:
        name: of the key, which records and limits go by.
        tenant: whose routes it opens.
        models: patterns of the models that it opens; empty = all.
        until_ns: UTC; 0 = for ever.
        limit: of this key.
        tokens: of prompts and answers of language models in `tokens_s`; 0 = any. Servers count
            them, gateways cannot.
        tokens_s: from the first of them.
    """

    name: str
    tenant: str = "default"
    models: tuple[str, ...] = ()
    until_ns: int = 0
    limit: Limit | None = None
    tokens: int = 0
    tokens_s: float = 86_400.0


@dataclass(frozen=True, slots=True)
class Tokens:
    """JSON Web Tokens that are taken in a key's place.

    Attributes:
        issuer: wanted in `iss`; empty = any.
        audience: wanted in `aud`; empty = any.
        keys: by `kid`: PEM of a public key (RS256, ES256, EdDSA); no shared secrets.
        name: claim with the caller's name.
        tenant: claim with the tenant; empty = all are of the tenant `default`.
        models: claim with patterns of the models that are opened, a list or parted by spaces; a
            token without it opens none. Empty = all open all.
    """

    keys: dict[str, str]
    issuer: str = ""
    audience: str = ""
    name: str = "sub"
    tenant: str = ""
    models: str = ""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All that a data plane goes by.

    Attributes:
        generation: rises with every change.
        routes: those that name the model go before the rest, then the longest path wins, then the
            named host; first of equals.
        keys: SHA-256 of a key, hex -> what it opens; empty with no `tokens` = nobody is asked.
        tokens: None = none are taken.
        limits: by tenant.
    """

    generation: int
    routes: tuple[Route, ...] = ()
    keys: dict[str, Pass] = field(default_factory=dict)
    tokens: Tokens | None = None
    limits: dict[str, Limit] = field(default_factory=dict)
