"""A FastAPI application that answers with a registered model, and follows its champion.

pip install fastapi uvicorn "modelworks[platform]"
modelworks import model.joblib --name fraud --alias champion
python -m uvicorn fastapi_app:app --port 5000

curl 127.0.0.1:5000/score -H 'Content-Type: application/json' \
    -d '{"rows": [{"age": 41, "income": 52000}]}'
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import Body, Depends, FastAPI, Request
from fastapi.responses import JSONResponse

import modelworks
from modelworks.core.errors import InvalidError, ModelworksError, UnavailableError


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Open the model when the application starts; its memory comes back when it ends."""
    with modelworks.load("fraud@champion") as model:
        app.state.model = model
        yield


app = FastAPI(lifespan=lifespan)


def the_model(request: Request) -> modelworks.Embedded:
    """The application's model."""
    return request.app.state.model


Model = Annotated[modelworks.Embedded, Depends(the_model)]
Rows = Annotated[list[dict[str, Any]], Body(embed=True)]


@app.post("/score")
async def score(rows: Rows, model: Model) -> dict[str, Any]:
    """Rows in, predictions out; the event loop is free while the model works."""
    found = await model.apredict(rows)
    return {"version": found.version, "predictions": list(found)}


@app.get("/model")
async def about(model: Model) -> dict[str, Any]:
    """What answers now, and how it is doing."""
    counted = model.statistics()
    return {
        "version": model.version,
        "problem": model.problem,
        "mean_batch": counted.mean_batch,
        **asdict(counted),
    }


@app.exception_handler(ModelworksError)
async def refused(_request: Request, error: ModelworksError) -> JSONResponse:
    """What is wrong, and where: the caller's row, or a queue that is full."""
    status = 500
    if isinstance(error, InvalidError):
        status = 400
    elif isinstance(error, UnavailableError):
        status = 503
    return JSONResponse({"error": error.message, "field": error.field}, status)
