"""The service as a user of mosec writes it; PEER_WIRE chooses JSON or bytes."""

import os

import orjson
from mosec import Server, Worker
from onnx_model import BATCH, OnnxModel, lists, octets


class Json(Worker):
    """JSON by orjson: mosec's own default is the standard library's, with indentation."""

    def __init__(self) -> None:
        self.model = OnnxModel()

    def deserialize(self, data):
        """The body to an object."""
        return orjson.loads(data)

    def serialize(self, data):
        """An object to the body."""
        return orjson.dumps(data)

    def forward(self, data):
        """A list of bodies where it batches, else one."""
        rows = data if BATCH > 1 else [data]
        found = self.model.run_rows([self.model.row(each["inputs"]) for each in rows])
        answers = [lists(each) for each in found]
        return answers if BATCH > 1 else answers[0]


class Raw(Worker):
    """Bytes in, bytes out."""

    def __init__(self) -> None:
        self.model = OnnxModel()

    def deserialize(self, data):
        """The body to arrays."""
        return self.model.row_of_bytes(data)

    def serialize(self, data):
        """Arrays to the body."""
        return octets(data)

    def forward(self, data):
        """A list of rows where it batches, else one."""
        found = self.model.run_rows(data if BATCH > 1 else [data])
        return found if BATCH > 1 else found[0]


if __name__ == "__main__":
    server = Server()
    kind = Json if os.environ["PEER_WIRE"] == "json" else Raw
    server.append_worker(kind, num=1, max_batch_size=BATCH, max_wait_time=2 if BATCH > 1 else 0)
    server.run()
