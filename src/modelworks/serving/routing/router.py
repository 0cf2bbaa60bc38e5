"""The routes of one worker: what is in force, and who answers a path by it."""

from collections.abc import Callable
from types import MethodType
from typing import Final, TypeAlias
from urllib.parse import quote, unquote

from modelworks.core.errors import (
    ForbiddenError,
    ModelworksError,
    NotFoundError,
    UnauthenticatedError,
)
from modelworks.core.keys import Keys
from modelworks.core.routes import BUCKETS, Arm, Route, Span
from modelworks.edge.exchange import Exchange
from modelworks.edge.key_gate import OPEN
from modelworks.edge.key_ring import KeyRing
from modelworks.protocol.openmetrics import Family
from modelworks.protocol.records.calls import ARM, COPY
from modelworks.protocol.routes.access import ANYBODY, Access, Caller
from modelworks.protocol.routes.limits import Meter
from modelworks.protocol.routes.paths import Asked, asked
from modelworks.protocol.routes.policy import RoutePolicy
from modelworks.serving.block import Block
from modelworks.serving.entries import Entry
from modelworks.serving.generate import generate, generate_stream
from modelworks.serving.infer import infer, refuse
from modelworks.serving.models import ModelTable
from modelworks.serving.predict import predict
from modelworks.serving.predict_v1 import predict_v1
from modelworks.serving.routing.book import Book, empty_book
from modelworks.serving.routing.numbers import count_refusal, families
from modelworks.serving.routing.routed import AUTHORIZATION, Place, Routed
from modelworks.serving.routing.shadows import Offer, Shadows
from modelworks.serving.statistics import Recorder
from modelworks.serving.waiting import Act

Answer: TypeAlias = Callable[[Exchange], None]
_ACTS: Final[dict[str, Act]] = {
    "/infer": infer,
    "/generate": generate,
    "/generate_stream": generate_stream,
}
_LOOKING: Final = frozenset({b"GET", b"HEAD"})
JOBS: Final = b"/v2/jobs"
_ITSELF: Final = (Span(0, BUCKETS, "itself"),)


