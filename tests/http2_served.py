"""The listener of `edge_served` with a service of gRPC."""

from dataclasses import replace

from edge_served import SMALL, Served
from http2_wire import OPEN, Wire

FEW = replace(SMALL, max_streams=8, idle_timeout_s=30, header_timeout_s=10, body_timeout_s=10)
HASTY = replace(
    FEW,
    header_timeout_s=0.1,
    body_timeout_s=0.1,
    write_timeout_s=0.1,
    min_body_rate=1 << 20,
)


class Called(Served):
    """Calls are echoed; `calls` are all of them, `left` those whose client left."""

    def __init__(self, limits=FEW, **further) -> None:
        super().__init__(limits, **further)
        self.grpc = self.begin
        self.calls = []
        self.left = []
        self.messages = []

    def begin(self, call) -> None:
        self.calls.append(call)
        call.on_gone = lambda: self.left.append(call)
        method = call.path.rpartition(b"/")[2]
        if method == b"Boom":
            raise ValueError("a secret of the server")
        if method == b"Nope":
            call.finish(5, "no such thing: 100 % größer")
        elif method == b"Unary":
            call.on_message = lambda call, message: call.answer(message)
        elif method == b"Echo":
            call.on_message = lambda call, message: call.send(message)
            call.on_half_closed = lambda call: call.finish(0)
        elif method == b"Slow":
            call.hold()
            call.on_message = lambda _, message: self.messages.append(message)
            call.on_half_closed = lambda call: call.finish(0)
        else:
            call.awaited = method == b"Await"
            call.on_message = lambda _, message: self.messages.append(message)

    def wire(self, first=OPEN) -> Wire:
        """A connection; the caller closes its `sock`."""
        wire = Wire(self.connect())
        wire.send(first)
        return wire
