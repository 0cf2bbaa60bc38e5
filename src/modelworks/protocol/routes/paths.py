"""Which model a path asks, and the same path for another one."""

from typing import NamedTuple
from urllib.parse import quote, unquote_to_bytes

_SAFE = "@:"  # as they stand in names and in `name:version`


class Asked(NamedTuple):
    """What a path of a model server says.

    Attributes:
        model: name, or `name@alias`; decoded.
        version: empty = it names none.
        rest: what follows, as it came: `/infer`, `/ready`, empty.
        form: of the path: `v2`, `v1`, `predict`.
    """

    model: str
    version: str
    rest: str
    form: str


def asked(path: bytes) -> Asked | None:
    """The model that a path asks; None = it asks none.

    Args:
        path: raw, without the query: `/v2/models/m/infer`, `/v2/models/m/versions/3/infer`,
            `/predict/m`, `/predict/m:3`, `/v1/models/m:predict`.
    """
    parts = path.decode("latin-1").split("/")
    # Servers decode before they compare: what is spelled otherwise asks the same model.
    words = [_text(part) for part in parts[:5]] if b"%" in path else parts
    if words[:3] == ["", "v2", "models"] and len(parts) > 3 and parts[3]:
        if len(parts) > 5 and words[4] == "versions":
            return Asked(_text(parts[3]), _text(parts[5]), _rest(parts[6:]), "v2")
        return Asked(_text(parts[3]), "", _rest(parts[4:]), "v2")
    if words[:2] == ["", "predict"] and len(parts) > 2 and parts[2]:
        model, _, version = _text(parts[2]).partition(":")
        return Asked(model, version, _rest(parts[3:]), "predict")
    if words[:3] == ["", "v1", "models"] and len(parts) > 3 and parts[3]:
        model, colon, verb = _text(parts[3]).partition(":")
        return Asked(model, "", colon + verb + _rest(parts[4:]), "v1")
    return None


def written(found: Asked, model: str, version: str) -> bytes:
    """The path that asks another model for the same.

    Args:
        found: what came.
        model: empty = as it came.
        version: empty = as it came; `v1` paths have none.
    """
    name = quote(model or found.model, safe=_SAFE)
    version = version or found.version
    if found.form == "predict":
        path = f"/predict/{name}{':' if version else ''}{quote(version, safe=_SAFE)}{found.rest}"
    elif found.form == "v1" or not version:
        path = f"/{found.form}/models/{name}{found.rest}"
    else:
        path = f"/v2/models/{name}/versions/{quote(version, safe=_SAFE)}{found.rest}"
    return path.encode("latin-1")


def _rest(parts: list[str]) -> str:
    return "".join(f"/{part}" for part in parts)


def _text(part: str) -> str:
    return unquote_to_bytes(part.encode("latin-1")).decode("utf-8", "replace")
