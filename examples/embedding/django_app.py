"""A Django application in one file that answers with a registered model, and follows its champion.

pip install django gunicorn "modelworks[platform]"
modelworks import model.joblib --name fraud --alias champion
gunicorn --preload --workers 2 --threads 8 --bind 127.0.0.1:5000 django_app:application

curl 127.0.0.1:5000/score -H 'Content-Type: application/json' \
    -d '{"rows": [{"age": 41, "income": 52000}]}'

With `--preload` the model is loaded once before gunicorn forks, so that a model that cannot be
loaded is noticed at the start; each worker then opens it for itself at its first request.
"""

import json
from collections.abc import Callable
from dataclasses import asdict

from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_GET, require_POST

import modelworks
from modelworks.core.errors import InvalidError, ModelworksError, UnavailableError

View = Callable[[HttpRequest], HttpResponse]

if not settings.configured:
    settings.configure(
        ALLOWED_HOSTS=["127.0.0.1", "localhost"],
        MIDDLEWARE=["django_app.errors_as_json"],
        ROOT_URLCONF="django_app",
    )
model = modelworks.load("fraud@champion")


def errors_as_json(get_response: View) -> View:
    """Middleware: what is wrong, and where: the caller's row, or a queue that is full."""

    def answer(request: HttpRequest) -> HttpResponse:
        return get_response(request)

    def refused(_request: HttpRequest, error: Exception) -> HttpResponse | None:
        if not isinstance(error, ModelworksError):
            return None
        status = 500
        if isinstance(error, InvalidError):
            status = 400
        elif isinstance(error, UnavailableError):
            status = 503
        return JsonResponse({"error": error.message, "field": error.field}, status=status)

    answer.process_exception = refused
    return answer


@csrf_exempt
@require_POST
def score(request: HttpRequest) -> JsonResponse:
    """Rows in, predictions out; concurrent requests share calls of the model."""
    found = model.predict(json.loads(request.body)["rows"])
    return JsonResponse({"version": found.version, "predictions": found})


@require_GET
def about(_request: HttpRequest) -> JsonResponse:
    """What answers now, and how it is doing."""
    counted = model.statistics()
    return JsonResponse(
        {
            "version": model.version,
            "problem": model.problem,
            "mean_batch": counted.mean_batch,
            **asdict(counted),
        }
    )


urlpatterns = [path("score", score), path("model", about)]
application = get_wsgi_application()
