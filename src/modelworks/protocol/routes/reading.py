"""A snapshot from its JSON text, in small steps: ten thousand keys take a second of a busy core."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

from modelworks.core.codec import decode
from modelworks.core.errors import InvalidError
from modelworks.core.routes import Pass, Route, Snapshot
from modelworks.protocol.routes.checking import check
from modelworks.protocol.routes.pieces import pieces

MOST_BYTES: Final = 64 << 20
"""Of a snapshot's text."""
_APART: Final = frozenset({"routes", "keys"})


def read_snapshot(text: bytes, breathe: Callable[[], None] = lambda: None) -> Snapshot:
    """The snapshot, when it can be gone by.

    Args:
        text: JSON.
        breathe: called between steps; see `core.breath`.

    Raises:
        InvalidError: it is none, or `check` refuses it; `field` is the path.
    """
    if len(text) > MOST_BYTES:
        raise InvalidError(f"the snapshot has more than {MOST_BYTES >> 20} MiB", field="snapshot")
    routes: list[Route] = []
    keys: dict[str, Pass] = {}
    rest: dict[str, Any] = {}
    try:
        for piece in pieces(text.decode(), _APART):
            item = piece.item
            if item is None:
                rest[piece.key] = piece.value
            elif piece.key == "routes" and isinstance(item, int):
                routes.append(decode(Route, piece.value, f"routes[{item}]"))
            elif piece.key == "keys" and isinstance(item, str):
                keys[item] = decode(Pass, piece.value, f"keys.{item[:12]}")
            else:
                wanted = "a list" if piece.key == "routes" else "an object"
                raise InvalidError(f"{piece.key}: {wanted} is wanted", field=piece.key)
            breathe()
    except (ValueError, RecursionError) as error:
        raise InvalidError(f"the snapshot is no JSON: {error}", field="snapshot") from error
    found = replace(decode(Snapshot, rest), routes=tuple(routes), keys=keys)
    check(found, breathe)
    return found
