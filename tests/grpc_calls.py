"""Calls of gRPC without a connection, and the service of a server without sockets."""

import asyncio
import warnings
from contextlib import asynccontextmanager
from threading import Event
from time import perf_counter_ns, time

import numpy as np

from modelworks.core.served import ServedList, ServedModel
from modelworks.edge.trace import request_id_of, trace_of
from modelworks.serving.app import App
from modelworks.serving.block import Block
from modelworks.serving.control import LocalControl
from modelworks.serving.grpc.service import GrpcService
from modelworks.serving.models import ModelTable
from modelworks.testing import onnx_models as models

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from tritonclient.grpc import service_pb2

SERVICE = "/inference.GRPCInferenceService/"


class Dialled:
    """Fulfils `edge.http2.call.GrpcCall`, and is as strict as the edge.

    Attributes:
        sent: messages.
        status: code, message and trailers; None = not ended.
        held: the service wants no further message.
    """

    method, query = b"POST", b""

    def __init__(self, path, headers=None, timeout_us=0):
        self.path = path.encode()
        self.headers = headers or {}
        self.received_ns = perf_counter_ns()
        self.timeout_us = timeout_us
        self.gone = False
        self.state = None
        self.on_message = self.on_half_closed = self.on_gone = self.on_drained = None
        self.waiting = 0
        self.sent = []
        self.status = None
        self.held = False
        self._late = []  # messages that came while it was held
        self._half = False

    @property
    def trace(self):
        return trace_of(self.headers)

    @property
    def request_id(self):
        return request_id_of(self.headers)

    def hold(self):
        self.held = True

    def go_on(self):
        self.held = False
        asyncio.get_running_loop().call_soon(self._again)

    def _again(self):
        while self._late and not self.held:
            self.say(self._late.pop(0))
        if self._half and not self._late:
            self.end()

    def send(self, message):
        assert self.status is None, "sent behind the end"
        if not self.gone:
            self.sent.append(message)

    def answer(self, message):
        assert not self.sent
        self.send(message)
        self.finish(0)

    def finish(self, status, message="", trailers=()):
        assert self.status is None, "ended twice"
        self.on_gone = None
        if not self.gone:
            self.status = (status, message, trailers)

    # -- the client's side

    def say(self, message):
        """Send a message, held back where the service holds."""
        if self.held:
            self._late.append(message)
        elif self.on_message is not None and self.status is None:
            self.on_message(self, message)

    def end(self):
        """Half-close, behind what is held back."""
        if self._late:
            self._half = True
        elif self.on_half_closed is not None and self.status is None:
            self._half = False
            self.on_half_closed(self)

    def leave(self):
        """Cancel."""
        self.gone = True
        told, self.on_gone = self.on_gone, None
        if told is not None:
            told()


def asked(array=None, model="double", **more):
    """A request for a model whose input is `x`."""
    array = np.ones((1, 3), "f4") if array is None else array
    made = service_pb2.ModelInferRequest(model_name=model, **more)
    made.inputs.add(name="x", datatype="FP32", shape=array.shape)
    made.raw_input_contents.append(array.tobytes())
    return made.SerializeToString()


class Standing:
    """A server without sockets: its app, its models, its gRPC service."""

    def __init__(self, **options):
        self.block = Block()
        self.app = App(self.block, "1.2.3", time(), **options)
        self.table = ModelTable(self.block, 1, self.app.refresh)
        self.app.begin(self.table, LocalControl(self.table))
        self.service = GrpcService(self.app)

    def dial(self, name, message=None, **more):
        """A call; with a message, all of a unary one."""
        call = Dialled(name if name.startswith("/") else SERVICE + name, **more)
        self.service(call)
        if message is not None:
            call.say(message)
            call.end()
        return call

    async def until(self, condition):
        for _ in range(4000):
            if condition():
                return
            await asyncio.sleep(0.005)
        raise AssertionError("what was waited for did not come")

    async def done(self, call):
        """Wait for a call's end; its status."""
        await self.until(lambda: call.status is not None)
        return call.status


@asynccontextmanager
async def standing(folder, *more, **options):
    """A server whose models are `double` (x, 3 floats) and those given."""
    path = models.double(folder / "double.onnx")
    served = ServedModel("double", "1.0.0", str(path), "sha256:0", aliases=("champion",))
    found = Standing(**options)
    await found.table.apply(ServedList(1, (served, *more)))
    try:
        yield found
    finally:
        await found.table.close(5.0)


class Gate:
    """Holds a loaded model's engine back: its calls run on the engine's thread, and wait."""

    def __init__(self, live):
        self.session = live._session
        self.signature, self.apart = live.signature, True
        self.go = Event()
        self.calls = 0
        live.batcher._session = self
        live.batcher._cost._most = 0

    def infer(self, inputs):
        self.calls += 1
        assert self.go.wait(30)
        return self.session.infer(inputs)

    def close(self):
        self.session.close()
