"""What would be another one: fields of documents, lines of native objects. Pure."""

import difflib
from collections.abc import Iterator, Mapping
from typing import Any

from modelworks.core.deployment import Rendered
from modelworks.core.plans import Change


def differences(path: str, before: Any, after: Any) -> Iterator[Change]:
    """Every leaf that differs; mappings are gone into, lists are whole."""
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for key in dict.fromkeys([*before, *after]):
            name = f"{path}.{key}" if path else str(key)
            yield from differences(name, before.get(key), after.get(key))
    elif before != after:
        yield Change(path, before, after)


def native(before: tuple[Rendered, ...], after: tuple[Rendered, ...]) -> str:
    """A unified diff of a target's own objects."""
    old = {one.path: one.text for one in before}
    new = {one.path: one.text for one in after}
    lines: list[str] = []
    for path in sorted({*old, *new}):
        left, right = old.get(path, ""), new.get(path, "")
        lines += difflib.unified_diff(
            left.splitlines(keepends=True),
            right.splitlines(keepends=True),
            f"a/{path}" if left else "/dev/null",
            f"b/{path}" if right else "/dev/null",
        )
    return "".join(line if line.endswith("\n") else f"{line}\n" for line in lines)
