"""The hot path of one model: bytes to a member of a batch, its outputs to bytes."""

import logging
from collections.abc import Hashable, Sequence
from itertools import repeat
from time import perf_counter_ns
from typing import Any, Final

from mypy_extensions import mypyc_attr

from modelworks.core.errors import DeadlineError, InvalidError, ModelworksError, UnavailableError
from modelworks.core.stateful import Step
from modelworks.core.tensor import Tensors
from modelworks.edge.exchange import Exchange, Headers
from modelworks.edge.patience import TIMEOUT, timeout_ms
from modelworks.protocol.oip import (
    InferRequest,
    encode_response,
    parse_header_length,
)
from modelworks.protocol.oip.answers import Form
from modelworks.protocol.oip.templates import Template, Varying
from modelworks.protocol.problems import problem, status_of
from modelworks.serving.batcher import Call, Member, answer_each
from modelworks.serving.execute import joined
from modelworks.serving.live import Live
from modelworks.serving.outlook import LateError
from modelworks.serving.statistics import Outcome, Recorder
from modelworks.serving.tap import Tap

_log = logging.getLogger("modelworks.serving")
JSON: Final = b"application/json"
_LENGTH: Final = b"inference-header-content-length"


def bound(member: Member, timeout: bytes) -> None:
    """Hold a request to its caller's `X-Timeout-Ms`, where its own time-out is no shorter.

    Raises:
        InvalidError: it is no number.
    """
    limit = member.received_ns + 1_000_000 * timeout_ms(timeout)
    if limit > member.received_ns and not 0 < member.deadline_ns < limit:
        member.deadline_ns = limit


def outcome_of(error: Exception) -> Outcome:
    """Under which name a refusal is counted."""
    if isinstance(error, DeadlineError):
        return Outcome.EXPIRED
    if isinstance(error, UnavailableError):
        return Outcome.REJECTED
    return Outcome.FAILED if status_of(error) == 500 else Outcome.INVALID


def refuse(
    exchange: Exchange, error: Exception, recorder: Recorder, tap: Tap | None = None
) -> None:
    """Answer with an error, count it, and note it for the records where there are any."""
    if type(error) is LateError:  # it is written once for many, and keeps none of them
        status, body, headers = error.answer = error.answer or problem(error)
        error.__traceback__ = None
        outcome = Outcome.REJECTED
    else:
        status, body, headers = problem(error)
        outcome = outcome_of(error)
    recorder.ended(outcome, perf_counter_ns() - exchange.received_ns)
    exchange.reply(status, body, JSON, headers)
    if tap is not None:
        tap.refused(exchange, body, status)


@mypyc_attr(allow_interpreted_subclasses=True)
class Answering(Member):
    """A member that answers an exchange; kinds of request differ in how they write outputs."""

    __slots__ = ("exchange", "live")

    def __init__(
        self,
        exchange: Exchange,
        live: Live,
        inputs: Tensors,
        rows: int,
        shape: Hashable,
        timeout_us: int = 0,
    ) -> None:
        received = exchange.received_ns
        deadline = received + 1000 * timeout_us if timeout_us else 0
        super().__init__(inputs, rows, shape, received, deadline)
        self.exchange = exchange
        self.live = live

    def fail(self, error: ModelworksError) -> None:
        """See `Member.fail`."""
        refuse(self.exchange, error, self.live.recorder, self.live.tap)

    def left(self) -> None:
        """The client is gone: leave the queue alone, harm no neighbour."""
        if self.waiting:
            self.live.batcher.cancel(self)
            self.live.recorder.ended(Outcome.CANCELLED, 0)


