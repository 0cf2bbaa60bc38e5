"""The service as a user of LitServe writes it: JSON, or bytes as base64 in it."""

import base64
import os

import litserve
from onnx_model import BATCH, OnnxModel, lists, octets

# Its queue gives one item a turn, so that a batch of microseconds is never worth collecting.
SIZE = BATCH if BATCH == 8 else 1


class Api(litserve.LitAPI):
    """Decode, predict, encode; a batch is a list."""

    def setup(self, device):
        """In the worker."""
        del device
        self.model = OnnxModel()

    def decode_request(self, request):
        """A body to arrays, and whether they came as bytes."""
        if "bytes" in request:
            return True, self.model.row_of_bytes(base64.b64decode(request["bytes"]))
        return False, self.model.row(request["inputs"])

    def batch(self, inputs):
        """The list as it is."""
        return inputs

    def unbatch(self, output):
        """The list as it is."""
        return output

    def predict(self, x):
        """A list of rows where it batches, else one."""
        forms, rows = zip(*(x if SIZE > 1 else [x]), strict=True)
        found = list(zip(forms, self.model.run_rows(rows), strict=True))
        return found if SIZE > 1 else found[0]

    def encode_response(self, output):
        """Arrays to a body of the form that was asked in."""
        in_bytes, row = output
        return {"bytes": base64.b64encode(octets(row)).decode()} if in_bytes else lists(row)


if __name__ == "__main__":
    api = Api(max_batch_size=SIZE, batch_timeout=0.002 if SIZE > 1 else 0.0)
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=1, fast_queue=True)
    server.run(
        host="127.0.0.1",
        port=int(os.environ["PEER_PORT"]),
        num_api_servers=1,
        generate_client_file=False,
        log_level="warning",
        access_log=False,
    )
