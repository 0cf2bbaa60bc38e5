"""The service as a user of FastAPI writes it."""

from fastapi import FastAPI, Request, Response
from onnx_model import OnnxModel, lists, octets
from pydantic import BaseModel

app = FastAPI()
model = OnnxModel()


class Body(BaseModel):
    """Values by the name of their input."""

    inputs: dict[str, list]


@app.post("/predict")
async def predict(body: Body) -> dict[str, object]:
    """Plain JSON."""
    [found] = model.run_rows([model.row(body.inputs)])
    return lists(found)


@app.post("/raw")
async def raw(request: Request) -> Response:
    """Bytes in, bytes out."""
    [found] = model.run_rows([model.row_of_bytes(await request.body())])
    return Response(octets(found), media_type="application/octet-stream")
