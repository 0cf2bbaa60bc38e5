"""Which model a path names, and the path that the same request has where another one answers.

A path that two programs could read in different ways is refused, not cleaned: the model that is
let in here must be the model that is asked there.
"""

from typing import Final
from urllib.parse import quote, unquote

from modelworks.core.errors import InvalidError, UnsupportedError
from modelworks.core.routes import Arm

_INFER: Final = frozenset({"infer", "explain"})
_STATS: Final = "stats"  # `/v2/models/stats` is about all of them


class Asked:
    """What a path asks for.

    Attributes:
        path: decoded.
        model: that it names; empty = none.
        infers: a POST to it changes nothing, and may be repeated.
    """

    __slots__ = ("_parts", "infers", "model", "path")

    def __init__(self, raw: bytes) -> None:
        """Read one.

        Raises:
            InvalidError: it has empty, dotted or hidden segments.
        """
        parts = raw.decode("latin-1").split("/")
        if "%" in raw.decode("latin-1"):
            parts = [unquote(part, errors="strict") for part in _decodable(parts)]
        if any(_odd(part) for part in parts[1:-1]) or (_odd(parts[-1]) and parts[-1]):
            raise InvalidError(
                "the path has empty, '.' or '..' segments, or hides a slash: write it plainly",
                field="path",
            )
        self._parts = parts
        self.path = "/".join(parts)
        self.model = ""
        self.infers = False
        match parts[1:]:
            case ["v2", "models", name, *rest] if name != _STATS or rest:
                self.model = name
                self.infers = bool(rest) and rest[-1] in _INFER and len(rest) in {1, 3}
            case ["v1", "models", name]:
                self.model, _, verb = name.partition(":")
                self.infers = verb in {"predict", "explain"}
            case ["predict", name]:
                self.model = name
                self.infers = True
            case _:
                pass

    def at(self, arm: Arm, raw: bytes) -> bytes:
        """The path where an arm answers.

        Raises:
            UnsupportedError: the arm is one version of its model, and the path cannot say which.
        """
        if not self.model or not (arm.model or arm.version):
            return raw
        name = quote(arm.model or self.model, safe="@:")
        match self._parts[1:]:
            case ["v2", "models", _, "versions", _, *rest] if arm.version:
                parts = ["v2", "models", name, "versions", quote(arm.version), *map(quote, rest)]
            case ["v2", "models", _, *rest] if arm.version:
                parts = ["v2", "models", name, "versions", quote(arm.version), *map(quote, rest)]
            case ["v2", "models", _, *rest]:
                parts = ["v2", "models", name, *map(quote, rest)]
            case _ if arm.version:
                raise UnsupportedError(
                    f"'{arm.name}' is one version of a model, and this path cannot say so: ask by "
                    "/v2/models/MODEL/infer",
                    field="path",
                )
            case ["v1", "models", whole]:
                _, colon, verb = whole.partition(":")
                parts = ["v1", "models", name + colon + quote(verb)]
            case _:
                parts = ["predict", name]
        return ("/" + "/".join(parts)).encode()


def _odd(part: str) -> bool:
    return part in {"", ".", ".."} or "/" in part or "\\" in part or "\0" in part


def _decodable(parts: list[str]) -> list[str]:
    for part in parts:
        try:
            unquote(part, errors="strict")
        except UnicodeDecodeError as error:
            raise InvalidError("the path is no UTF-8", field="path") from error
    return parts
