"""The service as a user of Ray Serve writes it."""

import os
import time

import ray
from onnx_model import BATCH, OnnxModel, lists, octets
from ray import serve
from starlette.requests import Request
from starlette.responses import Response


@serve.deployment(num_replicas=1, max_ongoing_requests=256, ray_actor_options={"num_cpus": 1})
class Service:
    """JSON or bytes, by content type."""

    def __init__(self) -> None:
        self.model = OnnxModel()

    @serve.batch(max_batch_size=BATCH, batch_wait_timeout_s=0.0)
    async def batch(self, rows: list) -> list:
        """Rows that wait already."""
        return self.model.run_rows(rows)

    async def __call__(self, request: Request):
        """One request."""
        binary = request.headers["content-type"] == "application/octet-stream"
        if binary:
            row = self.model.row_of_bytes(await request.body())
        else:
            row = self.model.row((await request.json())["inputs"])
        found = await self.batch(row) if BATCH > 1 else self.model.run_rows([row])[0]
        if binary:
            return Response(octets(found), media_type="application/octet-stream")
        return lists(found)


if __name__ == "__main__":
    ray.init(
        num_cpus=2,
        include_dashboard=False,
        object_store_memory=100_000_000,
        _temp_dir=os.environ["PEER_FOLDER"] + "/ray",
        _node_ip_address="127.0.0.1",
    )
    serve.start(
        http_options={"host": "127.0.0.1", "port": int(os.environ["PEER_PORT"])},
        logging_config={"enable_access_log": False, "log_level": "WARNING"},
    )
    serve.run(Service.bind(), route_prefix="/")
    while True:
        time.sleep(3600)
