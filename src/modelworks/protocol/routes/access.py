"""Who a request is of, what it opens, and whether that is too much.

Whoever sends a header again is found by one look into a dictionary; keys are hashed and tokens
checked when they come for the first time. The whole object is replaced with the snapshot, so what
was revoked is forgotten at once.
"""

from collections.abc import Callable
from fnmatch import fnmatchcase
from time import time_ns
from typing import Final

from modelworks.core.errors import (
    ForbiddenError,
    LimitedError,
    MissingExtraError,
    UnauthenticatedError,
)
from modelworks.core.keys import LONGEST, digest_of, presented, refusal
from modelworks.core.routes import Limit, Route, Snapshot
from modelworks.protocol.routes.limits import Meter, Refused, Table
from modelworks.protocol.routes.tokens import PublicKey, TokenReader

_KNOWN: Final = 8192  # headers that are remembered
_MODELS: Final = 1024  # answers of `opens` that are remembered
_NOBODY: Final[tuple[Meter, ...]] = ()


class Caller:
    """Who asks.

    Attributes:
        name: of the key, or the token's claim; empty = nobody was asked.
        tenant: whose routes it opens; empty = all.
        models: patterns of the models that it opens; None = all.
        until_ns: UTC; 0 = for ever.
        meter: of its own limit.
        tokens: of its own quota of tokens; None = it has none.
    """

    __slots__ = ("_opens", "meter", "models", "name", "tenant", "tokens", "until_ns")

    def __init__(
        self,
        name: str,
        tenant: str,
        models: tuple[str, ...] | None = None,
        until_ns: int = 0,
        meter: Meter | None = None,
        tokens: Meter | None = None,
    ) -> None:
        self.tokens = tokens
        self.name = name
        self.tenant = tenant
        self.models = models
        self.until_ns = until_ns
        self.meter = meter
        self._opens: dict[str, bool] = {}

    def opens(self, model: str) -> bool:
        """Whether it may ask a model."""
        models = self.models
        if models is None:
            return True
        known = self._opens.get(model)
        if known is None:
            if len(self._opens) >= _MODELS:
                self._opens.clear()
            known = any(fnmatchcase(model, pattern) for pattern in models)
            self._opens[model] = known
        return known


ANYBODY: Final = Caller("", "")
"""Who asks where nobody is asked who he is."""