class InferMember(Answering):
    """A request of the Open Inference Protocol.

    Attributes:
        template: that fits the request; None = it was decoded.
        varying: what the template leaves open; decoded with that of the whole batch.
        request: decoded; with a template it may lack its inputs.
        form: of its answer; None = only the general way can write it.
    """

    __slots__ = ("form", "request", "template", "varying")

    def __init__(  # noqa: PLR0913, PLR0917 - one call a request: keywords would cost more
        self,
        exchange: Exchange,
        live: Live,
        request: InferRequest,
        rows: int,
        shape: Hashable,
        form: Form | None,
        template: Template | None = None,
        varying: Varying = b"",
    ) -> None:
        # What the classes above do, written out: two calls less a request.
        self.received_ns = received = exchange.received_ns
        self.queued_ns = perf_counter_ns()
        self.deadline_ns = received + 1000 * request.timeout_us if request.timeout_us else 0
        self.inputs = request.inputs
        self.rows = rows if live.batched else 1
        self.shape = shape
        self.waiting = False
        self.timer = None
        self.exchange = exchange
        self.live = live
        self.request = request
        self.form = form
        self.template = template
        self.varying = varying

    @property
    def priority(self) -> int:
        """See `Member`."""
        return self.request.priority

    @property
    def sequence(self) -> Step | None:
        """See `Member`."""
        return self.request.sequence

    def decode(self) -> None:
        """Make the inputs of a known request.

        Raises:
            InvalidError: they are not what the model takes.
        """
        if self.template is None:
            return
        found = self.template.read((self.varying,))
        if found is None:
            exchange = self.exchange
            length = parse_header_length(exchange.headers.get(_LENGTH))
            request = self.live.reader.read(exchange.body, length)
            found = request.inputs
        self.inputs = found
        self.template = None

    def succeed(self, outputs: Sequence[Any]) -> None:
        """See `Member.succeed`."""
        live = self.live
        form = self.form
        written = None if form is None else live.writer.write_one(form, outputs, self.request.rows)
        if written is None:
            written = encode_response(
                live.name, live.version, self.request, outputs, live.signature
            )
        body, kind, headers = written
        self.exchange.reply(200, body, kind, headers)
        if live.tap is not None:
            live.tap.one(self, body, headers, 200)


def infer(live: Live, exchange: Exchange) -> None:
    """`POST /v2/models/{m}/infer`."""
    try:
        headers = exchange.headers
        given = headers.get(_LENGTH)
        length = None if given is None else parse_header_length(given)
        found = live.reader.recognise(exchange.body, length)
        if found is None:
            request = live.reader.read(exchange.body, length)
            shape = None if live.one_shape else live.shape_of(request.inputs)
            form = Form.of(request, live.outputs)
            member = InferMember(exchange, live, request, request.rows, shape, form)
        else:
            template, varying = found
            member = InferMember(
                *(exchange, live, template.request, template.rows, None, template.form),
                *(template, varying),
            )
        if TIMEOUT in headers:
            bound(member, headers[TIMEOUT])
        live.batcher.submit(member)
    except (ModelworksError, RecursionError) as error:
        refuse(exchange, readable(error), live.recorder, live.tap)
    else:
        exchange.on_gone = member.left


def gather(members: list[Member]) -> Tensors:
    """The inputs of a batch: of members that one template fits, read together.

    Raises:
        InvalidError: a member's inputs are not what the model takes.
    """
    if len(members) == 1:
        member = members[0]
        if type(member) is InferMember:
            member.decode()
        return member.inputs
    late = [member for member in members if type(member) is InferMember]
    template = late[0].template if len(late) == len(members) else None
    if template is not None:
        parts = [member.varying for member in late if member.template is template]
        if len(parts) == len(late):
            found = template.read(parts)
            if found is not None:
                return found
    for member in late:
        member.decode()
    return joined(members)


def answer(live: Live, call: Call) -> None:
    """Answer a call's members: all at once where every one wants the same form."""
    if len(call.members) == 1:
        _answer_one(live, call, call.members[0])
        return
    members = [member for member in call.members if type(member) is InferMember]
    form = members[0].form if len(members) == len(call.members) else None
    rows = [member.request.rows for member in members if member.form is form]
    if form is None or len(rows) != len(members):
        _answer_each(live, call)
        return
    written = live.writer.write(form, call.results, rows)
    if written is None:
        _answer_each(live, call)
        return
    bodies, kind, headers = written
    for member, body, extra in zip(members, bodies, headers or repeat(()), strict=False):
        _reply(member, body, kind, extra)
    if live.tap is not None:
        live.tap.answered(call, members, bodies, headers)


def _answer_one(live: Live, call: Call, member: Member) -> None:
    written = None
    if type(member) is InferMember and member.form is not None:
        written = live.writer.write_one(member.form, call.results, member.request.rows)
        if written is not None:
            _reply(member, *written)
            if live.tap is not None:
                body, _, extra = written
                live.tap.answered(call, call.members, (body,), (extra,) if extra else ())
            return
    _answer_each(live, call)


def _answer_each(live: Live, call: Call) -> None:
    if live.tap is not None:
        live.tap.within(answer_each, call)
    else:
        answer_each(call)


def _reply(member: InferMember, body: bytes, kind: bytes, headers: Headers) -> None:
    try:
        member.exchange.reply(200, body, kind, headers)
    except Exception:  # noqa: BLE001 - one connection's trouble is not its neighbours'
        _log.exception("an answer could not be sent")


def readable(error: Exception) -> Exception:
    """The error as it may be told."""
    if isinstance(error, RecursionError):
        return InvalidError("the body is nested too deeply", field="body")
    return error