class Router:
    """Of one worker, on its loop.

    Args:
        block: counters of routes, shared by the workers.
        ring: the server's own API keys: who has one is not asked for more; None = there are none.

    Attributes:
        book: in force.
        access: its keys and limits.
        asks: requests are held to keys or limits.
        copy: keeps a copy for a shadow.
        who: says whose a request is by its Authorization header; raises UnauthenticatedError.
        problem: why the newest snapshot is not in force; empty = it is.
    """

    def __init__(self, block: Block, ring: KeyRing | None = None) -> None:
        self._block = block
        self._ring = ring
        self._table: ModelTable | None = None
        self._wait: Callable[[Entry, Exchange, Act], None] | None = None
        self._recorder: Recorder | None = None
        self._shadows = Shadows(self._busy)
        self.copy: Offer = self._shadows.offer
        self.problem = ""
        self.use(empty_book())

    def begin(
        self,
        table: ModelTable,
        wait: Callable[[Entry, Exchange, Act], None],
        recorder: Recorder,
    ) -> None:
        """Take the models that are served."""
        self._table, self._wait, self._recorder = table, wait, recorder

    def use(self, book: Book) -> None:
        """Go by this from the next request on; whoever keeps answers of `answer_for` drops them."""
        self.book = book
        self.access: Access = book.access
        self.closed = book.access.closed or self._ring is not None
        self.asks = self.closed or book.limits
        self.who: Callable[[bytes | None], Caller] = (
            book.access.who if self._ring is None else self._who
        )
        self.problem = ""

    @property
    def own(self) -> Keys | None:
        """The server's own keys as they are now; None = it has none."""
        return self._ring.keys if self._ring is not None else None

    def families(self) -> list[Family]:
        """What is scraped."""
        return families(self._block, self.book.policy.generation, self.problem)

    def name_of(self, headers: dict[bytes, bytes]) -> str:
        """Who sent a request that was answered just now; empty where nobody is known."""
        own = self._ring.name_of(headers) if self._ring is not None else ""
        return own or self.access.name_of(headers.get(AUTHORIZATION))

    def tokens_of(self, headers: dict[bytes, bytes]) -> Meter | None:
        """What counts the tokens of whoever sent a request; None = nothing does.

        Copies for shadows are ours: the caller is charged for his own request alone.

        Raises:
            UnauthenticatedError: nobody who is known.
        """
        if not self.closed or headers.get(ARM, b"").startswith(COPY):
            return None
        return self.who(headers.get(AUTHORIZATION)).tokens

    def close(self) -> None:
        """Drop the copies that wait."""
        self._shadows.close()

    # -- what the server asks

    def answer_for(self, path: bytes, act: Act | None = None) -> Answer | None:
        """What answers predictions asked at a path; None = no model is asked for one there.

        Args:
            path: of HTTP.
            act: what is asked of the model; None = what the path says.
        """
        path = plain(path)
        found = asked(path)
        act = act or (_act_of(found) if found is not None else None)
        if found is None or act is None:
            return None
        model, _, alias = found.model.partition("@")
        routes = self.book.policy.candidates(model, path.decode("latin-1"))
        if not (alias or found.version):
            if routes:
                return Routed(self, routes, model, act)
            entry = self._entry(found.model, "")
            if entry is None:
                return None
            if not self.asks and entry.live is not None:
                return MethodType(act, entry.live)
        entry = self._entry(found.model, found.version)
        if entry is None or not (self.asks or entry.live is None):
            return MethodType(act, entry.live) if entry is not None else None
        place = Place("", entry, self.cells(f"model {model}", ""))
        return Routed(self, [*routes, _implicit(entry)], model, act, place)

    def let_in(self, exchange: Exchange) -> None:
        """Hold a request that asks for no prediction to the keys and limits.

        Raises:
            UnauthenticatedError: nobody who is known.
            ForbiddenError: the caller's key is for other models, or for models alone.
            NotFoundError: the model is of another tenant.
            LimitedError: too much was asked.
        """
        if not self.asks or (exchange.path in OPEN and exchange.method in _LOOKING):
            return
        try:
            self._let_in(exchange)
        except ModelworksError as error:
            count_refusal(self._block, error)
            raise

    def stable(self, name: str) -> tuple[str, str] | None:
        """Model and version that stand for a name which only routes know; None = none do."""
        routes = self.book.policy.candidates(name, f"/v2/models/{name}")
        if not routes or not routes[0].route.model or self._entry(name, "") is not None:
            return None
        first = routes[0].route.arms[0]
        return first.model or name, first.version

    # -- what a path asks; see `routed.Here`

    def entry(self, arm: Arm, model: str) -> Entry | None:
        """See `routed.Here`."""
        return self._entry(arm.model or model, arm.version)

    def cells(self, route: str, arm: str) -> memoryview:
        """See `routed.Here`."""
        return self._block.region(route, arm)

    def wait(self, entry: Entry, exchange: Exchange, act: Act) -> None:
        """See `routed.Here`."""
        if self._wait is not None:
            self._wait(entry, exchange, act)

    def refuse(self, exchange: Exchange, error: ModelworksError) -> None:
        """See `routed.Here`."""
        count_refusal(self._block, error)
        if self._recorder is not None:
            refuse(exchange, error, self._recorder)

    def _who(self, authorization: bytes | None) -> Caller:
        ring = self._ring
        if ring is None or self.access.closed:
            if ring is not None and ring.keys.find(authorization) is not None:
                return ANYBODY
            return self.access.who(authorization)
        if ring.keys.find(authorization) is not None:
            return ANYBODY
        raise UnauthenticatedError(ring.refused(authorization), field="Authorization")

    def _let_in(self, exchange: Exchange) -> None:
        caller = self.who(exchange.headers.get(AUTHORIZATION)) if self.closed else ANYBODY
        spelled = plain(exchange.path)
        found = asked(spelled)
        if spelled == JOBS or spelled.startswith(JOBS + b"/"):
            return  # a caller sees its own alone; submitting one is asking its model
        if found is None or spelled == b"/v2/models/stats":
            if caller is not ANYBODY and spelled != b"/v2":
                raise ForbiddenError(
                    f"the key of '{caller.name}' is for asking models: this takes a key of the "
                    "server's own file (--keys)",
                    field="Authorization",
                )
            return
        model = found.model.partition("@")[0]
        entry = self._entry(found.model, found.version)
        host = exchange.headers.get(b"host", b"").decode("latin-1")
        path = spelled.decode("latin-1")
        made = self.book.policy.find(model, host, path, caller.tenant)
        if made is None and entry is not None:
            made = _implicit(entry)
        if made is None or (caller.tenant and made.route.tenant != caller.tenant):
            raise NotFoundError(f"no model '{model}' here", field="model")
        if exchange.method in _LOOKING and caller.opens(model):
            return
        self.access.admit(caller, made.route, model)

    def _entry(self, model: str, version: str) -> Entry | None:
        if self._table is None:
            return None
        try:
            return self._table.entry(model, version or None)
        except NotFoundError:
            return None

    def _busy(self) -> bool:
        table = self._table
        if table is None:
            return False
        return any(entry.live is not None and entry.live.waited_for for entry in table.entries())


def plain(path: bytes) -> bytes:
    """A path as it is meant.

    The application decodes its parts and drops a last slash: what is held to rules by its path has
    to be read in the same way.
    """
    text = path.decode("ascii", "replace").removesuffix("/").removeprefix("/")
    return "".join(f"/{quote(unquote(part), safe='@:')}" for part in text.split("/")).encode()


def _act_of(found: Asked) -> Act | None:
    if found.form == "v2" and found.rest in _ACTS:
        return _ACTS[found.rest]
    if found.form == "v1" and found.rest == ":predict":
        return predict_v1
    return predict if found.form == "predict" and not found.rest else None


def _implicit(entry: Entry) -> RoutePolicy:
    """The route of a model that has none: what of access and limits is the model's own."""
    served = entry.served
    name = f"\0{served.name}"  # no snapshot can have it
    return RoutePolicy(Route(name, (Arm("itself"),), _ITSELF, tenant=served.tenant))
