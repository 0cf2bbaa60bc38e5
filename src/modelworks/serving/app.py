"""The HTTP handler of a model server: one look-up for inference, a table for the rest."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from functools import partial
from types import MethodType
from typing import Final, TypeAlias, cast
from urllib.parse import parse_qsl, unquote

from modelworks.core.errors import (
    CrashedError,
    ModelworksError,
    NotFoundError,
    RefusedError,
    UnavailableError,
    UnsupportedError,
)
from modelworks.core.keys import Role
from modelworks.edge.exchange import Exchange
from modelworks.edge.key_gate import AUTHORIZATION
from modelworks.edge.key_ring import KeyRing
from modelworks.edge.request import Sampled
from modelworks.protocol import openmetrics
from modelworks.protocol.oip import documents as oip
from modelworks.protocol.openmetrics import Family
from modelworks.protocol.problems import error_body
from modelworks.serving import documents, metrics
from modelworks.serving.block import Block
from modelworks.serving.control import LOAD, UNLOAD, Control
from modelworks.serving.dialects import dialect
from modelworks.serving.entries import Entry
from modelworks.serving.examples import Examples
from modelworks.serving.explaining import Desk, of_v1, of_v2
from modelworks.serving.generate import generate, generate_stream
from modelworks.serving.generating.numbers import families as generated
from modelworks.serving.graphs.numbers import families as graph_families
from modelworks.serving.infer import JSON, infer, refuse
from modelworks.serving.jobs.seam import Jobs, NoJobs
from modelworks.serving.latency import latency
from modelworks.serving.live import Live
from modelworks.serving.models import ModelTable
from modelworks.serving.openai.front import PATHS, OpenAI
from modelworks.serving.predict import predict
from modelworks.serving.predict_v1 import predict_v1
from modelworks.serving.repeated import act_of
from modelworks.serving.routing.router import Router
from modelworks.serving.sizing import Sizing, as_set
from modelworks.serving.statistics import Recorder
from modelworks.serving.traces import Kept, Traces
from modelworks.serving.waiting import Act, Waiting

_log = logging.getLogger("modelworks.serving")
Answer: TypeAlias = Callable[[Exchange], None]
Methods: TypeAlias = dict[bytes, Answer]
_POST: Final = b"POST"
_ALONE: Final = as_set(1, 1)
_EXPLAIN: Final = ":explain"
_PREDICT: Final = ":predict"
_PATHS: Final = 4096  # that are answered by routes and remembered; clients choose their spelling


class App:
    """Answers every request of one worker.

    Args:
        block: the counters.
        version: of Modelworks.
        started: Unix time of the server's start.
        sizing: of workers and threads.
        keys: API keys, whose roles say who may load and unload; None = everybody. That a request
            has a good one was seen to before it comes here.
        router: the routes that are gone by; it then sees to the keys too. None = there are none.

    Attributes:
        draining: not ready any more; requests are still answered.
        jobs: who keeps asynchronous requests.
    """

    def __init__(
        self,
        block: Block,
        version: str,
        started: float,
        sizing: Sizing = _ALONE,
        keys: KeyRing | None = None,
        router: Router | None = None,
    ) -> None:
        self.draining = False
        self._router = router
        self._keys = keys
        self._block = block
        self._version = version
        self._started = started
        self._sizing = sizing
        self._recorder = Recorder.of_server(block)
        self._hot: dict[bytes, Answer] = {}
        self._table: ModelTable | None = None
        self._control: Control | None = None
        self._waiting: Waiting | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        desk = Desk()
        self._explain_v2: Act = partial(desk.take, of_v2)
        self._explain_v1: Act = partial(desk.take, of_v1)
        self._examples = Examples()
        self._traces: Traces | None = None
        self._openai = OpenAI(
            lambda: self._models, self._asked, self._recorder, started, self._router
        )
        self._followers: list[Callable[[], None]] = []
        self.jobs: Jobs = NoJobs()

    def export(self, traces: Traces) -> None:
        """Tell it of every answer to a request whose trace is kept."""
        self._traces = traces

    @property
    def traces(self) -> bool:
        """Whether anybody wants to be told of them."""
        return self._traces is not None

    @property
    def ready(self) -> bool:
        """Whether what starts by itself was loaded, and the server does not end."""
        return self._table is not None and self._table.ready and not self.draining

    @property
    def ring(self) -> KeyRing | None:
        """The keys that each request of a long call is held to; None = none, or routes do that."""
        return self._keys if self._router is None else None

    def follow(self, changed: Callable[[], None]) -> None:
        """Tell somebody else too when other models answer."""
        self._followers.append(changed)

    def families(self) -> list[Family]:
        """What `/metrics` tells."""
        found = self._examples.found
        told = metrics.families(self._block, self._version, self._started, found)
        if self._table is not None:
            told += graph_families(self._block, self._table.entries())
        told += [*generated(self._block), *self.jobs.families()]
        return told if self._router is None else [*told, *self._router.families()]

    def begin(self, table: ModelTable, control: Control) -> None:
        """Take the models that are served and whoever acts on them."""
        self._table, self._control = table, control
        self._waiting = Waiting(
            table.revive, lambda exchange, error: refuse(exchange, error, self._recorder)
        )
        if self._router is not None:
            self._router.begin(table, self._waiting.enter, self._recorder)

    def refresh(self) -> None:
        """Note what answers now, by whole path; called whenever that changes."""
        table = self._models
        for changed in self._followers:
            changed()
        hot: dict[bytes, Answer] = {}
        self._tell(table)
        if self._router is not None:
            self._hot = hot  # filled path by path: there may be thousands of routes
            return
        for name, live in table.names():
            for written in {name, name.replace("@", "%40")}:
                hot[f"/v2/models/{written}/infer".encode()] = MethodType(act_of(live, infer), live)
                hot[f"/predict/{written}".encode()] = MethodType(act_of(live, predict), live)
                if live.generations is not None:
                    path = f"/v2/models/{written}/generate"
                    hot[path.encode()] = MethodType(generate, live)
                    hot[f"{path}_stream".encode()] = MethodType(generate_stream, live)
        for entry in table.entries():
            live_or_none = entry.live
            if live_or_none is not None:
                path = f"/v2/models/{entry.served.name}/versions/{entry.served.version}/infer"
                hot[path.encode()] = MethodType(act_of(live_or_none, infer), live_or_none)
        self._hot = hot

    def _tell(self, table: ModelTable) -> None:
        """Tell every model whom its calls are told to, and who counts its callers' tokens."""
        for entry in table.entries():
            live = entry.live
            if live is None:
                continue
            if self._traces is not None:
                live.follow(self._traces)
            if self._router is not None and live.generations is not None:
                live.generations.meter_of = self._router.tokens_of

    def __call__(self, exchange: Exchange) -> None:
        """Answer, now or when the engine has."""
        answer = self._hot.get(exchange.path)
        if answer is not None and exchange.method == _POST:
            answer(exchange)
        else:
            self._other(exchange)

    @property
    def _models(self) -> ModelTable:
        if self._table is None:
            raise UnavailableError("the server is starting")
        return self._table

    # -- everything but inference on a ready model

    def _other(self, exchange: Exchange) -> None:
        try:
            if self._router is not None and self._by_route(self._router, exchange):
                return
            methods = self._find([unquote(part) for part in _segments(exchange.path)])
            answer = methods.get(exchange.method)
            if answer is None and exchange.method == b"HEAD":
                answer = methods.get(b"GET")
            if answer is None:
                allowed = b", ".join(sorted(methods))
                message = f"this path takes {allowed.decode()} only"
                exchange.reply(405, error_body(message), JSON, ((b"Allow", allowed),))
                return
            answer(exchange)
        except ModelworksError as error:
            refuse(exchange, error, self._recorder)

    def _by_route(self, router: Router, exchange: Exchange) -> bool:
        """Answer what asks for a prediction; let others pass, or raise why not."""
        if exchange.method == _POST:
            answer = router.answer_for(exchange.path)
            if answer is not None:
                if len(self._hot) >= _PATHS:
                    self._hot = {}
                self._hot[exchange.path] = answer
                answer(exchange)
                return True
        if not self._openai.owns(exchange):
            router.let_in(exchange)
        return False

    def _find(self, path: list[str]) -> Methods:  # noqa: C901, PLR0911 - a table, one line a path
        """The answers that a path has, by method.

        Raises:
            NotFoundError: no such path.
        """
        match path:
            case ["v2"]:
                return _get(lambda: documents.server(self._version, self._sizing))
            case ["v2", "health", "live"]:
                return _get(lambda: oip.server_live(live=True))
            case ["v2", "health", "ready"]:
                return {b"GET": self._ready}
            case ["v2", "models", "stats"]:
                return _get(lambda: documents.statistics(self._block, self._models.entries()))
            case ["v2", "models", name, "versions", version, *rest]:
                return self._model(name, version, rest)
            case ["v2", "models", name, *rest]:
                return self._model(name, None, rest)
            case ["v2", "repository", *rest]:
                return self._repository(rest)
            case ["v2", "systemsharedmemory" | "cudasharedmemory" as kind, *rest]:
                return _shared_memory(kind, rest)
            case ["v1", *rest]:
                return self._v1(rest)
            case ["predict", name]:
                return {_POST: partial(self._predict, name)}
            case ["v2", "jobs", *rest]:
                return self.jobs.methods(rest)
            case ["metrics"]:
                return {b"GET": self._metrics}
        raise NotFoundError(f"there is nothing at /{'/'.join(path)}"[:200])

    def _v1(self, rest: list[str]) -> Methods:
        """KServe's first protocol, and OpenAI's API."""
        match rest:
            case ["models", name] if name.endswith(_EXPLAIN):
                model = name.removesuffix(_EXPLAIN)
                return {_POST: partial(self._asked, model, None, self._explain_v1)}
            case ["models", name] if name.endswith(_PREDICT):
                model = name.removesuffix(_PREDICT)
                return {_POST: partial(self._asked, model, None, predict_v1)}
            case ["models"]:
                return {b"GET": self._openai.models}
            case ["models", name]:
                return {b"GET": partial(self._openai.model, name)}
        what = "/".join(rest)
        if what in PATHS:
            return {_POST: partial(self._openai.ask, what)}
        raise NotFoundError(f"there is nothing at /v1/{what}"[:200])

    def _model(self, name: str, version: str | None, rest: list[str]) -> Methods:  # noqa: C901, PLR0911 - a table, one line a path
        table = self._models
        if self._router is not None and version is None:
            stands = self._router.stable(name)
            if stands is not None:
                name, version = stands[0], stands[1] or None
        match rest:
            case []:
                return {b"GET": partial(self._asked, name, version, partial(_metadata, table))}
            case ["ready"]:
                return {b"GET": partial(self._model_ready, name, version)}
            case ["infer"]:
                return {_POST: partial(self._asked, name, version, infer)}
            case ["generate"]:
                return {_POST: partial(self._asked, name, version, generate)}
            case ["generate_stream"]:
                return {_POST: partial(self._asked, name, version, generate_stream)}
            case ["explain"]:
                return {_POST: partial(self._asked, name, version, self._explain_v2)}
            case ["jobs"]:
                return {_POST: partial(self.jobs.submit, name, version)}
            case ["stats"]:
                return _get(lambda: documents.statistics(self._block, self._of(name, version)))
            case ["latency"]:
                return _get(
                    lambda: latency(
                        table.resolve(name, version), self._block, self._version, self._started
                    )
                )
            case ["config"]:
                return {b"GET": partial(self._asked, name, version, self._config)}
        raise NotFoundError(f"a model has no '{'/'.join(rest)}'"[:200])

    def _of(self, name: str, version: str | None) -> list[Entry]:
        entry = self._models.entry(name, version)
        if version is not None or "@" in name:
            return [entry]
        return [e for e in self._models.entries() if e.served.name == entry.served.name]

    def _predict(self, name: str, exchange: Exchange) -> None:
        model, _, version = name.partition(":")
        self._asked(model, version or None, predict, exchange)

    def _asked(self, name: str, version: str | None, act: Act, exchange: Exchange) -> None:
        """Act with a model that answers, now or when it has been loaded for this."""
        entry = self._models.entry(name, version)
        if entry.live is None and entry.dormant and self._waiting is not None:
            self._waiting.enter(entry, exchange, act)
        else:
            act(self._models.resolve(name, version), exchange)

    def ask(self, exchange: Exchange, name: str, version: str, act: Act) -> Answer | None:
        """Answer a prediction that did not come by HTTP.

        Args:
            exchange: with the path that it would have by HTTP.
            name: of the model, or `name@alias`.
            version: empty = it names none.
            act: what is asked of the model.

        Returns:
            What answers the next one of the name; None where that is to be asked again.
        """
        try:
            if self._router is not None:
                answer = self._router.answer_for(exchange.path, act)
                if answer is not None:
                    answer(exchange)
                    return answer
                self._router.let_in(exchange)
            self._asked(name, version or None, act, exchange)
            live = self._models.entry(name, version or None).live
        except ModelworksError as error:
            refuse(exchange, error, self._recorder)
            return None
        return MethodType(act, live) if live is not None and self._router is None else None

    def _config(self, live: Live, exchange: Exchange) -> None:
        exchange.reply(200, documents.config(live, self._sizing), JSON)

    def _ready(self, exchange: Exchange) -> None:
        ready = self._models.ready and self.ready
        exchange.reply(200 if ready else 503, oip.server_ready(ready=ready), JSON)

    def _model_ready(self, name: str, version: str | None, exchange: Exchange) -> None:
        entry = self._models.entry(name, version)
        ready = entry.live is not None and not self.draining
        body = oip.model_ready(entry.served.name, ready=ready)
        exchange.reply(200 if ready else 503, body, JSON)

    def _metrics(self, exchange: Exchange) -> None:
        asked = dict(parse_qsl(exchange.query.decode("ascii", "replace"), keep_blank_values=True))
        if "dialect" in asked:
            told = dialect(asked["dialect"], metrics.numbers_of_models(self._block))
            exchange.reply(200, openmetrics.write_text(told), openmetrics.TEXT)
            return
        families = self.families()
        accept = exchange.headers.get(b"accept", b"").decode("ascii", "replace")
        if openmetrics.wants_openmetrics(accept):
            text = openmetrics.write_openmetrics(families, self._started)
            exchange.reply(200, text, openmetrics.OPENMETRICS)
        else:
            exchange.reply(200, openmetrics.write_text(families), openmetrics.TEXT)

    def traced(self, request: Sampled, status: int) -> None:
        """Told of every answer to a request whose trace is kept."""
        answer = self._hot.get(request.path)
        live = cast("Live", answer.__self__) if isinstance(answer, MethodType) else None
        self.note(request, status, live)

    def note(self, request: Kept, status: int, live: Live | None) -> None:
        """The same, of an answer that `live` gave; None = no model is known to have."""
        model = (live.name, live.version) if live is not None else ("", "")
        if status == 200 and live is not None:
            self._examples.take(request, model)
        if self._traces is not None:
            self._traces.note(request, status, *model)

    # -- the repository

    def _repository(self, rest: list[str]) -> Methods:
        match rest:
            case ["index"]:
                return {_POST: self._index}
            case ["models", name, "load"]:
                return {_POST: partial(self._load, name)}
            case ["models", name, "unload"]:
                return {_POST: partial(self._unload, name)}
        raise NotFoundError(f"the repository has no '{'/'.join(rest)}'"[:200])

    def _index(self, exchange: Exchange) -> None:
        ready_only = oip.decode_index_request(exchange.body)
        exchange.reply(200, documents.index(self._models, ready_only=ready_only), JSON)

    def _load(self, name: str, exchange: Exchange) -> None:
        self._may_change(exchange)
        for key in oip.decode_repository_request(exchange.body):
            if key == "config" or key.startswith("file:"):
                raise UnsupportedError(
                    f"'{key[:60]}' is not taken: this server loads what its list names",
                    field=f"parameters.{key[:60]}",
                )
        self._models.entry(name)
        self._later(exchange, self._acting.act(LOAD, name))

    def _unload(self, name: str, exchange: Exchange) -> None:
        self._may_change(exchange)
        oip.decode_repository_request(exchange.body)
        self._models.entry(name)
        self._later(exchange, self._acting.act(UNLOAD, name))

    def _may_change(self, exchange: Exchange) -> None:
        """Refuse browsers, and keys whose role does not cover it."""
        _no_browser(exchange)
        if self._keys is not None:
            self._keys.keys.require(exchange.headers.get(AUTHORIZATION), Role.ADMIN)

    @property
    def _acting(self) -> Control:
        if self._control is None:
            raise UnavailableError("the server is starting")
        return self._control

    def _later(self, exchange: Exchange, work: Awaitable[None]) -> None:
        """Answer when `work` is done."""

        async def finish() -> None:
            try:
                await work
            except ModelworksError as error:
                refuse(exchange, error, self._recorder)
            except Exception:  # noqa: BLE001 - the client must get an answer
                _log.exception("a repository call failed")
                refuse(exchange, CrashedError("it failed: see the server's log"), self._recorder)
            else:
                exchange.reply(200, b"{}", JSON)

        task = asyncio.get_running_loop().create_task(finish())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _no_browser(exchange: Exchange) -> None:
    """Refuse a browser's request: any page may make it send one to a server on its own machine.

    A browser names the page's origin in every POST, and no page can leave that out.
    """
    if b"origin" in exchange.headers:
        raise RefusedError(
            "web pages may not load or unload models: call from a program", field="Origin"
        )


def _metadata(table: ModelTable, live: Live, exchange: Exchange) -> None:
    exchange.reply(200, documents.model(live, table), JSON)


def _segments(path: bytes) -> list[str]:
    text = path.decode("ascii", "replace")
    return text.removesuffix("/").removeprefix("/").split("/")


def _get(document: Callable[[], bytes]) -> Methods:
    return {b"GET": lambda exchange: exchange.reply(200, document(), JSON)}


def _shared_memory(kind: str, rest: list[str]) -> Methods:
    def unsupported(_: Exchange) -> None:
        raise UnsupportedError(
            "shared memory is not offered by this server: send tensors as binary data"
        )

    def nothing(exchange: Exchange) -> None:
        exchange.reply(200, b"[]", JSON)

    def quiet(exchange: Exchange) -> None:
        exchange.reply(200, b"{}", JSON)

    match rest:
        case ["status"] | ["region", _, "status"]:
            return {b"GET": nothing}
        case ["region", _, "register"]:
            return {_POST: unsupported}
        case ["unregister"] | ["region", _, "unregister"]:
            return {_POST: quiet}  # nothing is registered, as asked
    raise NotFoundError(f"{kind} has no '{'/'.join(rest)}'"[:200])
