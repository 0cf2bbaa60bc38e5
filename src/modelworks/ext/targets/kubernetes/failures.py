"""What a cluster says when it does not do as asked, as one of our errors."""

import json
from typing import Any, Final

from modelworks.core.errors import (
    ConflictError,
    InvalidError,
    ModelworksError,
    NotFoundError,
    UnavailableError,
    UnsupportedError,
)

LONGEST: Final = 500
"""Characters of what others say."""
_LATER: Final = frozenset({429, 500, 502, 503, 504})
_CONTEXT: Final = "target.settings.context"
_NAMESPACE: Final = "target.settings.namespace"


def one_line(text: str) -> str:
    """Words of others, short enough to be shown."""
    words = " ".join(text.split())
    return words if len(words) <= LONGEST else f"{words[: LONGEST - 3]}..."


def explain(status: int, body: bytes, what: str, brought: str = "") -> ModelworksError:
    """An answer that is none of the good ones.

    Args:
        status: of HTTP.
        body: a `Status` of Kubernetes, or whatever a proxy says.
        what: was asked: `service fraud`.
        brought: by what the kind is brought, where Kubernetes itself has it not.
    """
    said = _status(body)
    message = one_line(str(said.get("message") or body.decode(errors="replace"))) or "no reason"
    about = said.get("details") or {}
    error: ModelworksError
    if status == 404 and about.get("kind") == "namespaces":
        name = about.get("name", "")
        error = InvalidError(
            f"{_NAMESPACE}: the cluster has no namespace '{name}': kubectl create namespace {name}",
            field=_NAMESPACE,
        )
    elif status == 404 and not about.get("name"):
        who = brought or "a newer Kubernetes (1.25 is the oldest that is known)"
        error = UnsupportedError(f"{what}: the cluster does not know this kind: install {who}")
    elif status == 404:
        error = NotFoundError(f"{what}: {message}")
    elif status == 401:
        error = InvalidError(
            f"the cluster does not know who asks: {message}; sign in again", field=_CONTEXT
        )
    elif status == 403 and "exceeded quota" in message:
        error = InvalidError(f"{what}: {message}", field="resources")
    elif status == 403:
        error = InvalidError(
            f"{what}: the cluster does not allow it: {message}; docs/kubernetes.md has the role",
            field=_CONTEXT,
        )
    elif status == 409:
        error = ConflictError(f"{what}: {message}")
    elif status in _LATER:
        error = UnavailableError(f"{what}: the cluster answers {status}: {message}")
    else:
        error = InvalidError(f"{what}: the cluster refuses it: {message}", field="target")
    return error


def _status(body: bytes) -> dict[str, Any]:
    try:
        found = json.loads(body)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
