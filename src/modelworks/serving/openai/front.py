"""The paths of OpenAI's API: the model that a body names, under the same access as all others."""

from collections.abc import Callable
from functools import partial
from typing import Final, Protocol
from urllib.parse import quote

import orjson

from modelworks.core.errors import InvalidError, ModelworksError, NotFoundError
from modelworks.core.seams import Conversing
from modelworks.edge.exchange import Exchange
from modelworks.protocol.openai.asked import Asked, read_chat, read_completion
from modelworks.protocol.openai.embeddings import Wanted, read_embeddings
from modelworks.protocol.routes.access import ANYBODY, Caller
from modelworks.serving.entries import Entry
from modelworks.serving.infer import JSON, readable, refuse
from modelworks.serving.models import ModelTable
from modelworks.serving.openai.dressed import dressed
from modelworks.serving.openai.texts import Texts
from modelworks.serving.openai.vectors import embed
from modelworks.serving.routing.router import Router
from modelworks.serving.statistics import Recorder
from modelworks.serving.waiting import Act

PATHS: Final = frozenset({"chat/completions", "completions", "embeddings"})
_RAW: Final = frozenset(path.encode() for path in PATHS)
_MODELS: Final = b"/v1/models"
_LONGEST: Final = 400  # characters of a model's id


class Enter(Protocol):
    """Acts with a model that answers, now or when it has been loaded for this."""

    def __call__(self, name: str, version: str | None, act: Act, exchange: Exchange) -> None:
        """See above."""
        ...


class OpenAI:
    """Answers under `/v1`.

    Args:
        table: of the models; raises where the server is starting.
        enter: see there.
        recorder: of refusals.
        started: Unix time of the server's start.
        router: the routes that are gone by; None = there are none.
    """

    def __init__(
        self,
        table: Callable[[], ModelTable],
        enter: Enter,
        recorder: Recorder,
        started: float,
        router: Router | None,
    ) -> None:
        self._table = table
        self._enter = enter
        self._recorder = recorder
        self._started = int(started)
        self._router = router
        self._texts = Texts()

    def ask(self, what: str, exchange: Exchange) -> None:
        """`POST /v1/chat/completions`, `/v1/completions`, `/v1/embeddings`.

        Args:
            what: of `PATHS`.
            exchange: the request.
        """
        exchange = dressed(exchange)
        try:
            self._who(exchange)
            if what == "embeddings":
                wanted = read_embeddings(exchange.body)
                self._route(wanted.model, partial(_embed, wanted), exchange)
            else:
                read = read_chat if what == "chat/completions" else read_completion
                asked = read(exchange.body)
                self._route(asked.model, partial(self._answer, asked), exchange)
        except (ModelworksError, RecursionError) as error:
            refuse(exchange, readable(error), self._recorder)

    @staticmethod
    def owns(exchange: Exchange) -> bool:
        """Whether it sees by itself to who may ask: the body names the model, not the path."""
        path = exchange.path
        if exchange.method == b"POST":
            return path[:4] == b"/v1/" and path[4:] in _RAW
        return path == _MODELS or (path.startswith(_MODELS + b"/") and path.count(b"/") == 3)

    def models(self, exchange: Exchange) -> None:
        """`GET /v1/models`."""
        exchange = dressed(exchange)
        try:
            found = [told for entry in self._open(exchange) for told in self._told(entry)]
        except ModelworksError as error:
            refuse(exchange, error, self._recorder)
            return
        exchange.reply(200, orjson.dumps({"object": "list", "data": found}), JSON)

    def model(self, name: str, exchange: Exchange) -> None:
        """`GET /v1/models/{id}`, with what KServe's first protocol asks of the same path."""
        exchange = dressed(exchange)
        try:
            told = self._told_of(name, self._open(exchange))
            ready = {"name": name, "ready": told.pop("ready")}
        except ModelworksError as error:
            refuse(exchange, error, self._recorder)
            return
        exchange.reply(200, orjson.dumps({**told, **ready}), JSON)

    # -- which model

    def _named(self, name: str) -> tuple[str, str, str]:
        """Model (with an alias), version and adapter that an id names."""
        if len(name) > _LONGEST:
            raise InvalidError("model: the id is too long", field="model")
        model, colon, rest = name.rpartition(":")
        if not colon or not rest:
            return name, "", ""
        versions = {
            entry.served.version for entry in self._table().entries() if entry.served.name == model
        }
        if rest in versions:
            return model, rest, ""
        base, colon, version = model.rpartition(":")
        if colon and any(entry.key == (base, version) for entry in self._table().entries()):
            return base, version, rest
        return model, "", rest

    def _route(self, name: str, act: Callable[[str], Act], exchange: Exchange) -> None:
        model, version, adapter = self._named(name)
        if self._router is None:
            try:
                self._enter(model, version or None, act(adapter), exchange)
            except NotFoundError as error:
                raise NotFoundError(error.message, field="model") from error
            return
        path = f"/v2/models/{quote(model, safe='@')}"
        path += f"/versions/{quote(version, safe='')}" if version else ""
        answer = self._router.answer_for(f"{path}/generate".encode(), act(adapter))
        if answer is None:
            raise NotFoundError(f"no model '{model[:60]}' here", field="model")
        answer(exchange)

    def _answer(self, asked: Asked, adapter: str) -> Act:
        return partial(self._texts.answer, asked, adapter)

    # -- what there is

    def _open(self, exchange: Exchange) -> list[Entry]:
        """The models that the caller may ask.

        Raises:
            UnauthenticatedError: nobody who is known.
        """
        entries = self._table().entries()
        caller = self._who(exchange)
        return [
            entry
            for entry in entries
            if caller.opens(entry.served.name)
            and (not caller.tenant or caller.tenant == entry.served.tenant)
        ]

    def _who(self, exchange: Exchange) -> Caller:
        router = self._router
        if router is None or not router.closed:
            return ANYBODY
        return router.who(exchange.headers.get(b"authorization"))

    def _told_of(self, name: str, entries: list[Entry]) -> dict[str, object]:
        """What is told of one id.

        Raises:
            NotFoundError: no model that the caller may ask has it.
        """
        base, version, adapter = self._named(name)
        try:
            entry = self._table().entry(base, version or None)
        except NotFoundError:
            entry = None  # its message tells of all models
        if entry not in entries or (adapter and adapter not in _adapters(entry)):
            raise NotFoundError(f"no model '{name[:60]}' here", field="model")
        return self._one(name, entry)

    def _told(self, entry: Entry) -> list[dict[str, object]]:
        """Every id of a version: its model's name where it is the default, aliases, adapters."""
        served = entry.served
        ids = [f"{served.name}:{served.version}"]
        ids += [f"{served.name}@{alias}" for alias in served.aliases]
        if served.default:
            ids.insert(0, served.name)
        if served.default:
            ids += [f"{served.name}:{adapter}" for adapter in _adapters(entry)]
        return [self._one(one, entry) for one in ids]

    def _one(self, name: str, entry: Entry) -> dict[str, object]:
        return {
            "id": name,
            "object": "model",
            "created": int(entry.born) or self._started,
            "owned_by": entry.served.tenant,
            "ready": entry.live is not None,
        }


def _adapters(entry: Entry) -> tuple[str, ...]:
    generations = entry.live.generations if entry.live is not None else None
    session = generations.session if generations is not None else None
    return session.adapters if isinstance(session, Conversing) else ()


def _embed(wanted: Wanted, adapter: str) -> Act:
    if adapter:
        raise NotFoundError("embeddings have no adapters", field="model")
    return partial(embed, wanted)
