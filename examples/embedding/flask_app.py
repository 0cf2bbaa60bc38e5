"""A Flask application that answers with a registered model, and follows its champion.

pip install flask waitress "modelworks[platform]"
modelworks import model.joblib --name fraud --alias champion
python -m waitress --threads=16 --listen=127.0.0.1:5000 flask_app:app

curl 127.0.0.1:5000/score -H 'Content-Type: application/json' \
    -d '{"rows": [{"age": 41, "income": 52000}]}'
"""

from dataclasses import asdict

from flask import Flask, Response, jsonify, request

import modelworks
from modelworks.core.errors import InvalidError, ModelworksError, UnavailableError

app = Flask(__name__)
model = modelworks.load("fraud@champion")


@app.post("/score")
def score() -> Response:
    """Rows in, predictions out; concurrent requests share calls of the model."""
    found = model.predict(request.get_json()["rows"])
    return jsonify(version=found.version, predictions=found)


@app.get("/model")
def about() -> Response:
    """What answers now, and how it is doing."""
    counted = model.statistics()
    return jsonify(
        version=model.version,
        problem=model.problem,
        mean_batch=counted.mean_batch,
        **asdict(counted),
    )


@app.errorhandler(ModelworksError)
def refused(error: ModelworksError) -> tuple[Response, int]:
    """What is wrong, and where: the caller's row, or a queue that is full."""
    status = 500
    if isinstance(error, InvalidError):
        status = 400
    elif isinstance(error, UnavailableError):
        status = 503
    return jsonify(error=error.message, field=error.field), status