class Access:
    """The keys, tokens and limits of one snapshot.

    Args:
        snapshot: that `check` found good.
        load_key: makes a public key of PEM; None = tokens are refused with the cure.
        table: where limits are counted; None = in this process alone.
        clock: UTC in nanoseconds.

    Attributes:
        closed: callers are asked who they are.

    Raises:
        InvalidError: a public key of tokens is none.
        MissingExtraError: the library that checks signatures is not there.
    """

    def __init__(
        self,
        snapshot: Snapshot,
        load_key: Callable[[str], PublicKey] | None = None,
        table: Table | None = None,
        clock: Callable[[], int] = time_ns,
    ) -> None:
        self.closed = bool(snapshot.keys) or snapshot.tokens is not None
        self._keys = snapshot.keys
        self._limits = snapshot.limits
        self._table = Table() if table is None else table
        self._clock = clock
        self._known: dict[bytes, Caller] = {}
        self._callers: dict[str, Caller] = {}
        self._tokens: TokenReader | None = None
        self._shared: dict[str, tuple[Meter, ...]] = {}
        if snapshot.tokens is not None:
            if load_key is None:
                raise MissingExtraError("JSON Web Tokens", "jwt", "cryptography")
            self._tokens = TokenReader(snapshot.tokens, load_key)

    def who(self, authorization: bytes | None) -> Caller:
        """Who sent a request.

        Args:
            authorization: its header, as it came.

        Raises:
            UnauthenticatedError: nobody who is known, or not any more.
        """
        if authorization is not None:
            known = self._known.get(authorization)
            if known is not None and (not known.until_ns or self._clock() < known.until_ns):
                return known
        return self._find(authorization) if self.closed else ANYBODY

    def name_of(self, authorization: bytes | None) -> str:
        """Who sent a request that was let through just now; empty = nobody who is known."""
        known = self._known.get(authorization) if authorization is not None else None
        return known.name if known is not None else ""

    def admit(self, caller: Caller, route: Route, model: str) -> None:
        """Let a request through to a route, and count it.

        Args:
            caller: see `who`.
            route: that was found for it.
            model: that it asks.

        Raises:
            ForbiddenError: the caller may not ask this model.
            LimitedError: too much was asked; nothing is counted.
        """
        meters = self.meters(caller, route, model)
        if meters:
            self.take(meters)

    def meters(self, caller: Caller, route: Route, model: str) -> tuple[Meter, ...]:
        """What counts the requests of a caller to a route: the same as long as this lasts.

        Raises:
            ForbiddenError: the caller may not ask this model.
        """
        if caller.models is not None and not caller.opens(model):
            opened = ", ".join(caller.models) or "none"
            raise ForbiddenError(
                f"'{caller.name}' may not ask the model '{model}'; it opens: {opened}",
                field="Authorization",
            )
        shared = self._shared.get(route.name)
        if shared is None:
            shared = self._meters(route)
        own = caller.meter
        return shared if own is None else (own, *shared)

    def take(self, meters: tuple[Meter, ...]) -> None:
        """Count a request, by all or by none.

        Raises:
            LimitedError: too much was asked.
        """
        now = self._table.clock()
        if len(meters) == 1:
            refused = meters[0].take(now)
            if refused is not None:
                raise limited(refused)
            return
        for meter in meters:
            refused = meter.refusal(now)
            if refused is not None:
                raise limited(refused)
        for meter in meters:
            meter.count(now)

    def _find(self, authorization: bytes | None) -> Caller:
        token = presented(authorization) if authorization is not None else b""
        if authorization is None or not token:
            raise UnauthenticatedError(refusal(authorization), field="Authorization")
        caller = self._of_key(token) or self._of_token(token)
        if caller is None:
            raise UnauthenticatedError(refusal(authorization), field="Authorization")
        if len(self._known) >= _KNOWN:
            self._known.clear()
        self._known[authorization] = caller
        return caller

    def _of_key(self, key: bytes) -> Caller | None:
        if len(key) > LONGEST:
            return None
        digest = digest_of(key)
        entry = self._keys.get(digest)
        if entry is None:
            return None
        if entry.until_ns and self._clock() >= entry.until_ns:
            raise UnauthenticatedError(
                f"the API key of '{entry.name}' is over: ask for a new one", field="Authorization"
            )
        caller = self._callers.get(digest)
        if caller is None:
            models = entry.models or None
            meter = self._meter(f"key {entry.tenant} {entry.name}", entry.limit)
            caller = Caller(entry.name, entry.tenant, models, entry.until_ns, meter)
            if entry.tokens:
                quota = Limit(quota=entry.tokens, quota_s=entry.tokens_s)
                subject = f"tokens of key {entry.tenant} {entry.name}"
                caller.tokens = self._meter(subject, quota)
            self._callers[digest] = caller
        return caller

    def _of_token(self, token: bytes) -> Caller | None:
        if self._tokens is None or token.count(b".") != 2:
            return None
        claims = self._tokens.read(token, self._clock())
        return Caller(claims.name, claims.tenant, claims.models, claims.until_ns)

    def _meters(self, route: Route) -> tuple[Meter, ...]:
        found = (
            self._meter(f"route {route.name}", route.limit),
            self._meter(f"tenant {route.tenant}", self._limits.get(route.tenant)),
        )
        meters = tuple(meter for meter in found if meter is not None)
        self._shared[route.name] = meters
        return meters

    def _meter(self, subject: str, limit: Limit | None) -> Meter | None:
        if limit is None or not (limit.rate or limit.quota):
            return None
        return self._table.meter(subject, limit)


def limited(refused: Refused) -> LimitedError:
    """What is told to who asked too much."""
    after = refused.retry_after
    what = "quota" if refused.quota else "rate"
    return LimitedError(
        f"the {what} of the {refused.subject} is used up: try again in {after} s",
        retry_after=after,
    )
